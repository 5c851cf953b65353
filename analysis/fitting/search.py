"""The best parameters of a law for a data set: many starts, dropped early, finished exactly.

1. Parameters in which the law is linear are solved for, at the values of the others in the grid
   (analysis/fitting/projection.py); the grid itself is tried too.
2. Every start takes a few reweighted least-squares steps. The 64 lowest, apart from one another,
   take Newton steps; those still hopeless after some are dropped, the others end converged, through
   the objective's thresholds (LAD is a limit of them, and ends with linear programs).
3. The best is restarted from around itself until nothing lower is found.
What the other starts ended in is reported: a minimum nearly as low is worth knowing about.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis.fitting import objectives, projection, solver
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.objectives import Objective
from analysis.laws.law import Law
from scaling.errors import InputError

FIRST_STEPS, MIDDLE_STEPS, LAST_STEPS = 8, 40, 300
KEPT = 64
COARSE = 1e-9  # of solves whose ends are compared; those that may be reported go on from there
NEAR = 1.02  # objectives within this factor of the best are reported
HOPELESS = 1.5  # above the best by this factor after MIDDLE_STEPS: dropped, but for a few
APART = 0.02  # distinct minima differ by more in some coordinate


@dataclasses.dataclass(frozen=True)
class Found:
  """The optimum u [P], whether it converged, and other minima as (u, objective over the best's).

  gradient: the largest slope along a coordinate that is not held by its bound, over the sum of the
  sizes of the rows' contributions to it: 1 if none cancel, 0 at a minimum; None for LAD, whose
  minimum is a kink. restarts: how often something lower was found near the best of all starts.
  """

  u: np.ndarray
  converged: bool
  others: tuple[tuple[np.ndarray, float], ...]
  gradient: float | None = None
  restarts: int = 0


def search(law: Law, coordinates: Coordinates, objective: Objective, data: dict[str, Any],
           starts: np.ndarray, weights: np.ndarray, seed: int = 0) -> Found:
  """Minimises the objective, weights [M]. Raises InputError if it is finite from no start."""
  r = objectives.residuals(law, objective.log)
  lower, upper = coordinates.bounds()
  rows = len(data['y'])

  def solve(u: np.ndarray, delta: float, steps: int, curvature: str = 'newton',
            tolerance: float = solver.TOLERANCE) -> solver.Solution:
    return solver.minimise(r, u, data, {}, weights[None], np.full(rows, delta), lower, upper,
                           steps=steps, curvature=curvature, tolerance=tolerance)

  starts = projection.starts(law, coordinates, objective.log, data, weights, starts, seed)
  first = solve(np.clip(starts, lower, upper), objective.deltas[0], FIRST_STEPS, 'gauss')
  if not np.any(np.isfinite(first.f)):
    raise InputError(f'{law.name}: the law is not finite on these data from any start')
  u = first.u[_lowest(first, KEPT)]
  middle = solve(u, objective.deltas[0], MIDDLE_STEPS, tolerance=COARSE)
  order = np.argsort(middle.f)
  hopeful = middle.f[order] <= HOPELESS * middle.f[order[0]]
  hopeful[:8] = True
  u = middle.u[order[hopeful]]
  for delta in objective.deltas:
    ends = solve(u, delta, LAST_STEPS, tolerance=COARSE)
    u = ends.u
  near = ends.f <= NEAR * np.min(ends.f)
  polished = solve(ends.u[near], objective.deltas[-1], LAST_STEPS)
  best = int(np.argmin(polished.f))
  u, f, converged = polished.u[best], polished.f[best], bool(polished.converged[best])
  ends, restarts = polished, 0
  random = np.random.default_rng(seed)
  count = solver.lanes_of(rows)
  for _ in range(5):
    around = u + random.normal(scale=np.repeat([0.03, 0.3], -(-count // 2))[:count, None],
                               size=(count, len(u)))
    around[0] = u
    again = around
    for delta in objective.deltas[-3:]:
      tried = solve(again, delta, LAST_STEPS, tolerance=COARSE)
      again = tried.u
    best = int(np.argmin(tried.f))
    improved = tried.f[best] < f * (1 - 1e-9)
    if tried.f[best] <= f:
      tried = solve(tried.u[best:best + 1], objective.deltas[-1], LAST_STEPS)
      u, f, converged = tried.u[0], tried.f[0], bool(tried.converged[0])
    if not improved:
      break
    restarts += 1
  if objective.name == 'lad_log':
    u = vertex(r, data, u, weights, lower, upper)
  return Found(u, converged, _others(ends, u, f),
               _gradient(r, data, u, weights, objective, lower, upper), restarts)


def _lowest(ends: solver.Solution, count: int) -> np.ndarray:
  """The indices of the lowest ends that are not copies of one another."""
  chosen: list[int] = []
  for i in np.argsort(ends.f):
    if len(chosen) == count or not np.isfinite(ends.f[i]):
      break
    if not chosen or np.min(np.max(np.abs(ends.u[chosen] - ends.u[i]), 1)) > APART / 2:
      chosen.append(int(i))
  return np.array(chosen)


def _gradient(residuals: Any, data: dict[str, Any], u: np.ndarray, weights: np.ndarray,
              objective: Objective, lower: np.ndarray, upper: np.ndarray) -> float | None:
  """The relative projected gradient of `Found`."""
  if objective.name == 'lad_log':
    return None
  r, jacobian = solver.derivatives(residuals, u, data, {})
  parts = (weights * np.clip(r, -objective.deltas[-1], objective.deltas[-1]))[:, None] * jacobian
  slope = parts.sum(0)
  held = ((u <= lower) & (slope > 0)) | ((u >= upper) & (slope < 0))
  size = np.abs(parts).sum(0)
  share = np.where(held | (size <= 1e-12 * np.max(size)), 0.0, np.abs(slope) / np.maximum(
      size, 1e-300))
  return float(np.max(share))


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
    if not ends.converged[i] or ratio > NEAR:
      continue
    if ratio > 1 + 1e-6 and all(np.max(np.abs(ends.u[i] - v)) > APART
                                for v in [u, *(w for w, _ in found)]):
      found.append((ends.u[i], ratio - 1))
  return tuple(found)
