"""The few file operations that everything uses: whole, atomic, and the same on disks and buckets.

On a local disk or NFS a replaced file is written beside its target, synced and renamed, so that a
reader sees the old text or the new one and never a part; object stores (scaling/objects.py) give
the same for a single put.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from scaling import objects
from scaling.errors import InputError, bad

PathLike = str | os.PathLike[str]

# A name with this mark is being written, or was left behind by a killed writer: never read.
TEMPORARY = '.tmp-'

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _local(path: PathLike) -> bool:
  return not objects.on_bucket(path)


def _sync_folder(path: str) -> None:
  descriptor = os.open(path or '.', os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def make_folder(path: PathLike) -> None:
  if _local(path):
    os.makedirs(path, exist_ok=True)


def exists(path: PathLike) -> bool:
  return os.path.exists(path) if _local(path) else objects.exists(os.fspath(path))


def read_text(path: PathLike) -> str:
  if not _local(path):
    return objects.read(os.fspath(path)).decode()
  with open(path, encoding='utf-8') as file:
    return file.read()


def read_json(path: PathLike) -> Any:
  return json.loads(read_text(path))


def names(folder: PathLike) -> list[str]:
  """Sorted names in a folder without half-written ones; empty when there is no such folder."""
  try:
    found = os.listdir(folder) if _local(folder) else objects.names(os.fspath(folder))
  except (FileNotFoundError, NotADirectoryError):
    return []
  return sorted(name for name in found if TEMPORARY not in name)


def replace(path: PathLike, text: str, before: Callable[[], None] = lambda: None) -> None:
  """Writes the whole file or nothing. Raises OSError, and leaves the old file, if it cannot.

  `before` is called when all but the rename is done, and stops it by raising.
  """
  target = os.fspath(path)
  if not _local(target):
    before()
    objects.put(target, text.encode())
    return
  temporary = f'{target}{TEMPORARY}{uuid.uuid4().hex[:8]}'
  try:
    _write_synced(temporary, text)
    before()
    os.replace(temporary, target)
  except BaseException:
    _discard(temporary)
    raise
  _sync_folder(os.path.dirname(target))


def create(path: PathLike, text: str) -> bool:
  """Writes the whole file unless it exists already; says whether this call made it.

  Among any number of concurrent callers exactly one gets True, and none sees a part of the file:
  the text is written beside it and then linked to its name, which fails when the name is taken.
  """
  target = os.fspath(path)
  if not _local(target):
    return objects.create(target, text.encode())
  temporary = f'{target}{TEMPORARY}{uuid.uuid4().hex[:8]}'
  try:
    _write_synced(temporary, text)
    try:
      os.link(temporary, target)
    except FileExistsError:
      return False
    _sync_folder(os.path.dirname(target))
    return True
  finally:
    _discard(temporary)


def check_writable(folder: PathLike) -> None:
  """Raises InputError unless a file can be made in the folder, which is a workdir, and removed."""
  probe = f'{os.fspath(folder)}/{TEMPORARY}{uuid.uuid4().hex[:8]}'
  try:
    make_folder(folder)
    create(probe, 'may I write here?')
    remove(probe)
  except InputError:
    raise
  except Exception as error:  # Of any object store's client, which has its own.
    said = ' '.join(str(error).split()) or type(error).__name__
    raise bad('--workdir', os.fspath(folder), f'it may not be written to: {said}') from error


def append(path: PathLike, text: str) -> None:
  """Adds whole lines to a record that only its writer reads while it grows.

  An object is written anew: these records are a line an evaluation.
  """
  if _local(path):
    with open(path, 'a', encoding='utf-8') as file:
      file.write(text)
    return
  try:
    before = read_text(path)
  except FileNotFoundError:
    before = ''
  objects.put(os.fspath(path), (before + text).encode())


def remove(path: PathLike) -> None:
  if not _local(path):
    objects.remove(os.fspath(path))
    return
  with contextlib.suppress(FileNotFoundError):
    os.unlink(path)


def remove_tree(path: PathLike) -> None:
  if _local(path):
    shutil.rmtree(path, ignore_errors=True)
  else:
    objects.remove_tree(os.fspath(path))


@contextlib.contextmanager
def spool(folder: PathLike) -> Iterator[str]:
  """A local folder to make files in that end up below `folder`: itself, or what is uploaded to it
  once all is well, since libraries that write many files at once do not know every bucket."""
  if _local(folder):
    yield os.path.abspath(folder)
    return
  with tempfile.TemporaryDirectory(prefix='spool-') as made:
    yield made
    objects.upload(made, os.fspath(folder))


@contextlib.contextmanager
def fetched(folder: PathLike) -> Iterator[str]:
  """A local folder with what is below `folder`: itself, or a copy that goes away afterwards."""
  if _local(folder):
    yield os.path.abspath(folder)
    return
  with tempfile.TemporaryDirectory(prefix='fetched-') as made:
    objects.download(os.fspath(folder), f'{made}/copy')
    yield f'{made}/copy'


def mirror(folder: PathLike, stamp: str) -> str:
  """A local copy of a folder of a bucket, made once a machine; itself if it is local.

  stamp: the file in it that changes whenever the folder does.
  """
  path = os.fspath(folder).rstrip('/')
  if _local(path):
    return path
  key = hashlib.sha256(f'{path}\n{read_text(f"{path}/{stamp}")}'.encode()).hexdigest()[:16]
  target = os.path.join(tempfile.gettempdir(), f'mirror-{os.getuid()}', key, *path.split('/')[-2:])
  if not os.path.exists(target):
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    objects.download(path, target)
  return target


def check_room(folder: PathLike, size: int) -> None:
  """Raises OSError unless a file of `size` bytes can be made in a local folder now.

  For writers whose own way of failing on a full disk is a flood of messages.
  """
  if not _local(folder):
    return
  probe = f'{os.fspath(folder)}/{TEMPORARY}{uuid.uuid4().hex[:8]}'
  try:
    with open(probe, 'xb') as file:
      os.posix_fallocate(file.fileno(), 0, max(size, 1))
  except OSError as error:
    raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
  finally:
    _discard(probe)


def no_room(error: BaseException) -> bool:
  """Whether an error, or one that caused it, says that the disk is full or the quota used up."""
  seen: BaseException | None = error
  while seen is not None:
    if isinstance(seen, OSError) and seen.errno in NO_ROOM:
      return True
    # Tensorstore reports through its own status codes, as text.
    if any(word in str(seen) for word in ('No space left', 'Disk quota', 'File too large')):
      return True
    seen = seen.__cause__ or seen.__context__
  return False


def to_json(value: Any) -> str:
  """Canonical JSON: sorted keys, no spaces, one form for every value."""
  return json.dumps(value, sort_keys=True, separators=(',', ':'), allow_nan=False)


def _write_synced(path: str, text: str) -> None:
  with open(path, 'x', encoding='utf-8') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def _discard(path: str) -> None:
  with contextlib.suppress(OSError):
    os.unlink(path)
