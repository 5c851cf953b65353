"""The three regions of a learning curve: Hestness et al. 2017 (arXiv 1712.00409), section 2.

With little data a model does no better than guessing, then its error falls as a power of the data,
and at last only the error is left that no data removes:

  eps(m) = alpha max(m, m_1)^beta_g + gamma,    small data below m_1, irreducible above m_2,

m_2 = (gamma / alpha)^(1 / beta_g), where what can still be learned is as large as what cannot: in
logarithms the regions end where the curve's asymptotes cross.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
from scipy import optimize

from scaling.errors import InputError, bad

SMALL, POWER, IRREDUCIBLE = 'small data', 'power law', 'irreducible'
SURE = 10.0  # a region is there if it lowers the Bayesian information criterion by this much
FLOOR = 1e-4  # the least standard deviation of ln error that is told from a misfit
FEWEST = 2  # points that a flat region holds
SLOPES = -np.geomspace(0.02, 2.0, 12)


@dataclasses.dataclass(frozen=True)
class Regions:
  """A curve cut in three.

  labels [n]: SMALL, POWER or IRREDUCIBLE, in the order of the points given. small_end,
  irreducible_start: m_1 and m_2, None where the data do not reach such a region. beta_g: the power
  between them. guess: the error below m_1, None as m_1. gamma: 0 where none is seen.
  """

  labels: tuple[str, ...]
  beta_g: float
  small_end: float | None
  irreducible_start: float | None
  guess: float | None
  gamma: float


def of_curve(data: Any, error: Any) -> Regions:
  """Cuts the curve error [n] against data [n], in any order, into its regions.

  Least squares of ln error; the flat piece at either end is kept if two points lie on it (for
  gamma: if it is seen at all) and the information criterion falls by more than 10 for it. Raises
  InputError for fewer than five sizes of data, or values that are not positive.
  """
  x, y = (np.asarray(v, np.float64) for v in (data, error))
  if x.shape != y.shape or x.ndim != 1:
    raise InputError(f'regions: data has shape {x.shape}, error {y.shape}; give rows of one length')
  for name, values in (('data', x), ('error', y)):
    wrong = values[~(np.isfinite(values) & (values > 0))]
    if len(wrong):
      raise bad(name, float(wrong[0]), 'it must be positive and finite')
  places = np.unique(np.log(x))
  if len(places) < 5:
    raise InputError(f'regions: {len(places)} sizes of data; at least five are needed')
  x, y = np.log(x), np.log(y)
  found = [_fit(x, y, places, small, flat) for small in (False, True) for flat in (False, True)]
  criterion, first, last, slope, level = min(found, key=lambda f: f[0])
  if _criterion(y, float(np.var(y)), 0) <= criterion:  # nothing is learned anywhere
    return Regions((SMALL,) * len(x), 0.0, math.exp(places[-1]), None, math.exp(np.mean(y)), 0.0)
  start = last if last is not None and last < places[-1] else None
  labels = [SMALL if first is not None and v < first else
            IRREDUCIBLE if start is not None and v > start else POWER for v in x]
  return Regions(
      labels=tuple(labels), beta_g=slope, small_end=None if first is None else math.exp(first),
      irreducible_start=None if start is None else math.exp(start),
      guess=None if first is None else math.exp(level + _shape(first, first, last, slope)),
      gamma=0.0 if last is None else math.exp(level))


def _fit(x: np.ndarray, y: np.ndarray, places: np.ndarray, small: bool, flat: bool,
         ) -> tuple[float, float | None, float | None, float, float]:
  """(criterion, ln m_1, ln m_2, beta_g, level) of the best curve with these flat pieces."""
  centre, width = places.mean(), places[-1] - places[0]

  def parts(v: Any) -> tuple[float | None, float | None, float]:
    first = float(np.clip(v[0], places[FEWEST - 1], places[-2])) if small else None
    last = float(np.clip(v[1], places[0], places[-1] + width)) if flat else None
    return first, last, -math.exp(v[2])

  def cost(v: Any) -> float:
    return float(np.var(y - _shape(x, *parts(v))))

  starts = itertools.product(places[FEWEST - 1:-1] if small else [centre],
                             np.linspace(places[0], places[-1] + width / 2, 12) if flat
                             else [centre], np.log(-SLOPES))
  ranked = sorted(starts, key=cost)[:3]
  done = min((optimize.minimize(cost, start, method='Nelder-Mead',
                                options={'xatol': 1e-9, 'fatol': 1e-18, 'maxiter': 3000})
              for start in ranked), key=lambda d: d.fun)
  first, last, slope = parts(done.x)
  return (_criterion(y, done.fun, 1 + small + flat), first, last, slope,
          float(np.mean(y - _shape(x, first, last, slope))))


def _criterion(y: np.ndarray, variance: float, parameters: int) -> float:
  return len(y) * math.log(max(variance, FLOOR**2)) + SURE * parameters


def _shape(x: Any, first: float | None, last: float | None, slope: float) -> Any:
  """ln eps up to a constant: ln(1 + (m / m_2)^beta_g), the level then being ln gamma."""
  inner = np.maximum(x, first) if first is not None else x
  return slope * inner if last is None else np.logaddexp(0.0, slope * (inner - last))
