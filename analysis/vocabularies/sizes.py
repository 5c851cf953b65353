"""The vocabulary a model should have, from runs: approaches 1 and 2 of Tao et al. 2024
(arXiv 2407.13623). Approach 3 is the law in analysis/laws/vocabulary.py.

Approach 1: the runs with the lowest unigram-normalised loss of all that cost no more, after
interpolation, and power laws through them: N_nv = e^K_Nnv C^.5, N_v = e^K_Nv C^exponent,
H = e^K_H C^.5. Approach 2: dC/dV = 0 at a fixed text, whose roots follow
N_v / N_v0 = (N_nv / N_nv0)^gamma, anchored at the best vocabulary of the smallest model.

Parameters, characters and FLOPs are counted one by one; logarithms are natural.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import interpolate, optimize, spatial

from analysis import metrics
from analysis.laws import vocabulary as law
from analysis.vocabularies.lines import early_stop, huber_line, huber_slope, objective
from scaling.errors import InputError, bad

GRID, VOCABULARIES = 50, 20  # points of the interpolation in (N_nv, H), and in V
SIZES = (33e6, 85e6, 151e6, 302e6, 631e6, 1.13e9, 2.87e9)  # where the paper solves dC/dV = 0
ROUNDING = 1e-12
FIELDS = ('N_nv', 'V', 'H', 'C', 'loss')


@dataclasses.dataclass(frozen=True)
class Rows:
  """Evaluations of runs that differ in N_nv and V; arrays [n]. H characters, C FLOPs, loss L_u."""

  N_nv: np.ndarray
  V: np.ndarray
  H: np.ndarray
  C: np.ndarray
  loss: np.ndarray
  coefficients: tuple[float, float, float] = law.COMPRESSION
  width: Callable[[Any], Any] = law.width  # d of N_nv, for sizes that were not run

  def __len__(self) -> int:
    return len(self.loss)

  def take(self, index: np.ndarray) -> Rows:
    return self.of(*(getattr(self, name)[index] for name in FIELDS))

  def of(self, *columns: np.ndarray) -> Rows:
    """Other rows, as columns in the order of FIELDS, under the same compression and widths."""
    N_nv, V, H, C, loss = columns
    return Rows(N_nv, V, H, C, loss, self.coefficients, self.width)

  @property
  def run(self) -> np.ndarray:
    """Which run, N_nv by V, each row belongs to: numbers from 0."""
    return np.unique(np.stack([self.N_nv, self.V]), axis=1, return_inverse=True)[1].ravel()

  def flops(self, N_nv: Any, H: Any, V: Any) -> Any:
    """C = 6 (N_nv + V d) H f(V)."""
    return law.flops(N_nv, V * self.width(N_nv),
                     law.tokens_from_chars(H, V, coefficients=self.coefficients))


def interpolated(rows: Rows) -> Rows:
  """The rows, and interpolations between them: what the paper looks for the frontier in.

  Loss at 50 pairs (N_nv, H) from the smallest pair to the largest, cubic, for every V; and at 20 V
  for every N_nv on as many tokens as its longest run, through the last evaluations, quadratic. A
  vocabulary or a size with too few rows is not interpolated.
  """
  added = []
  sizes, chars = _spaced(rows.N_nv, GRID), _spaced(rows.H, GRID)
  for V in np.unique(rows.V):
    some = rows.take(np.flatnonzero(rows.V == V))
    if len(np.unique(some.N_nv)) < 3 or len(np.unique(some.H)) < 3:
      continue
    try:
      loss = interpolate.griddata(np.stack([some.N_nv, some.H], -1), some.loss,
                                  np.stack([sizes, chars], -1), method='cubic')
    except spatial.QhullError:  # all on one line: nothing to interpolate
      continue
    vocabulary = np.full(GRID, V)
    added.append([sizes, vocabulary, chars, rows.flops(sizes, chars, vocabulary), loss])
  vocabularies = _spaced(rows.V, VOCABULARIES)
  for N_nv in np.unique(rows.N_nv):
    some = rows.take(np.flatnonzero(rows.N_nv == N_nv))
    last = some.take(np.array([np.flatnonzero(some.V == V)[np.argmax(some.H[some.V == V])]
                               for V in np.unique(some.V)]))
    if len(last) < 3:
      continue
    loss = interpolate.interp1d(last.V, last.loss, 'quadratic', fill_value='extrapolate',
                                bounds_error=False)(vocabularies)
    tokens = law.tokens_from_chars(last.H, last.V, coefficients=rows.coefficients).max()
    chars_V = law.chars_from_tokens(tokens, vocabularies, rows.coefficients)
    size = np.full(VOCABULARIES, N_nv)
    added.append([size, vocabularies, chars_V, rows.flops(size, chars_V, vocabularies), loss])
  joined = rows.of(*(np.concatenate([getattr(rows, name), *(a[i] for a in added)])
                     for i, name in enumerate(FIELDS)))
  return joined.take(np.flatnonzero(np.isfinite(joined.loss)))


def frontier(rows: Rows, ties: bool = False) -> Rows:
  """The rows with the lowest loss of all that cost no more FLOPs, by FLOPs.

  ties: a row whose cost and loss equal a frontier row's but for rounding stays too. So it went in
  the published run: at a run's own V the interpolation in V gives the run again.
  """
  rows = rows.take(np.argsort(rows.C, kind='stable'))
  before = np.concatenate([[np.inf], np.minimum.accumulate(rows.loss)[:-1]])
  if not ties:
    return rows.take(np.flatnonzero(rows.loss < before - ROUNDING))
  near = np.append(False, np.diff(np.log(rows.C)) < ROUNDING)
  return rows.take(np.flatnonzero((rows.loss < before) | near & (rows.loss < before + ROUNDING)))


def approach_1(rows: Rows) -> dict[str, Any]:
  """K_Nnv, K_Nv, exponent and K_H at the optimum of the Huber objective, with how well they fit.

  at_edge: the share of the frontier at the smallest or the largest V of the rows.
  """
  best = frontier(interpolated(rows))
  if len(best) < 4:
    raise InputError(f'approach 1: only {len(best)} rows lie on the frontier of loss against FLOPs')
  edge = np.isin(best.V, [rows.V.min(), rows.V.max()])
  return _lines(best, huber_line) | {'at_edge': float(edge.mean())}


def approach_1_published(rows: Rows) -> dict[str, Any]:
  """The same by the paper's optimiser, which stops before the optimum (see `early_stop`).

  lowest_objective: at the optimum, for the same rows.
  """
  slopes = np.linspace(0, 1, 20)

  def line(x: np.ndarray, y: np.ndarray, slope: float | None) -> tuple[float, float]:
    starts = [[k, s] for k in np.linspace(-20, 15, 20) for s in (slopes if slope is None else [0])]
    if slope is None:
      end = early_stop(lambda p: p[0] + p[1] * x, y, starts)
      return float(end[0]), float(end[1])
    return float(early_stop(lambda p: p[0] + slope * x, y, [s[:1] for s in starts])[0]), slope

  best = frontier(interpolated(rows), ties=True)
  lowest = _lines(best, huber_line)['objective']
  return _lines(best, line) | {'lowest_objective': lowest}


def _lines(best: Rows, line: Callable[..., tuple[float, float]]) -> dict[str, Any]:
  """ln N_nv, ln N_v and ln H against ln C; the exponents of N_nv and H are 1/2."""
  x = np.log(best.C)
  found: dict[str, Any] = {'objective': {}, 'r2': {}}
  for name, y, slope in (('Nnv', np.log(best.N_nv), 0.5),
                         ('Nv', np.log(best.V * best.width(best.N_nv)), None),
                         ('H', np.log(best.H), 0.5)):
    fitted = line(x, y, slope)
    found |= {f'K_{name}': fitted[0]} | ({'exponent': fitted[1]} if slope is None else {})
    found['objective'][name] = objective(fitted, x, y)
    found['r2'][name] = metrics.r2(y, fitted[0] + fitted[1] * x)
  return found | {'n_frontier': len(best)}


def approach_2(sizes: Any = SIZES, widths: Any = None,
               coefficients: tuple[float, float, float] = law.COMPRESSION) -> dict[str, Any]:
  """Roots V of dC/dV = 0 at each N_nv, and gamma of the ratios of their N_v = V d.

  It needs no runs, only f; widths default to the paper's table.
  """
  sizes = np.asarray(sizes, np.float64)
  d = law.width(sizes) if widths is None else np.asarray(widths, np.float64)
  if len(np.unique(sizes)) < 2:
    raise InputError('approach 2: gamma needs two or more sizes N_nv')
  roots = np.array([cheapest(n, w, coefficients) for n, w in zip(sizes, d)])
  x, y = (np.log(v[1:] / v[0]) for v in (sizes, roots * d))
  return {'N_nv': sizes.tolist(), 'd': d.tolist(), 'V': roots.tolist(), 'gamma': huber_slope(x, y),
          'objective': objective((0.0, huber_slope(x, y)), x, y)}


def approach_2_published(sizes: Any = SIZES) -> dict[str, float]:
  """gamma where the paper's optimiser stops (see `early_stop`), from roots by its own solver."""

  def root(N_nv: float) -> float:
    d = float(law.width(N_nv))
    return float(optimize.fsolve(lambda V: cost_slope(V, N_nv, d), 1000)[0]) * d

  roots = np.array([root(n) for n in sizes])
  x, y = np.log(np.array(sizes[1:]) / sizes[0]), np.log(roots[1:] / roots[0])
  end = early_stop(lambda p: p[0] * x, y, [[s] for s in np.linspace(0, 1, 20)])
  return {'gamma': float(end[0]), 'objective': objective((0.0, float(end[0])), x, y)}


def cost_slope(V: Any, N_nv: float, d: float,
               coefficients: tuple[float, float, float] = law.COMPRESSION) -> Any:
  """dC/dV over 6 H: d f(V) + (N_nv + d V) (2 a ln V + b) / V, for V up to 200,000."""
  a, b, _ = coefficients
  return d * law.tokens_per_char(V, coefficients) + (N_nv + d * V) / V * (2 * a * np.log(V) + b)


def cheapest(N_nv: float, d: float,
             coefficients: tuple[float, float, float] = law.COMPRESSION) -> float:
  """V with dC/dV = 0 at fixed H.

  A larger V packs the text into fewer tokens and makes each dearer. At most 200,000, beyond which f
  is flat and every further entry only costs.
  """
  rate = functools.partial(cost_slope, N_nv=N_nv, d=d, coefficients=coefficients)
  if rate(law.LARGEST) < 0:
    return float(law.LARGEST)
  low = next((v for v in (1000.0, 100.0, 10.0, 2.0) if rate(v) < 0), None)
  if low is None:
    raise InputError(f'approach 2: no vocabulary lowers the FLOPs of N_nv = {N_nv:g}, d = {d:g}')
  return float(optimize.brentq(rate, low, law.LARGEST, xtol=1e-10, rtol=1e-15))


def anchor(rows: Rows, C: float | None = None) -> dict[str, float]:
  """The best vocabulary of the smallest model at C FLOPs (default: where its runs all reach).

  Each run's loss is interpolated in C, quadratic. {'N_nv', 'V', 'N_v', 'C', 'loss',
  'extrapolated'}, the last the number of runs that C lies outside of. InputError if it is all.
  """
  size = float(rows.N_nv.min())
  runs = [rows.take(np.flatnonzero((rows.N_nv == size) & (rows.V == V)))
          for V in np.unique(rows.V[rows.N_nv == size])]
  curves = [_curve(r) for r in runs]
  known = [i for i, (cost, _) in enumerate(curves) if len(cost) >= 3]
  if not known:
    raise InputError(f'approach 2: no run of N_nv = {size:g} has three evaluations')
  runs, curves = [runs[i] for i in known], [curves[i] for i in known]
  C = min(float(cost[-1]) for cost, _ in curves) if C is None else C
  outside = sum(not cost[0] <= C <= cost[-1] for cost, _ in curves)
  if outside == len(curves):
    raise bad('anchor_flops', C, f'the runs of N_nv = {size:g} have from '
              f'{min(cost[0] for cost, _ in curves):.4g} to '
              f'{max(cost[-1] for cost, _ in curves):.4g} FLOPs')
  losses = [float(interpolate.interp1d(*curve, 'quadratic', fill_value='extrapolate',
                                       bounds_error=False)(C)) for curve in curves]
  best = int(np.argmin(losses))
  V = float(runs[best].V[0])
  return {'N_nv': size, 'V': V, 'N_v': V * float(rows.width(size)), 'C': C, 'loss': losses[best],
          'extrapolated': outside}


def _curve(run: Rows) -> tuple[np.ndarray, np.ndarray]:
  """C in order and the loss there, the mean of rows that cost the same (seeds)."""
  cost, which = np.unique(run.C, return_inverse=True)
  return cost, np.bincount(which, run.loss) / np.bincount(which)


def _spaced(values: np.ndarray, count: int) -> np.ndarray:
  return np.logspace(np.log10(values.min()), np.log10(values.max()), count)
