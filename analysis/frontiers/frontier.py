"""The line ln y = a ln C + b through compute-optimal N (or D), weighted by 1 / std^2, with draws.

Intervals come from S draws of whatever gave the points. Where the points scatter around the line by
more than the draws do, their scatter is added: an interval never claims less than what is seen.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
  """ln y = slope ln C + intercept, with S draws of both."""

  slope: float
  intercept: float
  r2: float
  slopes: np.ndarray
  intercepts: np.ndarray

  def ends(self, which: str, level: float) -> list[float] | None:
    """Of the 'slope' or the 'coefficient' exp(intercept); None without draws."""
    draws = self.slopes if which == 'slope' else np.exp(self.intercepts)
    return interval(draws, level) if len(draws) else None

  def bare(self) -> Line:
    """The line without draws."""
    return dataclasses.replace(self, slopes=self.slopes[:0], intercepts=self.intercepts[:0])

  def predict(self, flops: float) -> float:
    return float(np.exp(self.slope * np.log(flops) + self.intercept))

  def predict_interval(self, flops: float, level: float) -> list[float] | None:
    if not len(self.slopes):
      return None
    return interval(np.exp(self.slopes * np.log(flops) + self.intercepts), level)


def regress(x: np.ndarray, y: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Slopes and intercepts [S] of weighted regressions of y [S, K] on x [K]; nan in y is left out.
  """
  weight = np.where(np.isfinite(y), 1 / std**2, 0.0)
  y = np.where(np.isfinite(y), y, 0.0)
  total = weight.sum(-1)
  with np.errstate(all='ignore'):
    x_mean, y_mean = (weight * x).sum(-1) / total, (weight * y).sum(-1) / total
    away = x - x_mean[:, None]
    slope = (weight * away * y).sum(-1) / (weight * away**2).sum(-1)
  return slope, y_mean - slope * x_mean


def line(x: np.ndarray, y: np.ndarray, std: np.ndarray, draws: np.ndarray) -> Line:
  """The weighted line through y [K], and through every draw [S, K] with two values or more."""
  slope, intercept = (float(v[0]) for v in regress(x, y[None], std))
  residual = y - slope * x - intercept
  total = float(np.sum((y - y.mean())**2))
  slopes, intercepts = regress(x, draws, std)
  fine = np.isfinite(slopes) & (np.isfinite(draws).sum(-1) >= 2)
  return Line(slope, intercept, 1 - float(np.sum(residual**2)) / total if total else np.nan,
              slopes[fine], intercepts[fine])


def with_scatter(x: np.ndarray, y: np.ndarray, std: np.ndarray, draws: np.ndarray, level: float,
                 random: np.random.Generator) -> np.ndarray:
  """Draws [S, K] that vary no less than y does around its line, with Student's factor.

  No draws for two values: nothing is left to judge the line by.
  """
  if len(y) < 3:
    return draws[:0]
  slope, intercept = (float(v[0]) for v in regress(x, y[None], std))
  weight = 1 / std**2 / np.sum(1 / std**2)
  seen = np.sum(weight * (y - slope * x - intercept)**2) * len(y) / (len(y) - 2)
  tail = (1 + level) / 2
  seen *= (special.stdtrit(len(y) - 2, tail) / special.ndtri(tail))**2
  explained = np.sum(weight * np.nan_to_num(np.nanvar(draws, 0)))
  extra = np.sqrt(max(seen - explained, 0.0))
  # What weighs little scatters more: extra is the spread of a value of average weight.
  each = extra * np.sqrt(1 / len(y) / weight)
  return draws + each * random.normal(size=draws.shape)


def about(line: Line | None, count: int, what: str = 'budgets') -> list[str]:
  """What is doubtful about a frontier through `count` minima."""
  found = []
  if count < 3:
    found.append(f'too few {what}: {count} give a line and nothing to judge it by')
  elif count < 5:
    found.append(f'only {count} {what}: the exponents rest on few points')
  if line is not None and not 0 < line.slope < 1:
    found.append(f'the exponent of N is {line.slope:.3g}, outside (0, 1)')
  return found


def interval(values: np.ndarray, level: float) -> list[float]:
  """[low, high] of the finite values."""
  low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
  return [float(low), float(high)]
