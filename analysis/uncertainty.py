"""How far off a fit may be: bootstrap over groups, and the profile likelihood for few groups.

Groups are what was drawn independently: runs that share no ancestor. With at least three times as
many groups as parameters the groups are resampled and refitted (objective and all); samples are
then spread around the fit by sqrt(G / (G - P)) and by the ratio of the t to the normal quantile,
without which percentile intervals of a fit with P parameters are too narrow (docs/fit.md has the
coverage). With fewer, every quantity q has the interval

  {c : min over {u : q(u) = c} of SSR(u) - min SSR <= t^2 s^2},   s^2 = max(SSR / (G - P), floor^2),

t the Student quantile with G - P degrees of freedom; SSR is the sum of squared residuals (of the
log for a `_log` objective). For a linear law with normal errors that is the textbook interval; a
curved valley or a parameter that the data hardly see keeps its asymmetric, honest shape. A new
run's loss y is treated as one more row of the data, SSR with (y, x) - SSR <= t^2 s^2, which for a
linear law is y within t s sqrt(1 + leverage).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import special

from analysis import objectives, solver
from analysis.coordinates import Coordinates
from analysis.laws.law import Law
from analysis.objectives import Objective

# Where a profile is looked at, in linearised half-widths from the estimate.
MULTIPLES = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0, 12.0, 30.0, 100.0])
STEPS = 200


@dataclasses.dataclass(frozen=True)
class Interval:
  """low and high [K], and which ends the data do not bound (the profile stays flat) [K]."""

  low: np.ndarray
  high: np.ndarray
  flat_low: np.ndarray
  flat_high: np.ndarray


def bootstrap(law: Law, coordinates: Coordinates, objective: Objective, data: dict[str, Any],
              groups: np.ndarray, u: np.ndarray, samples: int, seed: int) -> np.ndarray:
  """Refits of resampled groups, u [samples, P]; all of them in one batched program."""
  random = np.random.default_rng(seed)
  names, member = np.unique(groups, return_inverse=True)
  counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
  weights = counts[:, member].astype(np.float64)
  lower, upper = coordinates.bounds()
  refits = np.repeat(u[None], samples, 0)
  for delta in objective.deltas:
    refits = solver.minimise(
        objectives.residuals(law, objective.log), refits, data, {}, weights,
        np.full(len(groups), delta), lower, upper, steps=STEPS).u
  return refits


def spread(samples: np.ndarray, centre: np.ndarray, groups: int, level: float) -> np.ndarray:
  """Samples [S, ...] moved away from their centre, for the P parameters that were fitted."""
  size = samples.shape[-1]
  freedom = max(groups - size, 1)
  tail = (1 + level) / 2
  factor = np.sqrt(groups / freedom) * special.stdtrit(freedom, tail) / special.ndtri(tail)
  return centre + factor * (samples - centre)


@dataclasses.dataclass(frozen=True)
class Profile:
  """The profile likelihood around the least-squares optimum `u` of one data set."""

  law: Law
  coordinates: Coordinates
  log: bool
  data: dict[str, Any]
  u: np.ndarray  # where the sum of squares is least
  ssr: float
  s: float  # standard deviation of a row's residual
  limit: float  # t^2 s^2, times the rows a group: what SSR may rise by

  @classmethod
  def of(cls, law: Law, coordinates: Coordinates, log: bool, data: dict[str, Any], u: np.ndarray,
         groups: int, level: float, floor: float) -> Profile:
    """From a fit's optimum u. Rows of one group count as one: the limit is raised accordingly."""
    rows = len(data['y'])
    lower, upper = coordinates.bounds()
    found = solver.minimise(objectives.residuals(law, log), u[None], data, {}, np.ones((1, rows)),
                            np.full(rows, np.inf), lower, upper, steps=STEPS)
    freedom = max(groups - u.size, 1)
    ssr = 2 * float(found.f[0])
    each = rows / groups
    s = max(np.sqrt(ssr / each / freedom), floor)
    t = special.stdtrit(freedom, (1 + level) / 2)
    return cls(law, coordinates, log, data, found.u[0], ssr, float(s), float(each * (t * s)**2))

  def parameters(self) -> Interval:
    """Intervals of the law's parameters, in natural units."""
    size = self.u.size
    found = self._ends('values', np.eye(size + 1)[:size], self._ones(size))
    logs = np.array([p.scale == 'log' for p in self.law.parameters])
    return dataclasses.replace(found, low=np.where(logs, np.exp(np.minimum(found.low, 700)),
                                                   found.low),
                               high=np.where(logs, np.exp(np.minimum(found.high, 700)),
                                             found.high))

  def outputs(self, x: dict[str, np.ndarray], new: bool) -> Interval:
    """Intervals of the law's output at K points: of a new run's loss if `new`, else of the law."""
    count = len(next(iter(x.values())))
    pick = np.repeat(np.eye(self.u.size + 1)[-1:], count, 0)
    found = self._ends('values', pick, {'x': x}, new)
    if not self.log:
      return found
    return dataclasses.replace(found, low=np.exp(found.low), high=np.exp(found.high))

  def optimum(self, flops: np.ndarray) -> dict[str, Interval]:
    """Intervals of N and D at least loss for budgets [K]."""
    found = {}
    for i, name in enumerate(('N', 'D')):
      ends = self._ends('optimum', np.repeat(np.eye(2)[i:i + 1], len(flops), 0), {'flops': flops})
      found[name] = dataclasses.replace(ends, low=np.exp(ends.low), high=np.exp(ends.high))
    return found

  def _ones(self, count: int) -> dict[str, Any]:
    return {'x': {name: np.ones(count) for name in self.law.inputs}}

  def _ends(self, target: str, pick: np.ndarray, place: dict[str, Any], new: bool = False,
            ) -> Interval:
    """The interval of K quantities, on their own scale."""
    residuals = objectives.with_target(self.law, self.log, target)
    lower, upper = self.coordinates.bounds()
    count, size, rows = len(pick), self.u.size, len(self.data['y'])
    place = {'pick': pick, **place}
    centre, slope = np.zeros(count), np.zeros((count, size))
    covariance = np.zeros((size, size))
    for k in range(count):  # r[-1] is the quantity itself when the aim is 0
      r, jacobian = solver.derivatives(residuals, self.u, self.data, _lane(place, k) | {'aim': 0.0})
      centre[k], slope[k] = r[-1], jacobian[-1]
      covariance = np.linalg.pinv(jacobian[:-1].T @ jacobian[:-1], rcond=1e-12, hermitian=True)
    variance = np.einsum('kp,pq,kq->k', slope, covariance, slope)  # in units of a row's
    variance = np.maximum(variance, 1e-18)
    width = np.sqrt(self.limit * (variance + (1.0 if new else 0.0)))
    sides = np.concatenate([-MULTIPLES[::-1], MULTIPLES])
    aim = centre[:, None] + width[:, None] * sides  # [K, M]
    towards = np.einsum('pq,kq->kp', covariance, slope) / variance[:, None]
    share = variance / (variance + 1) if new else np.ones(count)
    move = ((aim - centre[:, None]) * share[:, None])[..., None] * towards[:, None]
    start = self.u + np.clip(move, -2, 2)
    # A confidence interval holds the quantity at its aim by a heavy weight, and what it reached
    # is what counts; for a new run the weight is one row's, and the aim is the run's loss.
    pull = np.ones(count) if new else 1e4 / variance
    lanes: dict[str, Any] = {name: np.repeat(value, len(sides), 0)
                             for name, value in place.items() if name != 'x'}
    if 'x' in place:
      lanes['x'] = {name: np.repeat(v, len(sides)) for name, v in place['x'].items()}
    lanes['aim'] = aim.ravel()
    weights = np.ones((count * len(sides), rows + 1))
    weights[:, -1] = np.repeat(pull, len(sides))
    found = solver.minimise(residuals, np.clip(start.reshape(-1, size), lower, upper), self.data,
                            lanes, weights, np.full(rows + 1, np.inf), lower, upper, steps=STEPS)
    reached, rise = aim.copy(), 2 * found.f.reshape(count, -1) - self.ssr
    if not new:
      with_aim = solver.batch(residuals, found.u, self.data, lanes)[:, -1].reshape(count, -1)
      reached = aim + with_aim
      rise = rise - pull[:, None] * with_aim**2
    return _crossings(centre, reached, np.sqrt(np.maximum(rise / self.limit, 0)))


def _crossings(centre: np.ndarray, reached: np.ndarray, z: np.ndarray) -> Interval:
  """Where z, 0 at the centre and rising outwards, passes one on either side; rows are [K, M]."""
  half = z.shape[1] // 2
  ends, flats = [], []
  for side in (slice(half - 1, None, -1), slice(half, None)):
    at = np.concatenate([centre[:, None], reached[:, side]], 1)
    height = np.concatenate([np.zeros((len(z), 1)), np.nan_to_num(z[:, side], nan=np.inf)], 1)
    height = np.minimum.accumulate(height[:, ::-1], 1)[:, ::-1]  # a solve that failed is too high
    end, flat = np.empty(len(z)), np.zeros(len(z), bool)
    for k in range(len(z)):
      above = np.flatnonzero(height[k] >= 1)
      if not len(above):
        outermost = np.argmax(np.abs(at[k] - centre[k]))
        end[k], flat[k] = at[k, outermost], True
        continue
      j = above[0]
      low, high = height[k, j - 1], height[k, j]
      share = (1 - low) / (high - low) if np.isfinite(high) else 0.0
      end[k] = at[k, j - 1] + share * (at[k, j] - at[k, j - 1])
    ends.append(end)
    flats.append(flat)
  return Interval(ends[0], ends[1], flats[0], flats[1])


def _lane(place: dict[str, Any], k: int) -> dict[str, Any]:
  return {name: {n: v[k] for n, v in value.items()} if isinstance(value, dict) else value[k]
          for name, value in place.items()}
