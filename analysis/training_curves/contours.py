"""The critical batch size from a sweep of batch sizes: contours of equal loss.

At each of several losses the updates S that each batch B needed are read off the curves, and
(S / S_min - 1) (E / E_min - 1) = 1 with E = B S, which is S = S_min + E_min / B, gives S_min, E_min
and B_crit = E_min / S_min; a line through ln B_crit against ln L is B_star / L^(1 / alpha_B).

Kaplan et al. 2020 (arXiv 2001.08361), section 5.1; Su et al. 2024 (arXiv 2403.06563). S updates,
B and E tokens, L nats per token. One size of model or several: B_crit depends on the loss alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

NEAR = 0.15  # rows within this of ln S at the crossing, and at least FEWEST, read it off
FEWEST = 5
BATCHES = 3  # different batch sizes that a contour needs


@dataclasses.dataclass(frozen=True)
class Contour:
  """The updates `steps` [k] that the runs `run` [k], at batches `batch` [k], needed for a loss."""

  size: float  # N
  loss: float
  run: np.ndarray
  batch: np.ndarray
  steps: np.ndarray


@dataclasses.dataclass(frozen=True)
class Corner:
  """S_min and E_min of one contour, and the variance of ln B_crit per variance of ln S."""

  size: float
  loss: float
  S_min: float
  E_min: float
  variance: float

  @property
  def B_crit(self) -> float:
    return self.E_min / self.S_min


def of_runs(runs: dict[int, dict[str, Any]], count: int) -> list[Contour]:
  """Contours at `count` losses of every size that was run at three batch sizes or more.

  runs: {number: {'N', 'B', 'S' [n], 'loss' [n]}}, S rising. Losses are spread evenly in ln L over
  those that at least three batch sizes pass.
  """
  found = []
  for size in sorted({run['N'] for run in runs.values()}):
    sweep = {i: run for i, run in runs.items()
             if run['N'] == size and len(run['S']) >= FEWEST}
    batches = sorted({run['B'] for run in sweep.values()})
    if len(batches) < BATCHES:
      continue
    of_batch = [[run for run in sweep.values() if run['B'] == b] for b in batches]
    tops = sorted((max(_ends(run)[0] for run in group) for group in of_batch), reverse=True)
    ends = sorted(min(_ends(run)[1] for run in group) for group in of_batch)
    top, end = np.log(tops[BATCHES - 1]), np.log(ends[BATCHES - 1])
    if end >= top:
      continue
    for loss in np.exp(top + (end - top) * (np.arange(count) + 0.5) / count):
      steps = {i: crossing(run['S'], run['loss'], loss) for i, run in sweep.items()}
      there = [i for i, s in steps.items() if np.isfinite(s)]
      batch = np.array([sweep[i]['B'] for i in there])
      if len(set(batch)) >= BATCHES:
        found.append(Contour(size, float(loss), np.array(there), batch,
                             np.array([steps[i] for i in there])))
  return found


def _ends(run: dict[str, Any]) -> tuple[float, float]:
  """The losses between which a crossing can be read, from a few rows at each end."""
  loss = run['loss']
  return float(np.median(loss[:3])), float(np.median(loss[-3:]))


def crossing(steps: np.ndarray, loss: np.ndarray, level: float) -> float:
  """The updates at which a curve, steps rising, passes a loss; nan if it does not.

  As many rows lie before the crossing as have a higher loss, noise or no noise; a parabola in
  ln S, ln L through the rows around it gives the place.
  """
  above = int(np.sum(loss > level))
  if above in (0, len(loss)):
    return np.nan
  x, y = np.log(steps), np.log(loss)
  centre = (x[above - 1] + x[above]) / 2
  distance = np.abs(x - centre)
  near = distance <= max(NEAR, np.sort(distance)[min(FEWEST, len(x)) - 1])
  degree = 2 if near.sum() >= FEWEST else 1
  shifted = x[near] - centre
  curve = np.polynomial.Polynomial.fit(shifted, y[near] - np.log(level), degree)
  roots = curve.roots()
  reach = 1.5 * max(np.max(np.abs(shifted)), 1e-12)
  real = [r.real for r in roots if abs(r.imag) < 1e-9 and abs(r.real) <= reach
          and curve.deriv()(r.real) < 0]
  return float(np.exp(centre + min(real, key=abs))) if real else np.nan


def corner(contour: Contour, weights: np.ndarray) -> Corner | None:
  """S_min and E_min by least squares in ln S; None if the data give one of them a value below zero.

  weights: of the runs, by number.
  """
  w = weights[contour.run]
  matrix = np.stack([1 / contour.steps, 1 / contour.batch / contour.steps], 1)
  scale = np.max(np.abs(matrix), 0)
  root = np.sqrt(w)[:, None]
  first, *_ = np.linalg.lstsq(matrix / scale * root, root[:, 0], rcond=None)
  if np.any(first <= 0):
    return None
  u = np.log(first / scale)
  for _ in range(50):
    parts = np.exp(u) / np.stack([np.ones_like(w), contour.batch], 1)
    whole = parts.sum(1)
    jacobian = parts / whole[:, None]
    normal = (jacobian.T * w) @ jacobian
    move = np.linalg.lstsq(normal, (jacobian.T * w) @ (np.log(contour.steps) - np.log(whole)),
                           rcond=None)[0]
    u = u + np.clip(move, -1, 1)
    if np.max(np.abs(move)) < 1e-12:
      break
  if not np.all(np.isfinite(u)) or np.linalg.cond(normal) > 1e8:
    return None
  variance = np.array([-1, 1]) @ np.linalg.inv(normal) @ np.array([-1, 1])
  return Corner(contour.size, contour.loss, float(np.exp(u[0])), float(np.exp(u[1])),
                float(variance))


def critical(corners: list[Corner]) -> tuple[float, float]:
  """(B_star, alpha_B) from the line through ln B_crit against ln L; nan if there is none.

  Each loss weighs by how well its contour gives B_crit.
  """
  if len(corners) < 2:
    return np.nan, np.nan
  x = np.log([c.loss for c in corners])
  slope, level = line(x, np.log([c.B_crit for c in corners]),
                      1 / np.array([c.variance for c in corners]))
  with np.errstate(over='ignore'):
    return float(np.exp(level)), float(-1 / slope) if slope < 0 else np.nan


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
  """(slope, level at x = 0) of the weighted least-squares line."""
  total = weights.sum()
  if total <= 0:
    return np.nan, np.nan
  middle = (weights @ x) / total
  spread = weights @ (x - middle) ** 2
  slope = float(weights @ ((x - middle) * y) / spread) if spread > 0 else np.nan
  return slope, float((weights @ y) / total - slope * middle)
