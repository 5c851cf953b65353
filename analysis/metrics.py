"""How well predictions agree with what was measured."""

from __future__ import annotations

import numpy as np


def r2(actual: np.ndarray, predicted: np.ndarray) -> float:
  """1 - sum (y - f)^2 / sum (y - mean y)^2; nan when all y are equal."""
  total = float(np.sum((actual - np.mean(actual))**2))
  return 1 - float(np.sum((actual - predicted)**2)) / total if total > 0 else float('nan')


def mean_relative_error(actual: np.ndarray, predicted: np.ndarray) -> float:
  """mean |f - y| / |y|."""
  return float(np.mean(np.abs(predicted - actual) / np.abs(actual)))


def rmse_log(actual: np.ndarray, predicted: np.ndarray) -> float:
  """sqrt mean (ln f - ln y)^2; nan when something is not positive."""
  if np.any(actual <= 0) or np.any(predicted <= 0):
    return float('nan')
  return float(np.sqrt(np.mean((np.log(predicted) - np.log(actual))**2)))


def all_of(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
  """The metrics of fit.json; None for one that these values do not define."""
  found = {f.__name__: f(actual, predicted) for f in (r2, mean_relative_error, rmse_log)}
  return {name: value if np.isfinite(value) else None for name, value in found.items()}
