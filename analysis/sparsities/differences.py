"""Where the law of average parameters holds: sparse runs against the law of the dense ones.

The difference of a sparse run is loss / L(N_x, D) - 1, L the law of the dense runs alone: negative
where the run is better than a dense one with N_x parameters and as many tokens. By duration
(tokens a parameter), by start and duration, by pruning window and by final sparsity; of each also
w, the place in the run at which parameters count (analysis/laws/average_parameters.py), fitted to
all dense runs and the sparse ones there, and `starts`, the difference of the same starts not
pruned: what the sparse runs have in common with it is not of the pruning. The law holds at a place
when the mean difference at the average count is within 1 % and so is its interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis import validation
from analysis.sparsities import lanes
from analysis.sparsities import runs as tidy
from analysis.sparsities.counts import Joint

LIMIT = 0.01
COUNTS = ('average', 'final', 'initial')
BY = ('duration', 'start', 'window', 'sparsity')


def labels(runs: pd.DataFrame, by: str) -> np.ndarray:
  """Each run's place, [n] of float: its number among the places there are; nan for none.

  Windows are of starts and sparsities that have several, if there are any, so that they compare.
  """
  sparse = (runs['kind'] == 'sparse').to_numpy()
  found = np.full(len(runs), np.nan)
  rows = runs[sparse]
  if by == 'duration':
    found[sparse] = validation.levels(_lengths(rows)[duration(runs)])
  elif by == 'start':  # each size that was pruned at each D
    size = tidy.size(rows['N_initial'].to_numpy(float))
    found[sparse] = np.unique(np.stack([size, tidy.tokens(rows['D'].to_numpy(float))], 1), axis=0,
                              return_inverse=True)[1].ravel()
  elif by == 'sparsity':
    found[sparse] = np.unique(np.round(rows['sparsity'], 2), return_inverse=True)[1]
  else:
    ends = np.round(rows[['start', 'end']].to_numpy(float), 4)
    named = np.flatnonzero(np.isfinite(ends).all(1))
    if len(named):
      place = np.unique(ends[named], axis=0, return_inverse=True)[1].ravel()
      cell = [tidy.size(rows['N_initial'].to_numpy(float))[named],
              np.round(rows['sparsity'].to_numpy(float), 2)[named]]
      several = (pd.Series(place).groupby(cell).transform('nunique') > 1).to_numpy()
      if several.any():  # Else windows differ in what was pruned, too.
        named, place = named[several], place[several]
      found[np.flatnonzero(sparse)[named]] = place
  return found


def duration(runs: pd.DataFrame) -> str:
  """What a study's durations are equal in: 'D', or 'ratio', the tokens a parameter of the start."""
  rows = runs[runs['kind'] == 'sparse']
  levels = {name: validation.levels(values).max() for name, values in _lengths(rows).items()}
  return 'D' if levels['D'] < levels['ratio'] else 'ratio'


def _lengths(rows: pd.DataFrame) -> dict[str, np.ndarray]:
  tokens = rows['D'].to_numpy(float)
  return {'D': tokens, 'ratio': tokens / rows['N_initial'].to_numpy(float)}


def parts(runs: pd.DataFrame, kinds: tuple[str, ...] = BY) -> dict[str, np.ndarray]:
  """The rows that w is fitted to at every place: the dense runs and the sparse ones there."""
  dense = (runs['kind'] == 'dense').to_numpy()
  found = {}
  for by in kinds:
    at = labels(runs, by)
    for place in np.unique(at[np.isfinite(at)]):
      found[f'{by} {place:g}'] = dense | (at == place)
  return found


def table(found: Joint, by: str) -> list[dict[str, Any]]:
  """A row a place: what it is, the differences at every count, w, and whether the law holds."""
  runs, at = found.runs, labels(found.runs, by)
  ratios = {c: found.loss / found.predicted[c]['dense'] - 1 for c in COUNTS}
  rows = []
  for place in np.unique(at[np.isfinite(at)]):
    here = at == place
    mine, count = runs[here], found.count_against_dense(here)
    weight = found.weights[:, here]
    row: dict[str, Any] = _described(mine, by) | {'runs': len(mine), 'units': count}
    for name in COUNTS:
      values = ratios[name][:, here]
      mean = lanes.mean(values, weight)
      size = lanes.mean(np.abs(values), weight)
      row[name] = {
          'difference': float(mean[0]), 'size': float(size[0]),
          'interval': lanes.interval(mean, count, found.level),
          'size_interval': lanes.interval(size, count, found.level, 0.0)}
    row['starts'] = _starts(found, mine, ratios['initial'])
    w = found.refits['fitted'][f'{by} {place:g}']['w'][:, 0]
    row['w'] = float(w[0])
    row['w_interval'] = lanes.interval(w, count, found.level, 0.0, 1.0)
    ends = row['average']['interval']
    row['within'] = bool(abs(row['average']['difference']) <= LIMIT)
    row['holds'] = None if ends is None else bool(ends[0] >= -LIMIT and ends[1] <= LIMIT)
    rows.append(row)
  return rows


def _starts(found: Joint, rows: pd.DataFrame, ratios: np.ndarray) -> float | None:
  """The mean difference of dense runs of the size and D of each row; None: a row has none."""
  dense = found.runs[~found.sparse].assign(ratio=ratios[0, ~found.sparse])
  size, tokens = (np.log(dense[k].to_numpy(float)) for k in ('N_initial', 'D'))
  values = []
  for _, row in rows.iterrows():
    same = (np.abs(size - np.log(row['N_initial'])) < 1e-3) & (
        np.abs(tokens - np.log(row['D'])) < 0.01)
    values.append(dense['ratio'][same].mean() if same.any() else np.nan)
  return float(np.mean(values)) if np.isfinite(values).all() else None


def begins(rows: list[dict[str, Any]]) -> float | None:
  """The tokens a parameter from which on the mean difference is within 1 % at every duration."""
  start = None
  for row in sorted(rows, key=lambda r: r['tokens_per_parameter'], reverse=True):
    if not row['within']:
      break
    start = row['tokens_per_parameter']
  return start


def _described(rows: pd.DataFrame, by: str) -> dict[str, float]:
  average = float(np.exp(np.mean(np.log(rows['D'] / rows['N_average']))))
  if by in ('duration', 'start'):
    own = {} if by == 'duration' else {'N_initial': float(rows['N_initial'].mean())}
    return own | {'D': float(np.exp(np.mean(np.log(rows['D'])))), 'tokens_per_parameter': average}
  if by == 'sparsity':
    return {'sparsity': float(rows['sparsity'].mean())}
  return {'start': float(rows['start'].iloc[0]), 'end': float(rows['end'].iloc[0])}


def windows(found: Joint) -> list[dict[str, Any]]:
  """Loss by start and end of the pruning, a row a window, start size, D and sparsity.

  Only of what was pruned in several windows. difference: from the dense law at N_average.
  """
  runs = found.runs.assign(
      difference=(found.loss / found.predicted['average']['dense'] - 1)[0],
      window=labels(found.runs, 'window'))
  runs = runs[np.isfinite(runs['window'])]
  rows = []
  same = [tidy.size(runs['N_initial']), np.round(np.log(runs['D']), 3),
          np.round(runs['sparsity'], 2)]
  for _, group in runs.groupby(same):
    if group['window'].nunique() < 2:
      continue
    for _, cell in group.groupby('window'):
      first = cell.iloc[0]
      rows.append({
          'N_initial': float(first['N_initial']), 'D': float(first['D']),
          'sparsity': float(cell['sparsity'].mean()), 'start': float(first['start']),
          'end': float(first['end']), 'N_average': float(cell['N_average'].mean()),
          'C': float(cell['C'].mean()), 'loss': float(cell['loss'].mean()),
          'difference': float(cell['difference'].mean()), 'runs': len(cell)})
  return rows
