"""Data sets of nearly the same size as one program sees them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Padding:
  """Rows repeated, with weight zero, up to one of few counts: a program serves many data sets.

  The counts are 16, 24, 32, 48, 64, ... Data are known by a 'y' [M] beside their 'x'; residuals
  beyond the M rows (a profile's target) stay last. Other data are left as they are.
  """

  count: int
  total: int

  @classmethod
  def of(cls, data: Any) -> Padding:
    if not (isinstance(data, dict) and {'x', 'y'} <= set(data)):
      return cls(0, 0)
    count = len(data['y'])
    half = 2 ** max(int(np.ceil(np.log2(max(count, 1)))) - 1, 3)
    return cls(count, next(n for n in (half, half * 3 // 2, 2 * half) if n >= count))

  def data(self, data: Any) -> Any:
    if self.total == self.count:
      return data

    def longer(x: Any) -> np.ndarray:
      x = np.asarray(x)
      return np.concatenate([x, np.repeat(x[-1:], self.total - self.count, 0)])

    return data | {'y': longer(data['y']), 'x': jax.tree.map(longer, data['x'])}

  def rows(self, values: np.ndarray, fill: float) -> np.ndarray:
    """[..., M + K] -> [..., total + K]."""
    blank = np.full((*values.shape[:-1], self.total - self.count), fill)
    return np.concatenate([values[..., :self.count], blank, values[..., self.count:]], -1)

  def strip(self, rows: np.ndarray, axis: int) -> np.ndarray:
    """Without the repeated rows."""
    return np.delete(rows, np.s_[self.count:self.total], axis)
