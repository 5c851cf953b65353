"""Matched pairs: a sparse and a dense model with equal N_average and D, losses side by side.

The paper's claim is that they are equal. Runs that differ in seed alone are one model here, with
the mean of their losses. The dense one is the nearest trained if its N is within a tolerance, its
loss moved along the law of the dense runs to the sparse one's N_average (a factor near one); where
none is, it is that law itself. Intervals: of the law over refits, and of the seeds by the standard
deviation of ln loss between seeds, pooled over the models of a D, for it falls with D, or over all
where those say too little (one seed: of the dense law's residuals). Student's t with the two parts'
degrees of freedom by Welch and Satterthwaite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from analysis.sparsities import lanes
from analysis.sparsities import runs as tidy
from analysis.sparsities.counts import Joint
from analysis.sparsities.differences import LIMIT
from scaling.errors import bad

FEW, ENOUGH = 3, 10  # degrees of freedom, for a deviation of all runs and of those of one D


def table(found: Joint, tolerance: float = 0.03) -> list[dict[str, Any]]:
  """A row a sparse model, by D and N_average; difference = sparse / dense - 1.

  exact: whether a dense model was trained there. within: the difference is at most 1 %; surely:
  its whole interval is (None without an interval). Raises InputError for a tolerance out of range.
  """
  if not 0 <= tolerance < 0.5:
    raise bad('tolerance', tolerance, 'it must be in [0, 0.5)')
  runs = found.runs.assign(cell=tidy.cells(found.runs), log=np.log(found.loss))
  noises = noise(found)
  law = np.log(found.dense_law())  # [S + 1, n]
  sizes = max(2, found.count(~found.sparse))  # which the refits of the law weigh
  dense = runs[runs['kind'] == 'dense']
  models = {name: cell for name, cell in dense.groupby('cell')}
  rows = []
  for _, cell in runs[runs['kind'] == 'sparse'].groupby('cell'):
    first, at = cell.iloc[0], cell.index[0]
    std, freedom = noises.get(tidy.tokens(first['D']), noises[None])
    here = [m for m in models.values() if abs(np.log(m['D'].iloc[0] / first['D'])) < 0.01]
    gaps = [abs(np.log(m['N_average'].iloc[0] / first['N_average'])) for m in here]
    exact = bool(gaps and min(gaps) <= np.log1p(tolerance))
    if exact:
      match = here[int(np.argmin(gaps))]
      moved = law[:, at] - law[:, match.index[0]]
      said = float(match['log'].mean()) + moved
      variance = std**2 * (1 / len(cell) + 1 / len(match))
    else:
      said, variance = law[:, at], std**2 / len(cell)
    difference = float(np.expm1(cell['log'].mean() - said[0]))
    of_law = float(np.var(said[1:])) * lanes.spread(sizes)**2 if len(said) > 2 else 0.0
    half = _half(variance, freedom, of_law, sizes - 1, found.level) if freedom else np.nan
    ends = [float(np.expm1(np.log1p(difference) + k * half)) for k in (-1, 1)]
    rows.append({
        'D': float(first['D']), 'N_initial': float(first['N_initial']),
        'N_final': float(first['N_final']), 'N_average': float(cell['N_average'].mean()),
        'tokens_per_parameter': float(first['D'] / first['N_average']),
        'sparsity': float(first['sparsity']),
        'start': _known(first['start']), 'end': _known(first['end']), 'runs': len(cell),
        'sparse': float(cell['loss'].mean()), 'dense': float(np.exp(said[0])), 'exact': exact,
        'dense_N': float(match['N_average'].iloc[0]) if exact else None,
        'difference': difference, 'interval': ends if freedom else None,
        'within': bool(abs(difference) <= LIMIT),
        'surely': bool(ends[0] >= -LIMIT and ends[1] <= LIMIT) if freedom else None})
  return sorted(rows, key=lambda r: (r['D'], r['N_average']))


def _half(a: float, f_a: int, b: float, f_b: int, level: float) -> float:
  """Half an interval of a sum whose parts have variances a and b known with f_a and f_b freedom."""
  if a + b == 0:
    return 0.0
  freedom = (a + b)**2 / (a**2 / f_a + b**2 / f_b)
  return float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(a + b))


def noise(found: Joint) -> dict[float | None, tuple[float, int]]:
  """Standard deviation of ln loss of a single run about its model's mean, and its freedom.

  By D (tidy.tokens), where the models of one have enough seeds; None: of all runs.
  """
  runs = found.runs
  logs = np.log(runs['loss'])
  cells = pd.Series(tidy.cells(runs), runs.index)
  off = logs - logs.groupby(cells).transform('mean')
  answer: dict[float | None, tuple[float, int]] = {}
  length = tidy.tokens(runs['D'].to_numpy(float))
  for name in [None, *np.unique(length).tolist()]:
    rows = np.full(len(runs), True) if name is None else length == name
    freedom = int(rows.sum() - cells[rows].nunique())
    if freedom >= (FEW if name is None else ENOUGH):
      answer[name] = float(np.sqrt((off[rows]**2).sum() / freedom)), freedom
  if None not in answer:
    law = found.dense[0]
    freedom = max(0, len(law.loss) - len(law.law.parameters))
    rest = np.log(law.predict(law.inputs) / law.loss)
    answer[None] = float(np.sqrt(np.sum(rest**2) / freedom)) if freedom else 0.0, freedom
  return answer


def count(rows: list[dict[str, Any]]) -> dict[str, int]:
  """How many pairs there are, within 1 %, and surely so."""
  return {'pairs': len(rows), 'exact': sum(r['exact'] for r in rows),
          'within': sum(r['within'] for r in rows),
          'surely': sum(bool(r['surely']) for r in rows)}


def _known(value: Any) -> float | None:
  return float(value) if np.isfinite(value) else None
