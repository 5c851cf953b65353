"""A user's file or folder -> a table: what it is, is told by its content.

CSV (separated by commas, semicolons or tabs), JSON, JSON lines, Parquet, TensorBoard event files
(analysis/reading/events.py), exports of Weights & Biases (analysis/reading/exports.py); gzip,
bzip2, xz and zip around any of them. What was left out or read in a way worth knowing stands in
`table.attrs['notes']`, a list of sentences.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from typing import Any

import pandas as pd

from analysis.reading import contents, events, exports
from scaling.errors import InputError, bad

SEPARATORS = {'csv': ',', 'semicolon': ';', 'tsv': '\t'}
FORMATS = (*SEPARATORS, 'json', 'jsonl', 'parquet', 'tensorboard', 'wandb')


def read(path: str, form: str = '') -> pd.DataFrame:
  """The table in a file, or in a folder of event files. `form`: one of FORMATS, '' to recognise it.

  Raises InputError, one line, for whatever cannot be read as a table with at least one row.
  """
  if form and form not in FORMATS:
    raise bad('--format', form, f'it is one of {", ".join(FORMATS)}')
  if os.path.isdir(path):
    if form not in ('', 'tensorboard'):
      raise InputError(f'{path}: it is a folder, and --format={form} is read from a file')
    return _checked(path, events.read_folder(path))
  content = contents.raw(path)
  if form == 'tensorboard' or (not form and events.recognised(path, content)):
    return _checked(path, events.read_file(path, content))
  content = contents.unpacked(path, content)
  if not content.strip():
    raise InputError(f'{path}: it is empty')
  if form == 'parquet' or (not form and content[:4] == b'PAR1'):
    return _checked(path, _parquet(path, content))
  text = contents.text(path, content)
  seems = text.lstrip()[:1] in ('[', '{') or '.json' in os.path.basename(path).lower()
  if form in ('json', 'jsonl') or (not form and seems):
    return _checked(path, _json(path, text, form))
  table = _checked(path, _separated(path, text, form))
  if form == 'wandb' and not exports.recognised(table):
    raise InputError(f'{path}: not an export of Weights & Biases (neither "run - metric" columns '
                     'nor Name and State)')
  if form in ('', 'wandb') and exports.recognised(table):
    return _checked(path, exports.tidy(path, table))
  return table


def sha256(path: str) -> str:
  """Of a file; of a folder, of its event files' names and contents."""
  if not os.path.isdir(path):
    return hashlib.sha256(contents.raw(path)).hexdigest()
  digest = hashlib.sha256()
  for name in events.files_of(path):
    digest.update(os.path.relpath(name, path).encode() + b'\0' + contents.raw(name))
  return digest.hexdigest()


def _separated(path: str, text: str, form: str) -> pd.DataFrame:
  separator = SEPARATORS.get(form) or _separator(path, text)
  try:
    header = next((row for row in csv.reader(io.StringIO(text), delimiter=separator,
                                             skipinitialspace=True) if row), [])
    table = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True, low_memory=False,
                        float_precision='round_trip')
  except Exception as error:
    raise InputError(f'{path}: it cannot be read as a table ({contents.line(error)})') from None
  names = [name.strip() for name in header if name.strip()]
  _unique(path, names)
  if not isinstance(table.index, pd.RangeIndex):  # pandas would shift the columns by one
    raise InputError(f'{path}: its rows hold more cells than its header has names')
  if names and all(re.fullmatch(r'[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?', n) for n in names):
    raise InputError(f'{path}: its first row holds numbers; it must hold the names of the columns')
  return table


def _separator(path: str, text: str) -> str:
  """The separator in the header; of several, the one that cuts all of the first rows alike."""
  lines = [line for line in text.splitlines()[:40] if line.strip()][:20]
  header = re.sub(r'"[^"]*"', '', lines[0])
  there = [s for s in SEPARATORS.values() if s in header]
  if len(there) < 2:
    return there[0] if there else ','
  try:
    alike = [s for s in there
             if len({len(row) for row in csv.reader(lines, delimiter=s)}) == 1]
  except csv.Error:
    alike = []
  if len(alike) != 1:
    raise InputError(f'{path}: its header has {" and ".join(map(repr, there))}; say which '
                     f'separates columns: --format={", ".join(SEPARATORS)}')
  return alike[0]


def _json(path: str, text: str, form: str) -> pd.DataFrame:
  """An array of objects, an object a line, or an object of columns or of rows: {"N": [...]}."""
  notes: list[str] = []
  try:
    found = None if form == 'jsonl' else _loads(text)
    if found is None and (form == 'json' or text.lstrip().startswith('[')):
      raise InputError('not JSON')
    if found is None:
      lines = [line for line in text.splitlines() if line.strip()]
      found = [_loads(line) for line in lines]
      if len(lines) > 1 and found[-1] is None and not text.endswith('\n'):
        notes.append('the last line is cut off: left out')
        found.pop()
      if None in found:
        raise InputError(f'line {found.index(None) + 1} is not JSON')
  except InputError as error:
    raise InputError(f'{path}: {error}') from None
  if isinstance(found, dict):
    columns = list(found.values())
    if columns and all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
      found = [dict(zip(found, cells)) for cells in zip(*columns)]
    elif len(columns) > 1 and all(isinstance(c, dict) for c in columns):
      found = [{'key': name, **row} for name, row in found.items()]
      notes.append("an object of objects: a row each, column 'key' holds its name")
    else:
      found = [found]
  for i, row in enumerate(found if isinstance(found, list) else [found]):
    if not isinstance(row, dict):
      raise InputError(f'{path}: entry {i + 1} is no object with columns as its keys')
  table = pd.DataFrame([_flat(row) for row in found])
  table.attrs['notes'] = notes
  return table


def _loads(text: str) -> Any:
  """A JSON value; None for what is not JSON."""
  try:
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
  except json.JSONDecodeError:
    return None
  except RecursionError:
    raise InputError('nested too deeply') from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    raise InputError('an object has the same key twice')
  return found


def _integer(digits: str) -> int | float:
  return int(digits) if len(digits) < 19 else float(digits)


def _flat(row: dict[str, Any], under: str = '') -> dict[str, Any]:
  """{'loss': {'docs': 3}} -> {'loss/docs': 3}; a list becomes its text."""
  flat: dict[str, Any] = {}
  for name, value in row.items():
    if isinstance(value, dict) and value:
      flat |= _flat(value, f'{under}{name}/')
    else:
      flat[f'{under}{name}'] = json.dumps(value) if isinstance(value, list | dict) else value
  return flat


def _parquet(path: str, content: bytes) -> pd.DataFrame:
  from pyarrow import parquet  # not needed, so not loaded, for other formats
  try:
    table = parquet.read_table(io.BytesIO(content)).to_pandas()
  except Exception as error:
    raise InputError(f'{path}: it cannot be read as Parquet ({contents.line(error)})') from None
  named = [n for n in table.index.names if n is not None]
  return table.reset_index(drop=not named)


def _checked(path: str, table: pd.DataFrame) -> pd.DataFrame:
  notes = table.attrs.get('notes', [])
  table = table.set_axis([str(c).strip() for c in table.columns], axis=1)
  _unique(path, list(table.columns))
  if not len(table):
    raise InputError(f'{path}: it holds no rows')
  table.attrs['notes'] = notes
  return table


def _unique(path: str, names: list[str]) -> None:
  twice = sorted({name for name in names if names.count(name) > 1}) if (
      len(set(names)) < len(names)) else []
  if twice:
    raise InputError(f'{path}: column {twice[0]!r} is there {names.count(twice[0])} times')
