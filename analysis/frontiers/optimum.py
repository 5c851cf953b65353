"""A compute-optimal frontier with what it rests on: predictions, and isoflop.json."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np

from analysis.frontiers.envelope import Envelope
from analysis.frontiers.frontier import Line, interval
from analysis.frontiers.minima import Curve, Minimum
from scaling import files
from scaling.errors import InputError, bad

FAR = 10.0  # an extrapolation worth a warning


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum:
  """A frontier, the minima it goes through, and what was left out."""

  approach: str
  options: dict[str, Any]
  level: float
  n_line: Line | None
  d_line: Line | None
  reach: tuple[float, float]  # of the C it was fitted to
  minima: list[Minimum] = dataclasses.field(default_factory=list)
  pairs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # C, N, D, std
  envelope: Envelope | None = None
  budgets: list[Curve] = dataclasses.field(default_factory=list)
  lost: list[tuple[float, int, str]] = dataclasses.field(default_factory=list)
  dropped: dict[str, int] = dataclasses.field(default_factory=dict)
  warnings: list[str] = dataclasses.field(default_factory=list)
  extra: dict[str, Any] = dataclasses.field(default_factory=dict)

  @np.errstate(over='ignore', invalid='ignore')
  def predict(self, flops: float) -> dict[str, Any]:
    """{'flops', 'N', 'D', 'intervals', 'warnings'} at a budget of C FLOPs.

    Raises InputError without a frontier, or for a budget that is not positive.
    """
    if not (math.isfinite(flops) and flops > 0):
      raise bad('flops', flops, 'it must be positive and finite')
    if self.n_line is None or self.d_line is None:
      raise InputError('no frontier to predict from: ' + '; '.join(self.warnings))
    low, high = self.reach
    factor = max(flops / high, low / flops)
    ends = {'N': self.n_line.predict_interval(flops, self.level),
            'D': self.d_line.predict_interval(flops, self.level)}
    return {'flops': flops, 'N': self.n_line.predict(flops), 'D': self.d_line.predict(flops),
            'intervals': {k: v for k, v in ends.items() if v is not None},
            'warnings': [f'C is extrapolated by a factor of {factor:.3g} (more than {FAR:.0f})'
                         ] if factor > FAR else []}

  @np.errstate(over='ignore', invalid='ignore')
  def to_dict(self) -> dict[str, Any]:
    """isoflop.json as Python values."""
    return {'approach': self.approach, **self.options, 'level': self.level,
            'minima': self._minima(), 'frontier': self._frontier(),
            'dropped': dict(Counter(reason for _, _, reason in self.lost)),
            'dropped_budgets': [{'C': c, 'sizes': sizes, 'reason': reason}
                                for c, sizes, reason in self.lost],
            'n_dropped': self.dropped, 'warnings': self.warnings, **self.extra}

  def save(self, path: str) -> None:
    """Writes isoflop.json. Raises OSError if it cannot."""
    files.replace(path, files.to_json(_finite(self.to_dict())) + '\n')

  def _frontier(self) -> dict[str, Any] | None:
    if self.n_line is None or self.d_line is None:
      return None
    ends = {'a': self.n_line.ends('slope', self.level),
            'b': self.d_line.ends('slope', self.level),
            'N': self.n_line.ends('coefficient', self.level),
            'D': self.d_line.ends('coefficient', self.level)}
    return {'formula': 'N = k_N C^a, D = k_D C^b', 'a': self.n_line.slope, 'b': self.d_line.slope,
            'coefficients': {'N': float(np.exp(self.n_line.intercept)),
                             'D': float(np.exp(self.d_line.intercept))},
            'intervals': {k: v for k, v in ends.items() if v is not None},
            'r2': {'N': self.n_line.r2, 'D': self.d_line.r2}, 'C': list(self.reach)}

  def _minima(self) -> list[dict[str, Any]]:
    if self.pairs:
      names = list(self.pairs)
      return [dict(zip(names, (float(v) for v in row))) for row in zip(*self.pairs.values())]
    return [{'C': m.flops, 'N': m.n, 'D': m.d, 'loss': m.loss, 'std_ln_N': m.std,
             'interval_N': interval(np.exp(m.draws), self.level),
             'interval_D': interval(np.exp(m.curve.tokens(m.draws)), self.level),
             'sizes': len(m.curve.x), 'fitted_N': list(m.window)
             if m.parabola else None, 'parabola': m.parabola} for m in self.minima]


def _finite(value: Any) -> Any:
  """JSON has no infinities and no nan: they become null."""
  if isinstance(value, dict):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
