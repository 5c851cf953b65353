"""How well a law predicts rows that it was not fitted to.

A split is a list of (train, test) pairs of row numbers:
  kfold     by the values of an input (all sizes but some, all ratios but some): every row is
            predicted once, from values of that input it was not fitted with
  largest   the rows at the highest level of an input are predicted from the others
  rolling   rolling origin: from the cheapest k levels of compute the next is predicted, k rising
Extrapolation (largest, rolling) is what scaling laws are for; k-fold mostly interpolates. Rows of
one run must not be on both sides: a group that reaches into the test rows is left out of the
training rows, but for kfold by an input that changes within runs, where nothing would be left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis import fit, metrics
from analysis.laws.law import Law
from scaling.errors import InputError, bad

Split = Sequence[tuple[np.ndarray, np.ndarray]]
MANY = 12  # distinct values beyond which levels are made of quantiles
LEVELS = 8
SIZES = ('N', 'N_nonembedding', 'N_average', 'N_nv')


@dataclasses.dataclass(frozen=True)
class Validation:
  """One law on one split: predictions of its test rows, [K] over all folds in order.

  metrics: of fit.json, and `coverage`, the share of test rows inside their prediction intervals
  (None without intervals). failed: folds that could not be fitted, with the reason.
  """

  split: str
  folds: int
  rows: np.ndarray
  actual: np.ndarray
  predicted: np.ndarray
  inside: np.ndarray | None
  failed: tuple[str, ...] = ()

  @property
  def metrics(self) -> dict[str, float | None]:
    if not len(self.actual):
      return {'r2': None, 'mean_relative_error': None, 'rmse_log': None, 'coverage': None}
    share = None if self.inside is None else float(np.mean(self.inside))
    return {**metrics.all_of(self.actual, self.predicted), 'coverage': share}

  def to_dict(self) -> dict[str, Any]:
    return {'split': self.split, 'folds': self.folds, 'n': len(self.actual), **self.metrics,
            'failed': list(self.failed)}


def levels(values: np.ndarray) -> np.ndarray:
  """Ranks 0, 1, ... of an input's values [n]: its distinct values, or quantiles of many."""
  positive = np.all(values > 0)
  close = np.round(np.log(values) if positive else values, 2 if positive else 6)
  found, rank = np.unique(close, return_inverse=True)
  if len(found) <= MANY:
    return rank
  order = np.argsort(np.argsort(close, kind='stable'), kind='stable')
  cut = order * LEVELS // len(values)
  first = {value: cut[rank == i].min() for i, value in enumerate(found)}  # equal values together
  return np.unique([first[v] for v in close], return_inverse=True)[1]


def compute(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
  """What rows cost, for ordering: C, or 6 N D, or the one scale there is."""
  if 'C' in inputs:
    return inputs['C']
  size = next((inputs[name] for name in SIZES if name in inputs), None)
  if size is not None and 'D' in inputs:
    return 6 * size * inputs['D']
  if size is not None:
    return size
  return inputs['D'] if 'D' in inputs else next(iter(inputs.values()))


def split(kind: str, inputs: Mapping[str, np.ndarray], groups: np.ndarray, folds: int = 5) -> Split:
  """The split of that name: an input (k-fold by it), 'largest' or 'rolling'.

  Raises InputError for another name, or too few levels to hold any out.
  """
  if kind == 'rolling':
    rank = levels(compute(inputs))
    return [_pair(rank < k, rank == k, groups, True) for k in range(2, rank.max() + 1)]
  if kind == 'largest':
    by = next((name for name in (*SIZES, 'D') if name in inputs), next(iter(inputs)))
    rank = levels(inputs[by])
    if rank.max() < 1:
      raise InputError(f'largest: all rows have one value of {by}')
    return [_pair(rank < rank.max(), rank == rank.max(), groups, True)]
  if kind not in inputs:
    raise bad('validate', kind, f'it is largest, rolling, or one of {", ".join(inputs)}')
  rank = levels(inputs[kind])
  if rank.max() < 1:
    raise InputError(f'validate: all rows have one value of {kind}')
  count = min(folds, int(rank.max()) + 1)
  within = any(len(np.unique(rank[groups == g])) > 1 for g in np.unique(groups))
  return [_pair(rank % count != k, rank % count == k, groups, not within) for k in range(count)]


def _pair(train: np.ndarray, test: np.ndarray, groups: np.ndarray, apart: bool,
          ) -> tuple[np.ndarray, np.ndarray]:
  if apart:
    train = train & ~np.isin(groups, groups[test])
  return np.flatnonzero(train), np.flatnonzero(test)


def validate(law: Law, inputs: Mapping[str, np.ndarray], loss: np.ndarray, name: str, folds: Split,
             *, groups: np.ndarray, weights: np.ndarray | None = None, bootstrap: int = 0,
             **options: Any) -> Validation:
  """Fits `law` to every fold's training rows and predicts its test rows.

  inputs {name: [n]} and loss [n] are usable rows. A fold with too few rows for the law is counted
  in `failed` and left out. bootstrap, options: of fit.fit; with 0 no interval coverage.
  """
  rows: list[np.ndarray] = []
  predicted: list[np.ndarray] = []
  inside: list[np.ndarray] = []
  failed = []
  for train, test in folds:
    try:
      found = fit.fit(law, {k: inputs[k][train] for k in law.inputs}, loss[train],
                      groups=groups[train], weights=None if weights is None else weights[train],
                      bootstrap=bootstrap, **options)
      place = {k: inputs[k][test] for k in law.inputs}
      guess = found.predict(place)
      if found.interval_method is not None:
        low, high = found.interval(place)
        inside.append((low <= loss[test]) & (loss[test] <= high))
    except InputError as error:
      failed.append(f'{len(train)} rows to predict {len(test)}: {error}')
      continue
    rows.append(test)
    predicted.append(guess)
  every = _joined(rows, int)
  return Validation(name, len(rows), every, loss[every], _joined(predicted, float),
                    _joined(inside, bool) if len(inside) == len(rows) and inside else None,
                    tuple(dict.fromkeys(failed)))


def all_of(law: Law, inputs: Mapping[str, np.ndarray], loss: np.ndarray, kinds: Iterable[str], *,
           groups: np.ndarray, **options: Any) -> list[Validation]:
  """`validate` for several splits made from the law's own inputs."""
  own = {k: inputs[k] for k in law.inputs}
  return [validate(law, own, loss, kind, split(kind, own, groups), groups=groups, **options)
          for kind in kinds]


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
  return np.concatenate(parts) if parts else np.zeros(0, kind)
