"""Density schedules of training that prunes as it goes: which share of the weights is not zero.

Dense until `start`, then a ramp to 1 - sparsity at `end`, constant after. `geometric`: an equal
share of what is left goes at every pruning (Jin et al. 2025, arXiv 2501.12486); `cubic`: density
1 - s (1 - (1 - u)^3), u from 0 to 1 along the ramp (Zhu and Gupta 2017, arXiv 1710.01878).

A step costs what is not zero, so a share of the compute is not the same share of the steps: the
paper's 25 % to 75 % of the compute are 17 % to 65 % of the steps at s = 1/2. numpy, float64.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from scaling.errors import bad

SHAPES = ('geometric', 'cubic')


@dataclasses.dataclass(frozen=True)
class Ramp:
  """Density over a run of `steps` steps: 1 before `start`, 1 - sparsity from `end` on.

  start, end: in steps, 0 <= start <= end <= steps, not necessarily whole. prunable: the share of
  the parameters that pruning may take; all counts below are over all parameters.
  """

  steps: float
  start: float
  end: float
  sparsity: float
  shape: str = 'geometric'
  prunable: float = 1.0

  def __post_init__(self) -> None:
    _check(self.sparsity, self.shape, self.prunable)
    if not 0 <= self.start <= self.end <= self.steps or not 0 < self.steps < math.inf:
      raise bad('ramp', (self.start, self.end, self.steps), 'start, end and length of the run must '
                'be 0 <= start <= end <= steps')

  @classmethod
  def of_compute(cls, steps: float, start: float, end: float, sparsity: float,
                 shape: str = 'geometric', prunable: float = 1.0) -> Ramp:
    """A ramp between two shares of the run's whole compute, such as .25 and .75.

    With unit compute a step of the dense model, c in all, and m the mean share of parameters along
    the ramp: start c steps before it, (end - start) c / m along it, (1 - end) c / (1 - s) after it.
    """
    _check(sparsity, shape, prunable)
    if not 0 <= start <= end <= 1:
      raise bad('ramp', (start, end), 'the shares of compute must be 0 <= start <= end <= 1')
    ramp = (end - start) / (1 - prunable * (1 - mean_density(sparsity, shape)))
    total = steps / (start + ramp + (1 - end) / (1 - prunable * sparsity))  # c
    return cls(steps, start * total, min((start + ramp) * total, steps), sparsity, shape, prunable)

  def density(self, step: Any) -> np.ndarray:
    """The share of prunable weights kept at `step` (any shape)."""
    length = max(self.end - self.start, 1e-12)
    along = np.clip((np.asarray(step, np.float64) - self.start) / length, 0, 1)
    if self.shape == 'geometric':
      return (1 - self.sparsity) ** along
    return 1 - self.sparsity * (1 - (1 - along)**3)

  def average(self) -> float:
    """The mean share of parameters that are not zero, over steps: N_average / N."""
    return self._spent()[-1] / self.steps

  def compute(self) -> tuple[float, float]:
    """The shares of the whole compute spent when the ramp starts and when it ends."""
    before, along, total = self._spent()
    return before / total, along / total

  def _spent(self) -> tuple[float, float, float]:
    """Dense steps' worth of compute up to start, to end, and in all."""
    ramp = 1 - self.prunable * (1 - mean_density(self.sparsity, self.shape))
    along = self.start + (self.end - self.start) * ramp
    return self.start, along, along + (self.steps - self.end) * (1 - self.prunable * self.sparsity)


def mean_density(sparsity: float, shape: str = 'geometric') -> float:
  """Mean density along a ramp: s / -ln(1 - s) (geometric) or 1 - 3 s / 4 (cubic)."""
  _check(sparsity, shape, 1.0)
  if shape == 'cubic':
    return 1 - 0.75 * sparsity
  return sparsity / -math.log1p(-sparsity) if sparsity > 0 else 1.0


def kept(sparsity: float, events: int) -> np.ndarray:
  """Density after each of `events` prunings that take an equal share of what is left, [events].

  Pruning every 100 steps from step t0 to t1 has (t1 - t0) / 100 + 1 events.
  """
  _check(sparsity, 'geometric', 1.0)
  if events < 1:
    raise bad('events', events, 'it must be at least 1')
  return (1 - sparsity) ** (np.arange(1, events + 1) / events)


def _check(sparsity: float, shape: str, prunable: float) -> None:
  if not 0 <= sparsity < 1:
    raise bad('sparsity', sparsity, 'it must be in [0, 1)')
  if shape not in SHAPES:
    raise bad('shape', shape, f'the ramps are {", ".join(SHAPES)}')
  if not 0 < prunable <= 1:
    raise bad('prunable', prunable, 'it must be in (0, 1]')
