"""Anyone's table of runs -> the columns a law needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from analysis.reading import readers, suffixes
from analysis.reading.expressions import Expression, missing
from scaling.errors import InputError

# What others call an input, letters only; named in errors, never used unasked.
OTHER_NAMES = {
    'N': ('params', 'parameters', 'nparams', 'numparams', 'modelsize', 'modelparams', 'size'),
    'D': ('tokens', 'ntokens', 'numtokens', 'trainingtokens', 'traintokens', 'tokensseen'),
    'C': ('flops', 'flop', 'compute', 'trainingflop', 'trainingflops', 'trainflops'),
    'loss': ('valloss', 'evalloss', 'validationloss', 'testloss', 'finalloss', 'lossval')}


def read(path: str, form: str = '') -> pd.DataFrame:
  """A user's file or folder; see analysis/reading/readers.py. InputError if it cannot be read."""
  return readers.read(path, form)


def sha256(path: str) -> str:
  return readers.sha256(path)


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


def lacks(path: str, law: str, name: str, table: pd.DataFrame) -> str:
  """One line about an input that --columns does not give and the table does not have."""
  folded = {re.sub('[^a-z]', '', str(c).casefold()): str(c) for c in reversed(list(table))}
  others = (name.casefold(), *OTHER_NAMES.get(name, ()))
  other = [folded[n] for n in others if n in folded]
  if other:
    quoted = other[0] if other[0].isidentifier() else f'`{other[0]}`'
    return (f"{path}: {law} needs {name}, and there is no such column; if it is {other[0]!r}, "
            f"write --columns='{name}={quoted}'")
  return missing(f'{path}: {law} needs {name}, and there is no such column; write '
                 f'--columns={name}=EXPRESSION', name, table)


def notes(table: pd.DataFrame, expressions: Iterable[Expression]) -> list[str]:
  """What the reader noted, and what it made of texts in the columns that expressions use."""
  said = list(table.attrs.get('notes', ()))
  for name in sorted({n for e in expressions for n in e.names if n in table}):
    cells = np.asarray(table[name])
    found = suffixes.column(cells) if cells.dtype.kind in 'OTU' else None
    said.append(found.said(name) if found is not None else '')
  return list(filter(None, said))


def _not_number(table: pd.DataFrame, value: np.ndarray) -> str:
  if value.dtype.kind in 'mM':
    return 'it holds dates or durations, not numbers'
  for i, cell in enumerate(value.ravel()):
    text = str(cell)
    if text.strip() and suffixes.number(text) is None:
      where = f'row {table.index[i] + 1} holds ' if value.size > 1 else ''
      return f'{where}{text[:60]!r}, not a number{suffixes.hint(text)}'
  return 'it is not numeric'
