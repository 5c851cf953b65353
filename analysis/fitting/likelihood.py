"""Profile curves for pictures: how much worse a fit gets when one parameter is held at a value.

The rise of 2 sum w rho(r) with the others refitted, in units of tau^2. For least squares, rho is
r^2/2 and tau^2 = SSR / (G - P) the variance of a residual (or the noise floor's); for a Huber
objective tau^2 = mean psi^2 / mean psi', which gives the rise the same meaning, t^2 at the ends of
an interval (the likelihood-ratio criterion of Schrader and Hettmansperger, Biometrika 1980). With G
groups of several rows a rise counts G / rows of itself.

Every curve is followed outwards from the optimum, each refit starting from the one before: with
compilation a second or two for a law of five parameters, where the batched solver of the intervals
spends more on compiling.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import special

from analysis.fit import Fit
from analysis.fitting import objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.laws.law import Law

POINTS = 14  # at most, on either side
REFITS = 60  # steps of one refit
FAR = 7.0  # a flat curve of a parameter on a log scale is left here, a factor of a thousand away


@dataclasses.dataclass(frozen=True)
class Curve:
  """Values of one parameter, rising, in natural units; the rise at each in units of tau^2."""

  values: np.ndarray
  rise: np.ndarray


def curves(found: Fit) -> tuple[dict[str, Curve], float] | None:
  """A curve for every parameter, and the rise t^2 that bounds an interval of the fit's level.

  None where nothing is left to judge the noise by: no more groups than parameters, or no residuals.
  The fit's own objective is followed where the intervals are a bootstrap's; where they come from
  the profile likelihood it is least squares, as for them.
  """
  law, log = found.law, found.objective.log
  groups, rows, size = len(np.unique(found.groups)), len(found.loss), len(found.law.names)
  if groups <= size:
    return None
  coordinates = Coordinates.of(law, found.inputs, found.loss)
  data = objectives.problem(law, coordinates, log, found.inputs, found.loss)
  weights = found.weights / np.mean(found.weights)
  lower, upper = coordinates.bounds()
  least = found.samples is None or found.objective.name in ('mse', 'mse_log')
  delta = np.inf if least else found.objective.deltas[-1]
  r = np.abs(solver.derivatives(objectives.residuals(law, log), coordinates.internal(found.params),
                                data, {})[0])
  if not least:  # psi' is a density of residuals near zero: more than a handful of them are needed
    delta = max(delta, float(np.quantile(r, 0.1)))
  problem = _Problem(law, log, data, weights, delta, lower, upper)
  start = np.clip(coordinates.internal(found.params), lower, upper)
  best = problem.refit(start, _nothing(size), 1e-12)
  if not np.isfinite(best[1]):
    return None
  psi = np.minimum(r, delta)
  scale = (best[1] / rows if least else np.mean(weights * psi**2) / np.mean(r <= delta))
  scale = max(scale * rows / (rows * (1 - size / groups)), found.noise_floor**2) * rows / groups
  if not scale > 0:
    return None
  t = float(special.stdtrit(groups - size, (1 + found.level) / 2))
  made = {}
  for i, p in enumerate(law.parameters):
    values, rise = problem.follow(i, best, scale, t)
    made[p.name] = Curve(np.exp(values) if p.scale == 'log' else values, rise)
  return made, t**2


@dataclasses.dataclass(frozen=True)
class _Problem:
  law: Law
  log: bool
  data: dict[str, Any]
  weights: np.ndarray
  delta: float
  lower: np.ndarray
  upper: np.ndarray

  def follow(self, i: int, best: tuple[np.ndarray, float], scale: float, t: float,
             ) -> tuple[np.ndarray, np.ndarray]:
    """Values of parameter i on its own scale, and the rises there."""
    u, least = best
    size = len(u)
    values = Coordinates(self.law, self.data['reference']).natural(u)
    p = self.law.parameters[i]
    centre = float(np.log(values[p.name]) if p.scale == 'log' else values[p.name])
    _, jacobian = solver.derivatives(held(self.law, self.log), u, self.data, _nothing(size))
    square = (jacobian.T * self.weights) @ jacobian
    # The width if the problem were linear; the pace is then set by what is found.
    slope = solver.derivatives(_value(self.law, i), u, self.data, {})[1][0]
    spread = np.linalg.pinv(square + 1e-14 * np.trace(square) * np.eye(size))
    pace = float(np.clip(0.3 * t * np.sqrt(scale * max(slope @ spread @ slope, 1e-18)), 1e-9, 1.0))
    found: list[tuple[float, float]] = [(centre, 0.0)]
    for side in (-1.0, 1.0):
      v, height, step, at = u, 0.0, pace, centre
      for _ in range(POINTS):
        at = at + side * step
        if p.scale == 'log':
          at = float(np.clip(at, centre - FAR, centre + FAR))
        elif not p.units:
          at = float(np.clip(at, *p.bounds))
        v, value = self.refit(v, {'mask': np.eye(size)[i], 'value': at}, 1e-4 * scale)
        before, height = height, float(np.sqrt(max((value - least) / scale, 0.0)))
        found.append((at, height**2))
        if not np.isfinite(height) or height > 1.8 * t or at in (
            *p.bounds, centre - FAR, centre + FAR):
          break
        step *= float(np.clip(0.3 * t / max(height - before, 1e-9), 0.4, 2.5))
    found = sorted(pair for pair in found if np.isfinite(pair[1]))
    return np.array([a for a, _ in found]), np.array([b for _, b in found])

  def refit(self, u: np.ndarray, lane: dict[str, Any], enough: float) -> tuple[np.ndarray, float]:
    """The least 2 sum w rho(r) from u with a parameter held as `lane` says, and where."""
    residuals = held(self.law, self.log)
    damping = 1e-4
    r, jacobian = solver.derivatives(residuals, u, self.data, lane)
    value = self._value(r, jacobian)
    if not np.isfinite(value):  # beyond what the law can take
      return u, np.inf
    for _ in range(REFITS):
      pull = self.weights * np.minimum(1, self.delta / np.maximum(np.abs(r), 1e-300))
      gradient = jacobian.T @ (pull * r)
      square = (jacobian.T * pull) @ jacobian
      free = (lane['mask'] == 0) & ~((u <= self.lower) & (gradient > 0)) & ~(
          (u >= self.upper) & (gradient < 0))
      diagonal = np.maximum(np.diag(square), 1e-14 * np.max(np.diag(square), initial=1e-300))
      pick = np.ix_(free, free)
      step = np.zeros(len(u))
      step[free] = np.linalg.lstsq(square[pick] + np.diag(damping * diagonal[free]),
                                   -gradient[free], rcond=None)[0]
      tried = np.clip(u + step, self.lower, self.upper)
      r_new, jacobian_new = solver.derivatives(residuals, tried, self.data, lane)
      new = self._value(r_new, jacobian_new)
      if new <= value:
        gain, damping = value - new, damping / 5
        u, r, jacobian, value = tried, r_new, jacobian_new, new
        if gain <= enough:
          break
      else:
        damping *= 8
        if damping > 1e6:
          break
    return u, value

  def _value(self, r: np.ndarray, jacobian: np.ndarray) -> float:
    inner = np.minimum(np.abs(r), self.delta)
    value = float(2 * np.sum(self.weights * inner * (np.abs(r) - inner / 2)))
    return value if np.isfinite(value) and np.all(np.isfinite(jacobian)) else np.inf


def _nothing(size: int) -> dict[str, Any]:
  return {'mask': np.zeros(size), 'value': 0.0}


@functools.cache
def held(law: Law, log: bool) -> Callable[[Any, Any, Any], Any]:
  """Residuals with the parameter in lane['mask'] held at lane['value'], on its own scale."""
  logs = np.array([p.scale == 'log' for p in law.parameters])

  def of(u: Any, data: Any, lane: Any) -> Any:
    coordinates = Coordinates(law, data['reference'])
    mask, value = lane['mask'] > 0, lane['value']
    # Exponents first: what the others are in u depends on them.
    u = jnp.where(mask & ~logs, value, u)
    free = {p.name: u[i] for i, p in enumerate(law.parameters)
            if p.scale == 'linear' and not p.units}
    offsets = coordinates.offsets(free)
    offset = jnp.stack([jnp.asarray(offsets[p.name], u.dtype) for p in law.parameters])
    u = jnp.where(mask, jnp.where(logs, value - offset, value * jnp.exp(-offset)), u)
    return objectives.residuals(law, log)(u, data, lane)

  return of


@functools.cache
def _value(law: Law, i: int) -> Callable[[Any, Any, Any], Any]:
  """Parameter i on its own scale, [1]."""

  def of(u: Any, data: Any, lane: Any) -> Any:
    p = law.parameters[i]
    value = Coordinates(law, data['reference']).natural(u)[p.name]
    return (jnp.log(value) if p.scale == 'log' else value)[None]

  return of
