"""Noise known apart from the fit: of runs, of evaluations, and what a law misses beyond it.

Everything is about y, the logarithm of the loss for a `_log` objective, else the loss itself.

**Replicates** are runs alike in everything but their seed. Pooled over cells c of replicates,
  s^2 = sum_c sum_i (y_ci - mean_c)^2 / sum_c (n_c - 1)
estimates the variance of a run whatever law holds. A law with P parameters fits badly where
  F = ((SSR - SSP) / (C - P)) / (SSP / (n - C)),   SSP = (n - C) s^2, C cells,
is large for F(C - P, n - C): the lack-of-fit test (Draper & Smith, Applied Regression Analysis,
section 2.1). SSR is taken at the least squares of the law linearised at the fit, so that the test
keeps its size for the robust objectives, which do not minimise squares.

**Resamples**: run i is scored on several evaluation resamples j (windows of held-out text):
  y_ij = law_i + a_i + b_j + e_ij,
a of the run, b of the resample, e of the two together. Runs scored on the same resamples share b
(crossed): it shifts all of them alike and does not average out over runs. If every run has its own
(nested), b is part of e. The variances come from sums of squares of two-way fits with runs, cells
and resamples as fixed effects (Henderson's third method; Searle, Casella & McCulloch, Variance
Components, section 5.5), unbiased for any pattern of missing evaluations; an estimate of a small
variance may be negative.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import special

from scaling.errors import InputError

LEAST_FREEDOM = 3  # replicates beyond the first, over all cells, before their spread is used
CROSSED, NESTED = 'crossed', 'nested'


@dataclasses.dataclass(frozen=True)
class Components:
  """Variances of y and the degrees of freedom they have; `run` is nan without replicates."""

  layout: str  # 'crossed': runs share resamples; 'nested': each has its own
  run: float
  shared: float  # 0 when nested
  residual: float
  run_freedom: int
  shared_freedom: int
  residual_freedom: int
  runs: int
  resamples: int  # different ones when crossed
  per_run: float  # resamples of a run (harmonic mean)

  @property
  def noise(self) -> float:
    """Standard deviation of a run's mean around the law, given the resamples: for `noise_floor`.

    What a new run scored on the same resamples (crossed) differs by. Without replicates the run's
    own part is not known, and this is what evaluation alone does.
    """
    run = 0.0 if np.isnan(self.run) else max(self.run, 0.0)
    return float(np.sqrt(run + max(self.residual, 0.0) / self.per_run))

  def shift(self, new: int = 0) -> float:
    """Standard deviation of what shifts all runs alike: the mean of the resamples they share.

    It belongs in confidence intervals of the law's level (E, coefficients in units of the loss,
    the law's value), not of its exponents, and not in a prediction of a run scored on the same
    resamples. For one scored on `new` others, theirs comes on top.
    """
    shared = max(self.shared, 0.0)
    return float(np.sqrt(shared / self.resamples + (shared / new if new else 0.0)))

  def half_width(self, level: float, new: int = 0) -> float:
    """Of the interval of that shift at `level`, by Student's t.

    With `new` resamples also for what a run's residual on them exceeds that in the fit.
    """
    if not self.shared_freedom:
      return 0.0
    more = max(self.residual, 0.0) * max(1 / new - 1 / self.per_run, 0.0) if new else 0.0
    quantile = float(special.stdtrit(self.shared_freedom, (1 + level) / 2))
    return quantile * float(np.hypot(self.shift(new), np.sqrt(more)))


def pure(y: np.ndarray, cell: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, int]:
  """Sum of squares and degrees of freedom between rows of one cell; y, cell, weights [n]."""
  weight = np.ones(len(y)) if weights is None else weights
  _, code = np.unique(cell, return_inverse=True)
  mean = np.bincount(code, weight * y) / np.bincount(code, weight)
  return float(np.sum(weight * (y - mean[code])**2)), int(len(y) - code.max() - 1)


def floor(y: np.ndarray, cell: np.ndarray) -> float:
  """Standard deviation of a run from replicates; 0 with too few of them, LEAST_FREEDOM."""
  usable = np.isfinite(y)
  if not usable.any():
    return 0.0
  squares, freedom = pure(y[usable], cell[usable])
  return float(np.sqrt(squares / freedom)) if freedom >= LEAST_FREEDOM else 0.0


def lack_of_fit(residual: np.ndarray, jacobian: np.ndarray, cell: np.ndarray,
                weights: np.ndarray | None = None) -> dict[str, Any] | None:
  """{'F', 'df': [C - P, n - C], 'p'}; None without degrees of freedom for either variance.

  residual [n] and its jacobian [n, P] at the fit; cell [n]: replicates share one, and with it the
  law's inputs; weights [n]: inverse variances up to a factor. P counts what the data identify.
  """
  squares, freedom = pure(residual, cell, weights)
  root = np.ones(len(residual)) if weights is None else np.sqrt(weights)
  scaled = jacobian * root[:, None]
  length = np.linalg.norm(scaled, axis=0)
  left, singular, _ = np.linalg.svd(scaled / np.where(length > 0, length, 1), full_matrices=False)
  basis = left[:, singular > 1e-10 * max(singular.max(initial=0.0), 1e-300)]
  rest = residual * root
  rest = rest - basis @ (basis.T @ rest)
  lack = len(np.unique(cell)) - basis.shape[1]
  if freedom < 1 or lack < 1 or squares <= 1e-24 * float(np.sum((residual * root)**2)):
    return None
  ratio = max(float(rest @ rest) - squares, 0.0) / lack / (squares / freedom)
  return {'F': ratio, 'df': [lack, freedom], 'p': float(special.fdtrc(lack, freedom, ratio))}


def recognised(run: np.ndarray, resample: np.ndarray) -> str:
  """CROSSED when most rows have a resample that another run has too, else NESTED; ids [n].

  Labels that start anew in every run ('1', '2', ...) look crossed; the shared variance then comes
  out as nothing, and the others as they are.
  """
  runs_of = np.bincount(resample)
  return CROSSED if np.mean(runs_of[resample] > 1) >= 0.5 and len(np.unique(run)) > 1 else NESTED


def components(y: Any, run: Any, resample: Any, cell: Any = None) -> Components:
  """Variances of run, shared resample and residual from y [n], one row a run and resample.

  run, resample, cell [n] are ids; `cell` says which runs are replicates (None: none are). Raises
  InputError for a row that is there twice and for fewer than two resamples a run.
  """
  y = np.asarray(y, np.float64)
  if not len(y):
    raise InputError('--resample: there is no evaluation to average')
  (_, i), (_, j) = (np.unique(np.asarray(v), return_inverse=True) for v in (run, resample))
  k = i if cell is None else np.unique(np.asarray(cell), return_inverse=True)[1]
  if len(np.unique(i.astype(np.int64) * (j.max() + 1) + j)) < len(y):
    raise InputError('--resample: a run has the same resample twice; --group tells runs apart')
  count = np.bincount(i)
  runs, cells = len(count), int(k.max()) + 1
  if len(y) == runs:
    raise InputError('--resample: no run has more than one resample; --group tells which rows are '
                     'of one run')
  layout = recognised(i, j)
  both = _absorbed(y, i, j) if layout == CROSSED else _within(y, i)
  plain = _absorbed(y, k, j) if layout == CROSSED else _within(y, k)
  freedom = len(y) - runs - both.rank
  if freedom < 1:
    raise InputError(f'--resample: {len(y)} evaluations of {runs} runs are too few to tell the '
                     'noise of runs from that of resamples')
  residual = both.squares / freedom
  shared = 0.0
  if layout == CROSSED and both.rank:
    total = _within(y, i).squares - both.squares
    shared = (total - both.rank * residual) / (len(y) - runs)
  run_freedom = runs - cells + both.rank - plain.rank
  # tr Z' (P_run,resample - P_cell,resample) Z for Z the runs: what one unit of variance adds.
  first = np.unique(i, return_index=True)[1]
  unit = len(y) - np.sum(count**2 / np.bincount(k)[k[first]])
  if layout == CROSSED:
    unit -= plain.trace(i, j, k, count, first)
  variance = ((plain.squares - both.squares - run_freedom * residual) / unit
              if run_freedom > 0 and unit > 1e-9 else np.nan)
  return Components(layout, float(variance), float(shared), float(residual), max(run_freedom, 0),
                    both.rank, freedom, runs, int(j.max()) + 1, float(runs / np.sum(1 / count)))


def run_means(y: np.ndarray, run: np.ndarray, resample: np.ndarray) -> np.ndarray:
  """The mean of each run over its resamples [runs], in the order of np.unique(run).

  Crossed with evaluations missing, each y is first freed of its resample's effect, so that a run
  that lacks a hard window is not the better for it. Rows that are not finite count as missing; a
  run without any other is nan.
  """
  names, i = np.unique(run, return_inverse=True)
  _, j = np.unique(resample, return_inverse=True)
  usable = np.isfinite(y)
  value = y
  full = len(y) == len(names) * (int(j.max()) + 1)
  if recognised(i, j) == CROSSED and not (full and usable.all()) and usable.any():
    effect = _absorbed(y[usable], np.unique(i[usable], return_inverse=True)[1], j[usable],
                       int(j.max()) + 1).effect
    value = y - effect[j] + np.mean(effect)
  with np.errstate(all='ignore'):
    return np.bincount(i[usable], value[usable], len(names)) / np.bincount(
        i[usable], minlength=len(names))


@dataclasses.dataclass(frozen=True)
class _Fit:
  """Least squares of y on one factor, or on two: what it leaves, and the second's part of it."""

  squares: float
  rank: int = 0
  effect: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
  inverse: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
  incidence: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

  def trace(self, i: np.ndarray, j: np.ndarray, k: np.ndarray, count: np.ndarray,
            first: np.ndarray) -> float:
    """tr Z' P Z: runs i projected on resamples j that are free of cells k."""
    own = np.zeros((len(count), len(self.inverse)))
    np.add.at(own, (i, j), 1.0)
    cell = k[first]
    share = count / np.bincount(k)[cell]
    free = own - share[:, None] * self.incidence[cell]
    return float(np.sum((free @ self.inverse) * free))


def _within(y: np.ndarray, factor: np.ndarray) -> _Fit:
  return _Fit(pure(y, factor)[0])


def _absorbed(y: np.ndarray, factor: np.ndarray, second: np.ndarray, levels: int = 0) -> _Fit:
  """y on both factors, the first swept out: normal equations of the size of the second."""
  levels = levels or int(second.max()) + 1
  count = np.bincount(factor)
  incidence = np.zeros((len(count), levels))
  np.add.at(incidence, (factor, second), 1.0)
  free = y - (np.bincount(factor, y) / count)[factor]
  normal = np.diag(incidence.sum(0)) - incidence.T @ (incidence / count[:, None])
  values, vectors = np.linalg.eigh(normal)
  good = values > 1e-9 * max(values.max(initial=0.0), 1.0)
  inverse = (vectors[:, good] / values[good]) @ vectors[:, good].T
  right = np.bincount(second, free, levels)
  effect = inverse @ right
  return _Fit(max(float(free @ free - right @ effect), 0.0), int(good.sum()), effect, inverse,
              incidence)
