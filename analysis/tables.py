"""Anyone's table of runs -> the columns a law needs."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.expressions import Expression
from scaling.errors import InputError


def read(path: str) -> pd.DataFrame:
  """A CSV file (compressed or not), or JSON lines (.jsonl). InputError if it cannot be read."""
  if not os.path.exists(path):
    raise InputError(f'{path}: no such file')
  if os.path.isdir(path):
    raise InputError(f'{path}: it is a folder; --data takes a CSV file, --logs a workdir')
  try:
    if re.search(r'\.jsonl(\.\w+)?$', path):
      table = pd.read_json(path, lines=True)
    else:
      table = pd.read_csv(path, skipinitialspace=True, low_memory=False)
  except (ValueError, OSError, EOFError, OverflowError, zlib.error) as error:
    raise InputError(f'{path}: it cannot be read as a table ({_line(error)})') from None
  if not isinstance(table.index, pd.RangeIndex):  # pandas would shift the columns by one
    raise InputError(f'{path}: its rows hold more cells than its header has names')
  if not len(table):
    raise InputError(f'{path}: it holds no rows')
  table.columns = [str(c).strip() for c in table.columns]
  return table


def sha256(path: str) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def columns(text: str) -> dict[str, Expression]:
  """'N=params,D=`a,b`*2' -> {'N': ..., 'D': ...}; commas in backquotes or brackets are kept."""
  parts, depth, quoted, start = [], 0, False, 0
  for i, character in enumerate(text):
    if character == '`':
      quoted = not quoted
    elif not quoted:
      depth += (character == '(') - (character == ')')
      if character == ',' and depth <= 0:
        parts.append(text[start:i])
        start = i + 1
  parts.append(text[start:])
  found: dict[str, Expression] = {}
  for part in parts:
    if not part.strip():
      continue
    name, equals, expression = part.partition('=')
    if not equals or not name.strip().isidentifier():
      raise InputError(f'--columns: {" ".join(part.split())!r} is not of the form input=expression')
    if name.strip() in found:
      raise InputError(f'--columns: {name.strip()} is given twice')
    found[name.strip()] = Expression(expression)
  return found


def condition(table: pd.DataFrame, flag: str, text: str,
              names: Mapping[str, Expression] | None = None) -> np.ndarray:
  """Which rows an expression holds for, bool [rows]. InputError when it is not a condition.

  The condition may also use `names`, the inputs of --columns; a column of the table by the same
  name goes first.
  """
  parsed = Expression(text)
  named = {name: expression.evaluate(table) for name, expression in (names or {}).items()
           if name in parsed.names and name not in table}
  kept = parsed.evaluate(table.assign(**named))
  if kept.dtype.kind != 'b':
    raise InputError(f'{flag}: {text!r} is not a condition; write one such as loss < 5')
  return np.broadcast_to(kept, (len(table),))


def select(table: pd.DataFrame, where: str, names: Mapping[str, Expression] | None = None
           ) -> pd.DataFrame:
  """The rows where an expression holds. InputError when it is not a condition, or none is left."""
  if not where.strip():
    return table
  chosen = table[condition(table, '--where', where, names)]
  if not len(chosen):
    raise InputError(f'--where: {where!r} leaves none of the {len(table)} rows')
  return chosen


def values(table: pd.DataFrame, expressions: Mapping[str, Expression]) -> dict[str, np.ndarray]:
  """Each expression as numbers, one a row; a cell that is no number is an InputError.

  Empty cells become nan, which fitting drops and counts.
  """
  found = {}
  for name, expression in expressions.items():
    value = expression.evaluate(table)
    if value.dtype.kind not in 'bif':
      raise InputError(f'{name} = {expression.text}: {_not_number(table, value)}')
    found[name] = np.broadcast_to(value.astype(np.float64), (len(table),))
  return found


def _not_number(table: pd.DataFrame, value: np.ndarray) -> str:
  for i, cell in enumerate(value.ravel()):
    try:
      float(cell)
    except (TypeError, ValueError):
      return f'row {table.index[i] + 1} holds {str(cell)[:60]!r}, not a number'
  return 'it is not numeric'


def _line(error: BaseException) -> str:
  return ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
