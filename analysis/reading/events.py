"""TensorBoard event files -> a table: a row a run and step, a column a tag.

A file is a sequence of TFRecords: uint64 length, masked CRC-32C of the length, the bytes, their
masked CRC-32C, little-endian; each holds an Event message. They are read here, without TensorFlow
or tensorboardX, which are optional and large: of the messages only scalars (simple_value, or a
tensor with one number) and hyper-parameters (columns of the run) matter. Formats: tensorflow
core/lib/io/record_writer.h, core/util/event.proto, core/framework/{summary,tensor}.proto;
tensorboard plugins/hparams/plugin_data.proto. Tests compare with files that tensorboardX writes.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import InputError

KEYS = ('run', 'step', 'wall_time')
_DTYPES = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8', 19: '<f2'}  # of tensorflow's DataType
_BFLOAT16 = 14


def recognised(path: str, content: bytes) -> bool:
  """Whether a file's name or its first record's checksum says that it holds events."""
  return 'tfevents' in os.path.basename(path) or (
      len(content) >= 12 and content[8:12] == _masked(content[:8]))


def files_of(folder: str) -> list[str]:
  """The event files below a folder, oldest name first."""
  return sorted(os.path.join(base, name) for base, _, names in os.walk(folder)
                for name in names if 'tfevents' in name)


def read_folder(folder: str) -> pd.DataFrame:
  """The runs below a folder; a run is a sub-folder that holds event files."""
  paths = files_of(folder)
  if not paths:
    workdir = os.path.isdir(os.path.join(folder, 'runs'))
    raise InputError(f'{folder}: it is a folder without TensorBoard event files; ' + (
        'a workdir goes with --logs' if workdir else '--data takes a file or a folder of those'))
  return _table(folder, [(os.path.relpath(os.path.dirname(p), folder), p) for p in paths])


def read_file(path: str, content: bytes) -> pd.DataFrame:
  """The events of one file."""
  return _table(path, [(os.path.basename(os.path.dirname(os.path.abspath(path))), path)], content)


def _table(source: str, files: list[tuple[str, str]], content: bytes | None = None) -> pd.DataFrame:
  rows: dict[tuple[str, int], dict[str, Any]] = {}
  constants: dict[str, dict[str, Any]] = {}
  lost: Counter[str] = Counter()
  for run, path in files:
    try:
      with open(path, 'rb') as file:
        held = content if content is not None else file.read()
    except OSError as error:
      raise InputError(f'{path}: {error.strerror or error}') from None
    for step, wall, tag, value in _values(held, lost):
      if tag is None:
        constants.setdefault(run, {}).update(value)
        continue
      row = rows.setdefault((run, step), {'run': run, 'step': step})
      row['wall_time'] = wall
      name = f'tag/{tag}' if tag in KEYS else tag
      lost['values logged again for the same step: the later one kept'] += name in row
      row[name] = value
  if not rows:
    why = ''.join(f'; {n} {what}' for what, n in lost.items() if n)
    raise InputError(f'{source}: no scalar in its event files{why}')
  table = pd.DataFrame([constants.get(run, {}) | row for (run, _), row in sorted(rows.items())])
  table = table[[*KEYS, *(c for c in table if c not in KEYS)]]
  table.attrs['notes'] = [f'{n} {what}' for what, n in lost.items() if n]
  return table


def _values(content: bytes, lost: Counter[str]) -> Iterator[tuple[int, float, str | None, Any]]:
  """(step, wall time, tag, value) of each scalar; tag None with a dict of hyper-parameters."""
  for record, checksum in _records(content, lost):
    try:
      step, wall, summaries = 0, 0.0, []
      for field, kind, value in _fields(record):
        if (field, kind) == (1, 1):
          wall = struct.unpack('<d', value)[0]
        elif (field, kind) == (2, 0):
          step = value - (value >> 63 << 64)
        elif (field, kind) == (5, 2):
          summaries += [v for f, k, v in _fields(value) if (f, k) == (1, 2)]
      found = [v for v in map(_scalar, summaries) if v is not None]
    except (ValueError, OverflowError, UnicodeDecodeError, RecursionError):
      lost['records of event files that cannot be decoded: left out'] += 1
      continue
    # Checked only for what is used: records of pictures and graphs are large, and this is Python.
    if found and checksum != _masked(record):
      lost['records of event files with a wrong checksum: left out'] += 1
      continue
    for tag, value in found:
      yield step, wall, tag, value


def _records(content: bytes, lost: Counter[str]) -> Iterator[tuple[bytes, bytes]]:
  """(bytes, checksum as stored). A bad length ends the file: nothing after it can be found."""
  at = 0
  while at < len(content):
    head = content[at:at + 12]
    if len(head) == 12 and head[8:] != _masked(head[:8]):
      lost[f'event files damaged from some byte on (one at {at}): the rest left out'] += 1
      return
    size = struct.unpack('<Q', head[:8])[0] if len(head) == 12 else len(content)
    record, checksum = content[at + 12:at + 12 + size], content[at + 12 + size:at + 16 + size]
    if len(checksum) < 4:
      lost['event files that end within a record: that record left out'] += 1
      return
    yield record, checksum
    at += 16 + size


def _scalar(message: bytes) -> tuple[str | None, Any] | None:
  """(tag, number) of a Summary.Value; (None, {...}) of hyper-parameters; None for other kinds."""
  tag, value, hparams = '', None, None
  for field, kind, held in _fields(message):
    if (field, kind) == (1, 2):
      tag = held.decode()
    elif (field, kind) == (2, 5):
      value = float(struct.unpack('<f', held)[0])
    elif (field, kind) == (8, 2):
      value = _tensor(held)
    elif (field, kind) == (9, 2):
      hparams = _hparams(held)
  if hparams:
    return None, hparams
  return None if value is None else (tag, value)


def _tensor(message: bytes) -> float | None:
  """The number of a tensor that holds exactly one; None for others."""
  dtype, packed = 0, b''
  for field, kind, held in _fields(message):
    if (field, kind) == (1, 0):
      dtype = held
    elif (field, kind) in ((4, 2), (5, 2), (6, 2), (5, 5), (6, 1)):  # content, floats, doubles
      packed += held
    elif field in (7, 10, 13) and kind in (0, 2):  # ints, int64s, halves: varints
      number = held if kind == 0 else _varint(held, 0)[0]
      if kind == 2 and _varint(held, 0)[1] != len(held):
        return None
      if field != 13:
        return float(number - (number >> 63 << 64))
      packed += struct.pack('<H', number & 0xFFFF)
  if dtype == _BFLOAT16:
    dtype, packed = 1, b'\0\0' + packed if len(packed) == 2 else b''
  form = _DTYPES.get(dtype)
  if form is None or len(packed) != np.dtype(form).itemsize:
    return None
  return float(np.frombuffer(packed, form)[0])


def _hparams(metadata: bytes) -> dict[str, Any]:
  """{name: value} of SummaryMetadata with the plugin data of a session's start; {} for others."""
  data = _one(metadata, 1)
  if _one(data, 1) != b'hparams':
    return {}
  found: dict[str, Any] = {}
  for entry in [v for f, k, v in _fields(_one(_one(data, 2), 3)) if (f, k) == (1, 2)]:
    for field, kind, held in _fields(_one(entry, 2)):
      if (field, kind) == (2, 1):
        found[_one(entry, 1).decode()] = struct.unpack('<d', held)[0]
      elif (field, kind) == (3, 2):
        found[_one(entry, 1).decode()] = held.decode()
      elif (field, kind) == (4, 0):
        found[_one(entry, 1).decode()] = bool(held)
  return found


def _one(message: bytes, wanted: int) -> bytes:
  """A message's last field of this number; b'' if it has none."""
  return next((v for f, k, v in reversed(list(_fields(message))) if (f, k) == (wanted, 2)), b'')


def _fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
  """(number, wire type, value) of a message's fields. ValueError if it is none."""
  at = 0
  while at < len(message):
    key, at = _varint(message, at)
    kind = key & 7
    if kind == 0:
      value, at = _varint(message, at)
      yield key >> 3, kind, value
      continue
    if kind == 2:
      size, at = _varint(message, at)
    elif kind in (1, 5):
      size = 8 if kind == 1 else 4
    else:
      raise ValueError(f'wire type {kind}')
    if at + size > len(message):
      raise ValueError('cut off')
    yield key >> 3, kind, message[at:at + size]
    at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    if at >= len(message) or shift > 63:
      raise ValueError('varint')
    byte = message[at]
    value |= (byte & 127) << shift
    at, shift = at + 1, shift + 7
    if byte < 128:
      return value & (2**64 - 1), at


def _crc_table() -> list[int]:
  table = []
  for value in range(256):
    for _ in range(8):
      value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    table.append(value)
  return table


_CRC = _crc_table()


def _masked(data: bytes) -> bytes:
  """TFRecord's checksum: CRC-32C, rotated right by 15, plus a constant."""
  crc = 0xFFFFFFFF
  for byte in data:
    crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
  crc ^= 0xFFFFFFFF
  return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
