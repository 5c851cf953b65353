"""Which count of parameters puts dense and sparse runs on one law: Jin et al. 2025 (2501.12486).

L(N_x, D) = E + A / N_x^alpha + B / D^beta fitted to both kinds of runs together, with N_x the
average, the final or the initial count, or fitted: N_w of weighted_parameters, which is initial,
average and final at w = 0, 1/2 and 1 (analysis/laws/average_parameters.py). Four questions of
each:
  joint        fitted to all rows
  held_out     k-fold by lineages with sparse runs: no row of a lineage is fitted when its sparse
               runs are predicted
  dense        fitted to the dense runs alone (not `fitted`, whose w they do not say)
  seeds        one seed at a time left out, dense runs and sparse ones (where there are several):
               runs of a seed and size start from the same weights, whatever their lineages
Errors are of sparse runs. With fewer than four lineages of these, folds leave out single runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis import fit, laws, metrics
from analysis.fit import Fit
from analysis.sparsities import lanes, parting
from analysis.sparsities.lanes import Samples
from scaling.errors import InputError, bad

NAMES = ('average', 'final', 'initial', 'fitted')
SAME = 1e-6
FEWEST = 6  # dense runs, for a law of five parameters


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
  """The fits and refits by count, and what the errors are made of.

  runs: the rows, dense and sparse. units [n]: what is resampled as one. weights [S + 1, n].
  dense: the law of the dense runs, and its refits. predicted: {count: {question: [S + 1, n]}}, NaN
  where a question has no answer.
  """

  runs: pd.DataFrame
  units: np.ndarray
  weights: np.ndarray
  fits: dict[str, Fit]
  refits: dict[str, dict[str, Samples]]
  dense: tuple[Fit, Samples]
  predicted: dict[str, dict[str, np.ndarray]]
  folds: np.ndarray  # of rows; -1: in none
  level: float
  warnings: list[str]

  @property
  def sparse(self) -> np.ndarray:
    return (self.runs['kind'] == 'sparse').to_numpy()

  @property
  def loss(self) -> np.ndarray:
    return self.runs['loss'].to_numpy(float)

  def count(self, rows: np.ndarray) -> int:
    """Units of these rows."""
    return len(np.unique(self.units[rows]))

  def count_against_dense(self, rows: np.ndarray) -> int:
    """Units that a difference from the law of the dense runs is judged by: the fewer of the two."""
    return min(self.count(rows), self.count(~self.sparse))

  def dense_law(self, count: str = 'average', rows: pd.DataFrame | None = None) -> np.ndarray:
    """What the law of the dense runs says at a count of these runs, [S + 1, n]."""
    rows = self.runs if rows is None else rows
    return lanes.predict(self.dense[0].law, self.dense[1], inputs_of(count, rows))


def inputs_of(count: str, runs: pd.DataFrame) -> dict[str, np.ndarray]:
  """Inputs of the law with that count."""
  if count == 'fitted':
    return {k: runs[k].to_numpy(float) for k in laws.get('weighted_parameters').inputs}
  return {'N': runs[f'N_{count}'].to_numpy(float), 'D': runs['D'].to_numpy(float)}


def joint(runs: pd.DataFrame, *, folds: int = 5, bootstrap: int = 200, level: float = 0.9,
          seed: int = 0, parts: dict[str, np.ndarray] | None = None, **options: Any) -> Joint:
  """Fits all counts; `runs` of kinds dense and sparse (analysis/sparsities/runs.py).

  parts: {name: bool [n]} more parts of the rows that the fitted count is fitted to. options: of
  analysis.fit.fit. Raises InputError for fewer than six dense runs or two sparse ones.
  """
  if folds < 2:
    raise bad('folds', folds, 'it must be at least 2')
  check(runs)
  runs = runs.reset_index(drop=True)
  sparse = (runs['kind'] == 'sparse').to_numpy()
  warnings: list[str] = []
  fold = parting.folded(runs, folds, seed, warnings)
  units = parting.units(runs)
  weights = lanes.weights(units, sparse, bootstrap, seed)
  loss = runs['loss'].to_numpy(float)
  alone = fit.fit(laws.get('chinchilla'), inputs_of('average', runs[~sparse]), loss[~sparse],
                  groups=units[~sparse], level=level, bootstrap=0, **options)
  dense = lanes.refits(alone, {'dense': np.ones(len(alone.loss), bool)}, weights[:, ~sparse])
  warnings += [f'dense: {w}' for w in alone.warnings[:2]]
  fits, refits, predicted = {}, {}, {}
  kept = {f'fold {k}': parting.apart(runs, fold, k) for k in range(fold.max() + 1)}
  tested = {name: fold == k for k, name in enumerate(kept)}
  seeds = parting.seeds(runs, FEWEST)
  kept |= {name: ~rows for name, rows in seeds.items()}
  for count in NAMES:
    x = inputs_of(count, runs)
    law = laws.get('weighted_parameters' if count == 'fitted' else 'chinchilla')
    found = fit.fit(law, x, loss, groups=units, level=level, seed=seed,
                    bootstrap=bootstrap if count == 'fitted' else 0, **options)
    asked = {'joint': np.ones(len(runs), bool), **kept}
    asked |= (parts or {}) if count == 'fitted' else {}
    fits[count], refits[count] = found, lanes.refits(found, asked, weights)
    said = {'joint': lanes.predict(law, refits[count]['joint'], x)}
    if count != 'fitted':
      said['dense'] = lanes.predict(alone.law, dense['dense'], x)
    for question, parted in (('held_out', tested), ('seeds', seeds)):
      if parted:
        said[question] = parting.left_out(law, refits[count], parted, x)
    predicted[count] = said
    warnings += [f'{count}: {w}' for w in found.warnings[:2]]  # A law that is wrong has many.
  _outside(runs, warnings)
  return Joint(runs, units, weights, fits, refits, (alone, dense['dense']), predicted, fold, level,
               warnings)


def check(runs: pd.DataFrame) -> None:
  """Raises InputError unless these are enough dense runs for a law, and two sparse ones."""
  dense, sparse = ((runs['kind'] == kind).sum() for kind in ('dense', 'sparse'))
  if dense < FEWEST or sparse < 2:
    raise InputError(f'a law of dense and sparse runs needs {FEWEST} dense runs and two sparse '
                     f'ones; there are {dense} and {sparse}')


def _outside(runs: pd.DataFrame, warnings: list[str]) -> None:
  """Says where the law of the dense runs is used beyond them."""
  dense, sparse = runs[runs['kind'] == 'dense'], runs[runs['kind'] == 'sparse']
  for name, column in (('N_average', 'N_average'), ('final N', 'N_final'), ('D', 'D')):
    of = 'N_average' if column != 'D' else 'D'
    beyond = ~sparse[column].between(dense[of].min() * 0.99, dense[of].max() * 1.01)
    if beyond.any():
      warnings.append(f'{beyond.sum()} of {len(sparse)} sparse runs have a {name} that no dense '
                      'run reaches: the law is extrapolated there')


def errors(found: Joint, question: str) -> dict[str, dict[str, Any]]:
  """By count: errors on sparse runs, each with its interval, and how probably it is the best.

  mean_relative_error mean |f / y - 1|, bias mean f / y - 1 (positive: the runs are better than the
  law says), rmse_log. probability_best: the share of samples in which its error is the least of
  the three given counts', or for `fitted` less than all of theirs.
  """
  sparse, answer = found.sparse, {}
  weight, y = found.weights[:, sparse], found.loss[sparse]
  count = (found.count_against_dense if question == 'dense' else found.count)(sparse)
  sizes: dict[str, np.ndarray] = {}
  for name, said in found.predicted.items():
    if question not in said:
      continue
    ratio = said[question][:, sparse] / y
    sizes[name] = lanes.mean(np.abs(ratio - 1), weight)
    values = {'mean_relative_error': (sizes[name], 0.0),
              'bias': (lanes.mean(ratio - 1, weight), -np.inf),
              'rmse_log': (np.sqrt(lanes.mean(np.log(ratio)**2, weight)), 0.0)}
    answer[name] = {
        **{k: float(v[0]) for k, (v, _) in values.items()},
        'intervals': {k: ends for k, (v, low) in values.items()
                      if (ends := lanes.interval(v, count, found.level, low)) is not None},
        'r2': _r2(y, said[question][0, sparse])}
  if not sizes:
    return answer
  given = np.array([v[1:] for k, v in sizes.items() if k != 'fitted']).min(0)
  for name, size in sizes.items():
    # A w at its end gives another count's error but for rounding.
    won = size[1:] < (1 - SAME) * given if name == 'fitted' else size[1:] <= given
    answer[name]['probability_best'] = float(np.mean(won)) if len(won) else None
  return answer


def ranking(found: Joint, question: str = 'held_out') -> list[dict[str, Any]]:
  """Counts by their error on held-out sparse runs, and how far each is above the one before it.

  interval: of that difference; it tells the two apart when it does not reach zero.
  """
  sparse = found.sparse
  weight, y = found.weights[:, sparse], found.loss[sparse]
  sizes = {name: lanes.mean(np.abs(said[question][:, sparse] / y - 1), weight)
           for name, said in found.predicted.items() if question in said}
  order = sorted(sizes, key=lambda name: float(sizes[name][0]))
  rows: list[dict[str, Any]] = []
  for i, name in enumerate(order):
    row: dict[str, Any] = {'count': name, 'mean_relative_error': float(sizes[name][0])}
    if i:
      gap = sizes[name] - sizes[order[i - 1]]
      ends = lanes.interval(gap, found.count(sparse), found.level)
      row |= {'above': float(gap[0]), 'interval': ends,
              'told_apart': None if ends is None else ends[0] > 0}
    rows.append(row)
  return rows


def summary(found: Joint) -> dict[str, dict[str, Any]]:
  """By count: parameters, R2 of all rows and of the sparse ones, errors of all questions."""
  questions = {q: errors(found, q) for q in ('joint', 'held_out', 'seeds', 'dense')}
  answer: dict[str, dict[str, Any]] = {}
  everything = found.count(np.ones(len(found.runs), bool))
  for name, fitted in found.fits.items():
    said = found.predicted[name]['joint']
    r2 = 1 - (lanes.mean((said - found.loss)**2, found.weights)
              / np.maximum(_variance(found.loss, found.weights), 1e-300))
    answer[name] = {
        'law': fitted.law.formula, 'params': fitted.params,
        'intervals': fitted.intervals, 'interval_method': fitted.interval_method,
        'objective': fitted.value, 'r2': float(r2[0]),
        'r2_interval': lanes.interval(r2, everything, found.level, high=1.0),
        **{q: values[name] for q, values in questions.items() if name in values}}
  return answer


def _variance(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  centre = lanes.mean(np.broadcast_to(values, weight.shape), weight)[:, None]
  return lanes.mean((values - centre)**2, weight)


def _r2(actual: np.ndarray, predicted: np.ndarray) -> float | None:
  value = metrics.r2(actual, predicted)
  return value if np.isfinite(value) else None
