"""Which weights are zero, and when."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar

from scaling.errors import bad

PRUNINGS = ('geometric', 'cubic', 'one_shot', 'constant')
UNITS = ('compute', 'steps')
SCOPES = ('global', 'layer')
UNSTRUCTURED = 'unstructured'


@dataclasses.dataclass(frozen=True)
class SparsitySpec:
  """Which share of the linear layers' weights is not zero, and when (scaling/sparsity.py).

  Magnitude pruning along a ramp (geometric, cubic) or at once (one_shot), or a random support from
  the first update on (constant). What a schedule does not look at is set to one value, a ramp that
  ends where it starts is one_shot, and a sparsity of 0 the default, so that equal schedules are
  equal specs.
  """

  VERSION: ClassVar[int] = 1
  sparsity: float = 0.0  # of the linear layers' weights, at the end; 0: dense
  schedule: str = 'geometric'
  start: float = 0.25  # of the ramp, or the one pruning, as a share of
  end: float = 0.75
  unit: str = 'compute'  # that of the linear layers; or the steps
  every: int = 100  # steps from one pruning to the next, to within half of one
  scope: str = 'global'  # weights are ranked over all layers, or each layer by itself
  pattern: str = UNSTRUCTURED  # or 'n:m': n of every m weights along a layer's inputs

  def __post_init__(self) -> None:
    default = SparsitySpec.__dataclass_fields__
    fixed: dict[str, Any] = {}
    if self.sparsity == 0 and self._fault is None:
      fixed = {name: field.default for name, field in default.items()}
    elif self.schedule == 'constant':
      fixed = {'start': 0.0, 'end': 0.0, 'unit': 'steps', 'every': default['every'].default}
    elif self.schedule == 'one_shot' or (self.start == self.end and self._fault is None):
      fixed = {'schedule': 'one_shot', 'end': self.start, 'every': default['every'].default}
    if self.pattern != UNSTRUCTURED and self.sparsity:
      fixed['scope'] = 'layer'  # Ranks are within a group of m in any case.
    for name, value in fixed.items():
      object.__setattr__(self, name, value)

  @property
  def dense(self) -> bool:
    return self.sparsity == 0

  @property
  def group(self) -> tuple[int, int] | None:
    """(n, m) of a pattern n:m."""
    if self.pattern == UNSTRUCTURED:
      return None
    n, _, m = self.pattern.partition(':')
    return int(n), int(m)

  @property
  def _share(self) -> float | None:
    """n / m of a pattern, None when it is none."""
    if not re.fullmatch(r'[1-9]\d?:[1-9]\d?', self.pattern):
      return None
    n, m = map(int, self.pattern.split(':'))
    return n / m if n < m else None

  @property
  def _fault(self) -> tuple[str, str] | None:
    """The first field that cannot be, and why."""
    if not 0 <= self.sparsity < 1:
      return 'sparsity', 'it must lie in [0, 1)'
    for name, allowed in (('schedule', PRUNINGS), ('unit', UNITS), ('scope', SCOPES)):
      if getattr(self, name) not in allowed:
        return name, f'allowed are {", ".join(allowed)}'
    for name in ('start', 'end'):
      if not 0 <= getattr(self, name) <= 1:
        return name, 'it must lie in [0, 1]'
    if self.end < self.start:
      return 'end', f'it must not lie before start = {self.start:g}'
    if self.start == 1:
      return 'start', 'it must lie before the end of the run'
    if self.every < 1:
      return 'every', 'it must be positive'
    if self.pattern == UNSTRUCTURED:
      return None
    share = self._share
    if share is None:
      return 'pattern', f'it must be {UNSTRUCTURED} or n:m with n < m, such as 2:4'
    if self.schedule not in ('one_shot', 'constant'):
      return 'schedule', f'the pattern {self.pattern} needs one_shot or constant'
    if self.sparsity and abs(1 - share - self.sparsity) > 1e-9:
      return 'sparsity', f'the pattern {self.pattern} has {1 - share:g}'
    return None

  def check(self, path: str) -> None:
    if self._fault is not None:
      name, why = self._fault
      raise bad(f'{path}.{name}', getattr(self, name), why)
