"""The lines of a run's curve.jsonl as blocks of numbers, thousands of files in seconds."""

from __future__ import annotations

import itertools
import json
import operator
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import orjson

from scaling import files

NUMBERS = ('N', 'N_nonembedding', 'N_average', 'N_v', 'V', 'D', 'C', 'C_counted', 'H', 'U', 'B',
           'D_total', 'C_total')
# Of the weights that are not zero; a line from before there were any has those of the dense model.
NONZERO = {'N_average_nonembedding': 'N_nonembedding', 'N_nonzero': 'N_nonembedding',
           'N_final': 'N_nonembedding', 'density': None}
LINE = ('step', 'lr', 'train_loss')
DOMAIN = ('loss', 'loss_se', 'bits_per_byte', 'loss_unigram', 'r')


class Block(NamedTuple):
  """Lines of one curve that have the same numbers: values [lines, names], None as NaN."""

  names: tuple[str, ...]
  values: np.ndarray


def read(path: str, skipped: Counter[str]) -> list[Block]:
  """The lines of a curve; a line that is not one is counted."""
  lines = _lines(path, skipped)
  try:
    return [_whole(lines)] if lines else []
  except _NOT_A_LINE:
    pass
  found = []
  for line in lines:
    try:
      found.append(_alone(line))
    except _NOT_A_LINE:
      skipped['unreadable curve lines'] += 1
  return found


_LINE = operator.itemgetter(*LINE, *NUMBERS)
_LINE_NONZERO = operator.itemgetter(*LINE, *NUMBERS, *NONZERO)
_DOMAIN = operator.itemgetter(*DOMAIN)
_NUMERIC = {int, float, type(None)}
_NOT_A_LINE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def _whole(lines: list[Any]) -> Block:
  """All lines of a curve at once. Raises KeyError and the like when one is not such a line."""
  domains = list(lines[0]['domains'])
  extra = tuple(NONZERO) if 'density' in lines[0] else ()
  get = _LINE_NONZERO if extra else _LINE
  if len(domains) == 1:  # The rule, and faster.
    rows = [get(line) + _DOMAIN(line['domains'][domains[0]]) for line in lines]
  else:
    rows = [sum((_DOMAIN(line['domains'][name]) for name in domains), get(line))
            for line in lines]
  if any(len(line['domains']) != len(domains) for line in lines):
    raise KeyError('domains')
  if {type(row[0]) for row in rows} != {int}:
    raise TypeError('step')
  names = (*LINE, *NUMBERS, *extra, *(f'{name}/{domain}' for domain in domains for name in DOMAIN))
  block = _block(names, rows)
  along = [name for name in domains if 'loss_along' in lines[-1]['domains'][name]]
  return block if not along else _with_along(block, along, lines[-1])


def _with_along(block: Block, domains: list[str], last: Any) -> Block:
  """The block with loss_along/<domain>: the loss, at the last line that on the windows before."""
  at = {name: i for i, name in enumerate(block.names)}
  columns = []
  for domain in domains:
    column = block.values[:, at[f'loss/{domain}']].copy()
    column[-1] = float(last['domains'][domain]['loss_along'])
    columns.append(column)
  return Block((*block.names, *(f'loss_along/{domain}' for domain in domains)),
               np.column_stack([block.values, *columns]))


def _alone(line: Any) -> Block:
  """One line, which need not have every number. Raises KeyError and the like as _whole does."""
  found: dict[str, Any] = {'step': int(line['step'])}
  found |= {name: line.get(name) for name in (*LINE[1:], *NUMBERS)}
  found |= {name: line[name] for name in NONZERO if name in line}
  for domain, metrics in line['domains'].items():
    found |= {f'{name}/{domain}': metrics.get(name) for name in DOMAIN}
    if 'loss_along' in metrics:
      found[f'loss_along/{domain}'] = metrics['loss_along']
  return _block(tuple(found), [tuple(found.values())])


def _block(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Block:
  if not set(map(type, itertools.chain.from_iterable(rows))) <= _NUMERIC:
    raise TypeError('not a number')  # Text that looks like one, and booleans, would become one.
  return Block(names, np.array(rows, float))


def _lines(path: str, skipped: Counter[str]) -> list[Any]:
  try:
    text = files.read_text(path)
  except FileNotFoundError:
    return []
  except (ValueError, OSError):
    skipped['unreadable curve files'] += 1
    return []
  lines = text.splitlines()
  try:  # All at once, and with orjson, is several times faster; the rest takes all of JSON.
    return orjson.loads(f'[{",".join(lines)}]')
  except (ValueError, RecursionError):
    pass
  found = []
  for line in lines:
    try:
      found.append(json.loads(line))
    except (ValueError, RecursionError):
      skipped['unreadable curve lines'] += 1
  return found
