"""Straight lines by the Huber objective, and where the optimiser of a paper stops short of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, special

DELTA = 1e-3  # Huber's threshold


def huber_line(x: np.ndarray, y: np.ndarray, slope: float | None = None) -> tuple[float, float]:
  """(intercept, slope) with the least sum of Huber_1e-3(intercept + slope x - y); slope: given."""
  if slope is not None:
    return float(huber_slope(np.ones_like(x), y - slope * x)), slope
  centre = x.mean()
  fitted = _huber(np.stack([np.ones_like(x), x - centre], -1), y)
  return float(fitted[0] - fitted[1] * centre), float(fitted[1])


def huber_slope(x: np.ndarray, y: np.ndarray) -> float:
  """gamma with the least sum of Huber_1e-3(gamma x - y)."""
  return float(_huber(x[:, None], y)[0])


def objective(line: tuple[float, float], x: np.ndarray, y: np.ndarray) -> float:
  """sum of Huber_1e-3(intercept + slope x - y)."""
  return float(np.sum(special.huber(DELTA, line[0] + line[1] * x - y)))


def early_stop(model: Callable[[Any], Any], y: np.ndarray, starts: list[list[float]]) -> np.ndarray:
  """The paper's estimate of the parameters of model: not the optimum.

  scipy's L-BFGS-B with finite differences runs from every start on the Huber objective, on which it
  often stalls early; of its ends the one with the least mean squared residual is taken.
  """
  best, least = np.asarray(starts[0]), np.inf
  for start in starts:
    end = optimize.minimize(lambda p: np.sum(special.huber(DELTA, model(p) - y)), start,
                            method='L-BFGS-B')
    square = float(np.mean((y - model(end.x))**2) / np.mean(y)**2)
    if square < least:
      best, least = end.x, square
  return best


def _huber(design: np.ndarray, y: np.ndarray) -> np.ndarray:
  """The least sum of Huber(design @ p - y), design [n, P]: Newton with ever smaller thresholds."""
  p = np.linalg.lstsq(design, y, rcond=None)[0]
  delta = max(float(np.max(np.abs(design @ p - y))), DELTA)
  while True:
    for _ in range(200):
      r = design @ p - y
      slope = design.T @ np.clip(r, -delta, delta)
      inside = np.where(np.abs(r) <= delta, 1.0, 1e-9)
      step = -np.linalg.solve((design * inside[:, None]).T @ design, slope)
      f, size = np.sum(special.huber(delta, r)), 1.0
      while size > 1e-12 and np.sum(special.huber(delta, design @ (p + size * step) - y)) > f:
        size /= 2
      if size <= 1e-12 or np.all(np.abs(size * step) <= 1e-14 * (1 + np.abs(p))):
        break
      p = p + size * step
    if delta <= DELTA:
      return p
    delta = max(delta / 2, DELTA)
