"""The best parameters of a law for a data set: many starts, dropped early, finished exactly.

1. Every start takes a few reweighted least-squares steps; the 64 lowest go on.
2. Newton steps to convergence, through the objective's thresholds (LAD is a limit of them, and
   ends with linear programs).
3. The best is restarted from around itself until nothing lower is found.
What the other starts ended in is reported: a minimum nearly as low is worth knowing about.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis import objectives, solver
from analysis.coordinates import Coordinates
from analysis.laws.law import Law
from analysis.objectives import Objective
from scaling.errors import InputError

FIRST_STEPS, LAST_STEPS = 8, 300
KEPT = solver.CHUNK


@dataclasses.dataclass(frozen=True)
class Found:
  """The optimum u [P], whether it converged, and other minima as (u, objective over the best's)."""

  u: np.ndarray
  converged: bool
  others: tuple[tuple[np.ndarray, float], ...]


def search(law: Law, coordinates: Coordinates, objective: Objective, data: dict[str, Any],
           starts: np.ndarray, weights: np.ndarray, seed: int = 0) -> Found:
  """Minimises the objective, weights [M]. Raises InputError if it is finite from no start."""
  r = objectives.residuals(law, objective.log)
  lower, upper = coordinates.bounds()
  rows = len(data['y'])

  def solve(u: np.ndarray, delta: float, steps: int, curvature: str) -> solver.Solution:
    return solver.minimise(r, u, data, {}, weights[None], np.full(rows, delta), lower, upper,
                           steps=steps, curvature=curvature)

  first = solve(np.clip(starts, lower, upper), objective.deltas[0], FIRST_STEPS, 'gauss')
  alive = np.flatnonzero(np.isfinite(first.f))
  if not len(alive):
    raise InputError(f'{law.name}: the law is not finite on these data from any start')
  u = first.u[alive[np.argsort(first.f[alive])[:KEPT]]]
  for delta in objective.deltas:
    ends = solve(u, delta, LAST_STEPS, 'newton')
    u = ends.u
  best = int(np.argmin(ends.f))
  u, f, converged = ends.u[best], ends.f[best], bool(ends.converged[best])
  random = np.random.default_rng(seed)
  for _ in range(5):
    around = u + random.normal(scale=np.repeat([0.03, 0.3], KEPT // 2)[:, None],
                               size=(KEPT, len(u)))
    around[0] = u
    again = around
    for delta in objective.deltas[-3:]:
      tried = solve(again, delta, LAST_STEPS, 'newton')
      again = tried.u
    best = int(np.argmin(tried.f))
    improved = tried.f[best] < f * (1 - 1e-10)
    if tried.f[best] <= f:
      u, f, converged = tried.u[best], tried.f[best], bool(tried.converged[best])
    if not improved:
      break
  if objective.name == 'lad_log':
    u = vertex(r, data, u, weights, lower, upper)
  return Found(u, converged, _others(ends, u, f))


def vertex(residuals: Any, data: dict[str, Any], u: np.ndarray, weights: np.ndarray,
           lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
  """The optimum of sum w |r| near u, by linear programs over a shrinking box.

  Where P residuals vanish sum |r| has a kink, and smoothing stalls within 1e-7 of it on real data;
  the linearised problem has its optimum exactly at such a corner.
  """
  from scipy import optimize, sparse  # a tenth of a second that only LAD needs

  def at(v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    r, jacobian = solver.derivatives(residuals, v, data, {})
    return float(np.sum(weights * np.abs(r))), r, jacobian

  rows, size = len(data['y']), u.size
  eye = sparse.identity(rows)
  cost = np.append(np.zeros(size), weights)  # the variables are the move, and |r|
  total, r, jacobian = at(u)
  radius = 1e-2
  while radius > 1e-12:
    box = [(max(-radius, low - v), min(radius, high - v))
           for v, low, high in zip(u, lower, upper)]
    move = optimize.linprog(
        cost, A_ub=sparse.bmat([[jacobian, -eye], [-jacobian, -eye]]), b_ub=np.append(-r, r),
        bounds=[*box, *[(0, None)] * rows], method='highs').x
    if move is None:
      break
    trial = np.clip(u + move[:size], lower, upper)
    lower_total, trial_r, trial_jacobian = at(trial)
    if lower_total < total * (1 - 1e-15):
      u, total, r, jacobian = trial, lower_total, trial_r, trial_jacobian
    else:
      radius /= 8
  return u


def _others(ends: solver.Solution, u: np.ndarray, f: float) -> tuple[tuple[np.ndarray, float], ...]:
  """Distinct minima within 2 % of the best objective."""
  found: list[tuple[np.ndarray, float]] = []
  for i in np.argsort(ends.f):
    ratio = float(ends.f[i] / f) if f > 0 else np.inf
    if not ends.converged[i] or ratio > 1.02:
      continue
    if ratio > 1 + 1e-6 and all(np.max(np.abs(ends.u[i] - v)) > 0.02
                                for v in [u, *(w for w, _ in found)]):
      found.append((ends.u[i], ratio - 1))
  return tuple(found)
