"""The bytes of a user's file, unpacked, as text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable

from scaling.errors import InputError

_PACKED: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b'\x1f\x8b': ('gzip', gzip.decompress), b'BZh': ('bzip2', bz2.decompress),
    b'\xfd7zXZ\x00': ('xz', lzma.decompress)}


def raw(path: str) -> bytes:
  """A file's bytes. InputError, as from all functions here, if there are none to have."""
  if not os.path.exists(path):
    raise InputError(f'{path}: no such file')
  if not os.path.isfile(path):
    raise InputError(f'{path}: not a regular file')
  try:
    with open(path, 'rb') as file:
      return file.read()
  except OSError as error:
    raise InputError(f'{path}: {error.strerror or error}') from None


def unpacked(path: str, content: bytes) -> bytes:
  """The content of gzip, bzip2, xz, or of a zip archive of one file; other bytes as they are."""
  for magic, (name, unpack) in _PACKED.items():
    if content.startswith(magic):
      try:
        return unpack(content)
      except Exception as error:  # decoders have many ways to say that bytes are damaged
        raise InputError(f'{path}: its {name} compression is damaged ({line(error)})') from None
  if content.startswith(b'\x28\xb5\x2f\xfd'):
    raise InputError(f'{path}: it is compressed by zstandard; unpack it first (unzstd)')
  if not content.startswith(b'PK\x03\x04'):
    return content
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      names = [n for n in archive.namelist() if not n.endswith('/')]
      if '[Content_Types].xml' in names:
        raise InputError(f'{path}: it is a workbook or document; export the sheet as CSV')
      if len(names) == 1:
        return archive.read(names[0])
  except InputError:
    raise
  except Exception as error:
    raise InputError(f'{path}: its zip compression is damaged ({line(error)})') from None
  raise InputError(f'{path}: an archive of {len(names)} files; --data takes one')


def text(path: str, content: bytes) -> str:
  """UTF-8, or UTF-16 that says so. Anything else is refused: a wrong guess would go unseen."""
  wide = content[:2] in (b'\xff\xfe', b'\xfe\xff')
  try:
    found = content.decode('utf-16' if wide else 'utf-8-sig')
  except UnicodeDecodeError as error:
    if wide or b'\0' in content:
      raise InputError(f'{path}: binary data of no known format') from None
    row = content.count(b'\n', 0, error.start) + 1
    raise InputError(f'{path}: line {row} is not UTF-8 text; convert the file, for instance with '
                     'iconv -f windows-1252 -t utf-8') from None
  if '\0' in found:
    raise InputError(f'{path}: binary data of no known format')
  if not found.strip():
    raise InputError(f'{path}: it is empty')
  return found


def line(error: BaseException) -> str:
  """An error of a library in one line."""
  return ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
