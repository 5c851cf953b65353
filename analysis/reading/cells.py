"""Cells: rows that are equal in some columns; the best row of each over a swept setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading.expressions import column, missing
from scaling.errors import InputError

DIGITS = 9  # numbers that agree to so many digits are one value: D = C / (6 N) is seldom exact


def codes(columns: Sequence[Any]) -> np.ndarray:
  """A number 0, 1, ... a row; rows equal in all columns have the same. Columns are [n] each.

  Empty cells count as a value of their own.
  """
  texts = [_rounded(np.asarray(c)) for c in columns]
  if not texts:
    raise ValueError('no columns')
  frame = pd.DataFrame(dict(enumerate(texts)))
  return frame.groupby(list(frame), sort=False, dropna=False).ngroup().to_numpy()


def best(loss: np.ndarray, cell: np.ndarray, swept: Mapping[str, np.ndarray],
         seed: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
  """Which rows have the lowest loss of their cell, bool [n], and what is worth knowing.

  loss [n]; cell [n] of codes; swept {name: [n]}, the settings tried within a cell. With `seed` [n]
  a setting's loss is its mean over seeds, and all seeds of the best setting are kept: the least of
  several seeds would be too low. A setting with a missing loss (a run that diverged) is passed over
  but belongs to the grid; a cell without any loss is kept whole, for the fit to drop and count.
  """
  setting = codes(list(swept.values()))
  usable = np.isfinite(loss)
  keep = np.zeros(len(loss), bool)
  edges = {name: [0, 0, 0] for name in swept}  # at the lowest, at the highest value, only one value
  judged = 0
  for members in pd.Series(range(len(loss))).groupby(cell).indices.values():
    rows = np.asarray(members)
    if not usable[rows].any():
      keep[rows] = True
      continue
    judged += 1
    if seed is None:
      chosen = rows[[int(np.argmin(np.where(usable[rows], loss[rows], np.inf)))]]
    else:
      score = pd.Series(loss[rows]).groupby(setting[rows])
      means = score.mean().where(score.count() == score.size(), np.inf)
      if not np.isfinite(means.min()):
        means = score.mean()
      chosen = rows[(setting[rows] == means.idxmin()) & usable[rows]]
    keep[chosen] = True
    for name, values in swept.items():
      _count(edges[name], values[rows], values[chosen[0]])
  left = int(np.sum(~keep))
  said = [f'--best_over={",".join(swept)}: the best of {judged} cells kept, {left} other rows left '
          'out']
  for name, (low, high, single) in edges.items():
    ends = [f'the {what} in {n}' for what, n in (('smallest', low), ('largest', high)) if n]
    if ends:
      said.append(f'--best_over={name}: of {judged} cells, the best {name} is '
                  f'{" and ".join(ends)}: at the edge of what was tried, lower may lie outside')
    if single:
      said.append(f'--best_over={name}: {single} of {judged} cells tried only one {name}')
  return keep, said


def swept_columns(table: pd.DataFrame, text: str, inputs: Mapping[str, np.ndarray],
                  ) -> dict[str, np.ndarray]:
  """'peak_lr,batch' -> {name: [n]}: columns, inputs, or axes of a study (point/<name>)."""
  names = [name.strip().strip('`') for name in text.split(',') if name.strip()]
  if not names:
    raise InputError('--best_over: name at least one column')
  found: dict[str, np.ndarray] = {}
  for name in names:
    if name in table:
      found[name] = column(np.asarray(table[name]))
    elif name in inputs:
      found[name] = np.asarray(inputs[name])
    elif f'point/{name}' in table:
      found[name] = column(np.asarray(table[f'point/{name}']))
    else:
      raise InputError(missing(f'--best_over: no column {name!r}', name, table))
  return found


def settings_of(table: pd.DataFrame, swept: Mapping[str, np.ndarray]) -> list[np.ndarray]:
  """The axes of a workdir's studies that are no seeds and are not swept, under whatever name."""
  sweep = codes(list(swept.values())) if swept else None
  found = []
  for field in map(str, table):
    name = field.removeprefix('point/')
    if name == field or 'seed' in name or name in swept or name.rpartition('.')[2] in swept:
      continue
    values = codes([table[field]])
    if sweep is not None and values.max() and _same_partition(values, sweep):
      continue  # 'lr' for peak_lr
    found.append(values)
  return found


def _same_partition(a: np.ndarray, b: np.ndarray) -> bool:
  both = codes([a, b]).max()
  return bool(both == a.max() == b.max())


def _count(edge: list[int], tried: np.ndarray, chosen: Any) -> None:
  if tried.dtype.kind not in 'if':
    return
  grid = tried[np.isfinite(tried)]
  if len(grid) and grid.min() == grid.max():
    edge[2] += 1
  elif len(grid) and np.isfinite(chosen):
    edge[0] += int(chosen == grid.min())
    edge[1] += int(chosen == grid.max())


def _rounded(values: np.ndarray) -> np.ndarray:
  if values.dtype.kind in 'biu':
    return values
  if values.dtype.kind != 'f':
    return np.array(list(map(str, values)), object)
  with np.errstate(all='ignore'):
    power = np.floor(np.log10(np.abs(values)))
    power = np.where(np.isfinite(power), power, 0.0)
    shown = np.round(values / 10**power, DIGITS - 1) + 0.0  # -0 is 0
  # 9.999999999 and 10.000000001 are one value: the first rounds to 10 of the power below.
  power, shown = np.where(np.abs(shown) >= 10, power + 1, power), np.where(
      np.abs(shown) >= 10, shown / 10, shown)
  return np.array([f'{s:.{DIGITS}g}e{p:.0f}' for s, p in zip(shown, power)], object)
