"""How far off a fit may be, by the profile likelihood.

Every quantity h of the parameters u has the interval

  {c : min over {u : h(u) = c} of SSR(u) - min SSR <= t^2 s^2},   s^2 = max(SSR / (G-P), floor^2),

t the Student quantile with G - P degrees of freedom, G groups (what was drawn independently), P
parameters; SSR is the sum of squared residuals (of the log for a `_log` objective). For a linear
law with normal errors that is the textbook interval; a curved valley or a parameter that the data
hardly see keeps its asymmetric, honest shape. A new run's loss y is treated as one more row of the
data, SSR with (y, x) - SSR <= t^2 s^2, which for a linear law is y within t s sqrt(1 + leverage).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from scipy import special

from analysis.fitting import objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.laws.law import Law

# Where a profile is looked at, in linearised half-widths from the estimate.
MULTIPLES = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0, 12.0, 30.0, 100.0])
STEPS = 200
EXACT = 1e-12  # the least standard deviation, of ln y or as a share of y


@dataclasses.dataclass(frozen=True)
class Interval:
  """low and high [K], and which ends the data do not bound (the profile stays flat) [K]."""

  low: np.ndarray
  high: np.ndarray
  flat_low: np.ndarray
  flat_high: np.ndarray


@dataclasses.dataclass(frozen=True)
class Profile:
  """The profile likelihood around the least-squares optimum `u` of one data set."""

  law: Law
  coordinates: Coordinates
  log: bool
  data: dict[str, Any]
  weights: np.ndarray  # of the rows, of mean one
  u: np.ndarray  # where the sum of squares is least
  ssr: float
  s: float  # standard deviation of a row's residual
  limit: float  # t^2 s^2, times the rows a group: what SSR may rise by

  @classmethod
  def of(cls, law: Law, coordinates: Coordinates, log: bool, data: dict[str, Any],
         weights: np.ndarray, u: np.ndarray, groups: int, level: float, floor: float) -> Profile:
    """From a fit's optimum u. Rows of one group count as one: the limit is raised accordingly."""
    rows = len(data['y'])
    weights = weights / np.mean(weights)
    lower, upper = coordinates.bounds()
    found = solver.minimise(objectives.residuals(law, log), u[None], data, {}, weights[None],
                            np.full(rows, np.inf), lower, upper, steps=STEPS)
    freedom = max(groups - u.size, 1)
    ssr = 2 * float(found.f[0])
    each = rows / groups
    # Data without noise: no residual is known better than the arithmetic.
    exact = EXACT * (1.0 if log else float(np.max(np.abs(data['y'])) or 1.0))
    s = max(np.sqrt(ssr / each / freedom), floor, exact)
    t = special.stdtrit(freedom, (1 + level) / 2)
    return cls(law, coordinates, log, data, weights, found.u[0], ssr, float(s),
               float(each * (t * s)**2))

  def parameters(self) -> Interval:
    """Intervals of the law's parameters, in natural units."""
    found = self._parameters[0]
    logs = np.array([p.scale == 'log' for p in self.law.parameters])
    return dataclasses.replace(found, low=np.where(logs, np.exp(np.minimum(found.low, 700)),
                                                   found.low),
                               high=np.where(logs, np.exp(np.minimum(found.high, 700)),
                                             found.high))

  @functools.cached_property
  def _parameters(self) -> tuple[Interval, np.ndarray, np.ndarray]:
    """Ends of the parameters on their scales; and every place seen inside, u [J, P], with its z."""
    size = self.u.size
    ends, z, u = self._ends('values', np.eye(size + 1)[:size], self._ones(size))
    inside = z <= 1
    return ends, u[inside], z[inside]

  def outputs(self, x: dict[str, np.ndarray], new: bool) -> Interval:
    """Intervals of the law's output at K points: of a new run's loss if `new`, else of the law."""
    count = len(next(iter(x.values())))
    pick = np.repeat(np.eye(self.u.size + 1)[-1:], count, 0)
    output = self.law.predict(self._inside(), {name: v[:, None] for name, v in x.items()})
    with np.errstate(all='ignore'):
      seen = np.log(output) if self.log else output
    found = self._ends('values', pick, {'x': x}, new, seen)[0]
    if not self.log:
      return found
    return dataclasses.replace(found, low=np.exp(found.low), high=np.exp(found.high))

  def optimum(self, flops: np.ndarray) -> dict[str, Interval]:
    """Intervals of the inputs of least loss for budgets [K]."""
    found = {}
    each = np.eye(len(self.law.optimum_of))
    with np.errstate(all='ignore'):
      best = self.law.best(self._inside(), flops[:, None])
      seen = {name: np.log(best[name]) for name in self.law.optimum_of}
    for i, name in enumerate(self.law.optimum_of):
      ends = self._ends('optimum', np.repeat(each[i:i + 1], len(flops), 0), {'flops': flops},
                        seen=seen[name])[0]
      found[name] = dataclasses.replace(ends, low=np.exp(ends.low), high=np.exp(ends.high))
    return found

  def _inside(self) -> dict[str, np.ndarray]:
    """Parameters {name: [1, J]} that the data allow, out to the ends of each one's interval."""
    natural = self.coordinates.natural(self._parameters[1])
    return {name: np.asarray(v)[None] for name, v in natural.items()}

  def _ones(self, count: int) -> dict[str, Any]:
    return {'x': {name: np.ones(count) for name in self.law.inputs}}

  def _ends(self, target: str, pick: np.ndarray, place: dict[str, Any], new: bool = False,
            seen: np.ndarray | None = None) -> tuple[Interval, np.ndarray, np.ndarray]:
    """Intervals of K quantities, on their own scale; z [K, M] and u [K, M, P] of all refits.

    seen [K, J]: the quantities at the places inside that the parameters' profiles went through.
    They are inside whatever a refit may find, and next to them begins the search for the end:
    along a direction that the data leave flat a refit from the optimum does not come as far.
    """
    residuals = objectives.with_target(self.law, self.log, target)
    count, size = len(pick), self.u.size
    place = {'pick': pick, **place}
    centre, slope = np.zeros(count), np.zeros((count, size))
    covariance = np.zeros((size, size))
    for k in range(count):  # r[-1] is the quantity itself when the aim is 0
      r, jacobian = solver.derivatives(residuals, self.u, self.data, _lane(place, k) | {'aim': 0.0})
      centre[k], slope[k] = r[-1], jacobian[-1]
      square = (jacobian[:-1].T * self.weights) @ jacobian[:-1]
      covariance = np.linalg.inv(square + 1e-14 * np.trace(square) * np.eye(size))
    variance = np.einsum('kp,pq,kq->k', slope, covariance, slope)  # in units of a row's
    variance = np.maximum(variance, 1e-18)
    width = np.sqrt(self.limit * (variance + (1.0 if new else 0.0)))
    # Where the data say nothing the linear width is without meaning: look nearer by.
    width = np.minimum(width, np.maximum(1.0, np.abs(centre)))
    towards = np.einsum('pq,kq->kp', covariance, slope) / variance[:, None]
    if new:
      towards = towards * (variance / (variance + 1))[:, None]
    sides = np.concatenate([-MULTIPLES[::-1], MULTIPLES])
    aim = centre[:, None] + width[:, None] * sides  # [K, M]
    start = self.u + np.clip((width[:, None] * sides)[..., None] * towards[:, None], -2, 2)
    pull = 1.0 if new else 1e4 * self.limit / width[:, None]**2
    tried = self._solve(residuals, place, aim, start, pull, new)
    # A second round between the last point inside and the first outside, from the former.
    if seen is not None:
      _, places, z = self._parameters
      tried = (np.concatenate([tried[0], seen], 1),
               np.concatenate([tried[1], np.broadcast_to(z, seen.shape)], 1),
               np.concatenate([tried[2], np.broadcast_to(places, (count, *places.shape))], 1))
    looked = _Looked.at(centre, *tried[:2])
    near = np.take_along_axis(np.concatenate([np.broadcast_to(self.u, (count, 1, size)), tried[2]],
                                             1), looked.inside[..., None], 1)  # [K, 2, P]
    shares = (np.arange(len(MULTIPLES)) + 1) / (len(MULTIPLES) + 1)
    aim = looked.low[..., None] + (looked.high - looked.low)[..., None] * shares
    gap = np.maximum(np.abs(looked.high - looked.low), 1e-9 * width[:, None])
    pull = 1.0 if new else np.repeat(1e4 * self.limit / gap**2, len(MULTIPLES), 1)
    again = self._solve(residuals, place, aim.reshape(count, -1),
                        np.repeat(near, len(MULTIPLES), 1), pull, new)
    reached, z, u = (np.concatenate([x, y], 1) for x, y in zip(tried, again))
    return _Looked.at(centre, reached, z).interval(), z, u

  def _solve(self, residuals: Any, place: dict[str, Any], aim: np.ndarray, start: np.ndarray,
             pull: Any, new: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Refits with each quantity pulled to its aims [K, M] from start [K, M, P].

    Returns what the quantities reached, sqrt of the rise of SSR over the limit, and u. A new run's
    row weighs one and its loss is the aim; otherwise the weight `pull` holds the quantity there,
    does not count, and what was reached does.
    """
    lower, upper = self.coordinates.bounds()
    count, times = aim.shape
    lanes: dict[str, Any] = {name: np.repeat(value, times, 0)
                             for name, value in place.items() if name != 'x'}
    if 'x' in place:
      lanes['x'] = {name: np.repeat(v, times) for name, v in place['x'].items()}
    lanes['aim'] = aim.ravel()
    rows = len(self.data['y'])
    weights = np.tile(np.append(self.weights, 1.0), (count * times, 1))
    weights[:, -1] = np.broadcast_to(pull, aim.shape).ravel()
    found = solver.minimise(residuals, np.clip(start.reshape(-1, self.u.size), lower, upper),
                            self.data, lanes, weights, np.full(rows + 1, np.inf), lower, upper,
                            steps=STEPS)
    reached, rise = aim, 2 * found.f.reshape(aim.shape) - self.ssr
    if not new:
      missed = solver.batch(residuals, found.u, self.data, lanes)[:, -1].reshape(aim.shape)
      reached, rise = aim + missed, rise - pull * missed**2
    z = np.sqrt(np.maximum(np.nan_to_num(rise / self.limit, nan=np.inf), 0))
    return reached, z, found.u.reshape(*aim.shape, -1)


@dataclasses.dataclass(frozen=True)
class _Looked:
  """Profiles of K quantities, and on either side the last point below and the first above one."""

  low: np.ndarray  # [K, 2], the last place where z < 1; side 0 is below the centre
  high: np.ndarray  # [K, 2], the first where z >= 1, or the outermost
  z_low: np.ndarray
  z_high: np.ndarray
  flat: np.ndarray  # [K, 2], z stays below one
  inside: np.ndarray  # [K, 2], the index of `low` among the points; 0 is the centre

  @classmethod
  def at(cls, centre: np.ndarray, reached: np.ndarray, z: np.ndarray) -> _Looked:
    """From points reached [K, M] with heights z [K, M], in any order."""
    shape = (len(centre), 2)
    low, high, z_low, z_high = (np.zeros(shape) for _ in range(4))
    flat, inside = np.zeros(shape, bool), np.zeros(shape, int)
    for k in range(len(centre)):
      at = np.append(centre[k], reached[k])
      height = np.append(0.0, z[k])
      for side, sign in enumerate((-1.0, 1.0)):
        chosen = np.flatnonzero(np.isfinite(at) & (sign * (at - centre[k]) >= 0))
        order = chosen[np.argsort(sign * at[chosen], kind='stable')]
        # Heights rise outwards; one above a later one is a solve that ended too high.
        heights = np.minimum.accumulate(height[order][::-1])[::-1]
        heights[0] = 0.0
        above = np.flatnonzero(heights >= 1)
        j = above[0] if len(above) else len(order) - 1
        i = max(j - 1, 0) if len(above) else j
        low[k, side], high[k, side] = at[order[i]], at[order[j]]
        z_low[k, side], z_high[k, side] = heights[i], heights[j]
        flat[k, side] = not len(above)
        inside[k, side] = order[i]
    return cls(low, high, z_low, z_high, flat, inside)

  def interval(self) -> Interval:
    """Where z passes one, between the two points."""
    step = np.where(np.isfinite(self.z_high), self.z_high - self.z_low, np.inf)
    share = np.where(self.flat | (step <= 0), 0.0, (1 - self.z_low) / np.where(step > 0, step, 1))
    ends = self.low + share * (self.high - self.low)
    return Interval(ends[:, 0], ends[:, 1], self.flat[:, 0], self.flat[:, 1])


def _lane(place: dict[str, Any], k: int) -> dict[str, Any]:
  return {name: {n: v[k] for n, v in value.items()} if isinstance(value, dict) else value[k]
          for name, value in place.items()}
