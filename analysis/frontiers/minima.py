"""Loss against size at equal compute: where it is least, and whether to believe that.

Two ways to find the N of least loss among the sizes trained with one budget:

  parabola  L = c0 + c1 x + c2 x^2 in x = ln N, least squares over the sizes within a factor of the
            lowest one; N* = exp(-c1 / 2 c2) (Hoffmann et al. 2022, arXiv 2203.15556, approach 2).
  akima     the minimum of Akima's interpolant of ln L in ln N, exact: the roots of its cubics'
            derivatives (Porian et al. 2024, arXiv 2406.19146, who look on a fine grid).

How well N* is known comes from draws in which every loss has noise added; a budget is left out,
with the reason, where there is no minimum to find or most draws lose it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.interpolate import Akima1DInterpolator

METHODS = ('parabola', 'akima')
FEW, EDGE, DOWN, OUTSIDE, BELOW, LOST = (
    'fewer than 3 sizes', 'minimum at an edge', 'parabola opens downward',
    'vertex outside the data', 'least loss below zero', 'minimum lost under noise')
# The least standard deviation of ln N*, in spacings of ln N: what lies between two sizes is a guess
# of the interpolation; a parabola averages over several sizes. Both are our
# choices; the coverage in docs/optimal.md is with them.
FLOOR = {'parabola': 0.1, 'akima': 0.33}


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
  """Mean loss of each size trained with one budget, sizes ascending."""

  flops: float
  x: np.ndarray  # ln N [K]
  loss: np.ndarray  # [K]
  count: np.ndarray  # runs of that size [K]
  ln_d: np.ndarray  # [K]
  share: np.ndarray  # of each row in its size's mean [rows, K]

  @classmethod
  def of(cls, n: np.ndarray, d: np.ndarray, c: np.ndarray, loss: np.ndarray,
         weight: np.ndarray | None = None) -> Curve:
    """From rows, each counted `weight` times; runs of one size are averaged."""
    weight = np.ones(len(n)) if weight is None else weight
    sizes, place = np.unique(np.round(np.log(n), 9), return_inverse=True)
    count = np.bincount(place, weight)
    seen = count > 0
    share = (np.eye(len(sizes))[place] * weight[:, None])[:, seen] / count[seen]
    flops = float(np.exp(np.average(np.log(c), weights=weight))) if seen.any() else np.nan
    return cls(flops, sizes[seen], loss @ share, count[seen], np.log(d) @ share, share)

  def tokens(self, ln_n: np.ndarray) -> np.ndarray:
    """ln D at ln N, linear between the sizes and beyond them."""
    right = np.clip(np.searchsorted(self.x, ln_n), 1, len(self.x) - 1)
    part = (ln_n - self.x[right - 1]) / (self.x[right] - self.x[right - 1])
    return self.ln_d[right - 1] + part * (self.ln_d[right] - self.ln_d[right - 1])


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
  """The least loss at one budget. draws [S] are ln N* under noise, nan where there was none."""

  flops: float
  n: float
  d: float
  loss: float
  std: float  # of ln N, not below the floor
  draws: np.ndarray
  curve: Curve
  parabola: tuple[float, float, float] | None = None  # c0, c1, c2
  window: tuple[float, float] = (0.0, np.inf)  # the N it was fitted to

  @property
  def at_edge(self) -> bool:
    """Whether the lowest run is the smallest or largest size, so that only one side is seen."""
    return int(np.argmin(self.curve.loss)) in (0, len(self.curve.x) - 1)


def budgets(c: np.ndarray, tolerance: float) -> list[np.ndarray]:
  """Rows of nearly equal C, ascending: each list spans at most a factor of 1 + tolerance."""
  order = np.argsort(c, kind='stable')
  found: list[list[int]] = []
  for row in order:
    if found and c[row] <= c[found[-1][0]] * (1 + tolerance):
      found[-1].append(int(row))
    else:
      found.append([int(row)])
  return [np.array(rows) for rows in found]


def minimum(curve: Curve, method: str, window: float, noise: np.ndarray) -> Minimum | str:
  """The minimum of one budget's curve, or why there is none.

  window: the parabola is fitted to sizes within this factor of the lowest. noise [S, rows]: what is
  added to ln loss of each row in S draws.
  """
  found = locate(curve, method, window)
  if isinstance(found, str):
    return found
  noisy = curve.loss * np.exp(noise @ curve.share)
  if method == 'parabola':
    inside = _window(curve, window)
    stars, _, _ = _vertices(curve.x[inside], noisy[:, inside], curve.count[inside])
  else:
    stars, _ = _troughs(curve.x, noisy)
  seen = np.isfinite(stars)
  if seen.mean() < 0.5:
    return LOST
  least = FLOOR[method] * (curve.x[-1] - curve.x[0]) / (len(curve.x) - 1)
  if method == 'akima':  # follows every wiggle: Porian et al. report the median over the draws
    star = np.nanmedian(stars)
    found = dataclasses.replace(found, n=float(np.exp(star)), d=float(np.exp(curve.tokens(star))))
  return dataclasses.replace(found, draws=stars,
                             std=max(float(np.std(stars[seen])), least) / float(seen.mean()))


def locate(curve: Curve, method: str, window: float) -> Minimum | str:
  """The minimum without its uncertainty, or why there is none."""
  if len(curve.x) < 3:
    return FEW
  parabola: tuple[float, float, float] | None = None
  if method == 'akima':
    star, least = _troughs(curve.x, curve.loss[None])
    if not np.isfinite(star[0]):
      return EDGE
    used = np.ones(len(curve.x), bool)
  else:
    used = _window(curve, window)
    star, least, coefficients = _vertices(curve.x[used], curve.loss[None, used], curve.count[used])
    c0, c1, c2 = (float(v) for v in coefficients[:, 0])
    parabola = (c0, c1, c2)
    if c2 <= 0:
      return DOWN
    if not np.isfinite(star[0]):
      return OUTSIDE
    if np.argmin(curve.loss) in (0, len(curve.x) - 1):
      return EDGE
  if not least[0] > 0:
    return BELOW
  low, high = np.exp(curve.x[used][[0, -1]])
  return Minimum(curve.flops, float(np.exp(star[0])), float(np.exp(curve.tokens(star)[0])),
                 float(least[0]), 1.0, np.zeros(0), curve, parabola, (float(low), float(high)))


def at_equal_c(c: np.ndarray, loss: np.ndarray, rows: list[np.ndarray], found: list[Minimum],
               ) -> np.ndarray:
  """The losses [n] moved to the C of their budget, where rows of one budget differ in C.

  dL / d ln C at the optimal N is the slope of the least loss along the frontier (the envelope
  theorem), here that of a quadratic through the minima found without it.
  """
  if len(found) < 2:
    return loss
  at = np.log([m.flops for m in found])
  middle = at.mean()
  slope = np.polyder(np.polyfit(at - middle, np.log([m.loss for m in found]),
                                2 if len(found) > 3 else 1))
  moved = loss.copy()
  for chosen in rows:
    away = np.log(c[chosen]) - np.log(c[chosen]).mean()
    here = np.clip(np.log(c[chosen]).mean(), at.min(), at.max()) - middle
    moved[chosen] *= np.exp(-min(float(np.polyval(slope, here)), 0.0) * away)
  return moved


def scatter(curves: list[Curve]) -> float:
  """Standard deviation of ln loss around cubics through the seven sizes nearest each lowest one.

  What a run's noise looks like when no two runs are the same; 0 when nothing is left over.
  """
  squares, freedom = 0.0, 0
  for curve in curves:
    if len(curve.x) < 4:
      continue
    away = np.abs(curve.x - curve.x[np.argmin(curve.loss)])
    near = np.sort(np.argsort(away, kind='stable')[:7])
    x, y, m = curve.x[near], np.log(curve.loss[near]), curve.count[near]
    degree = 3 if len(x) > 4 else 2
    residual = y - np.polyval(np.polyfit(x - x.mean(), y, degree, w=np.sqrt(m)), x - x.mean())
    squares += float(np.sum(m * residual**2))
    freedom += len(x) - degree - 1
  return float(np.sqrt(squares / freedom)) if freedom else 0.0


def _window(curve: Curve, factor: float) -> np.ndarray:
  """The sizes within a factor of the lowest one, and never fewer than three."""
  low = int(np.argmin(curve.loss))
  near = np.abs(curve.x - curve.x[low]) <= np.log(factor) + 1e-9
  middle = min(max(low, 1), len(curve.x) - 2)
  near[middle - 1:middle + 2] = True
  return near


def _vertices(x: np.ndarray, y: np.ndarray, weight: np.ndarray,
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Vertex (nan if none among x) and height [S] of parabolas through y [S, K]; coefficients [3, S].
  """
  centre = x.mean()
  matrix = np.vander(x - centre, 3, increasing=True) * np.sqrt(weight)[:, None]
  c0, c1, c2 = np.linalg.pinv(matrix) @ (np.sqrt(weight)[:, None] * y.T)
  with np.errstate(all='ignore'):
    star = -c1 / (2 * c2)
    height = c0 - c1**2 / (4 * c2)
    fine = (c2 > 0) & (star >= x[0] - centre) & (star <= x[-1] - centre)
  natural = np.stack([c0 - c1 * centre + c2 * centre**2, c1 - 2 * c2 * centre, c2])
  return np.where(fine, star + centre, np.nan), np.where(fine, height, np.nan), natural


def _troughs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Place (nan at an edge) and height [S] of the minimum of Akima's interpolant of ln y [S, K]."""
  cubic = Akima1DInterpolator(x, np.log(y.T))
  a, b, c, d = cubic.c  # [K - 1, S]: a t^3 + b t^2 + c t + d, t from the piece's left end
  with np.errstate(all='ignore'):
    root = np.sqrt(b**2 - 3 * a * c)
    inner = np.where(np.abs(a) > 1e-12 * np.abs(b), (root - b) / (3 * a), -c / (2 * b))
    # The same root without cancellation, where b > 0: a minimum has 3 a t + b > 0.
    inner = np.where(b > 0, -c / (b + root), inner)
    inside = (inner > 0) & (inner < np.diff(x)[:, None])
    height = np.where(inside, ((a * inner + b) * inner + c) * inner + d, np.inf)
  places = np.concatenate([x[:-1, None] + inner, np.broadcast_to(x[:, None], (len(x), y.shape[0]))])
  heights = np.concatenate([np.nan_to_num(height, nan=np.inf), np.log(y.T)])
  best = np.argmin(heights, 0)
  lanes = np.arange(y.shape[0])
  star, least = places[best, lanes], np.exp(heights[best, lanes])
  edge = (star <= x[0]) | (star >= x[-1])
  return np.where(edge, np.nan, star), np.where(edge, np.nan, least)
