"""When and on what a run is evaluated."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks

SPACINGS = ('even', 'decaying')


@dataclasses.dataclass(frozen=True)
class EvalSpec:
  """When and on how much a run is evaluated: every domain, on the first windows of `valid`, or on
  its first documents that hold `characters`, every token of them predicted once.

  Spacing `even`: after a share i / points of the steps, i = 1 .. points. `decaying`: their density
  falls as exp(-decay step / steps), as in method M4 of the D-CPT law's appendix (arXiv 2406.01375):
  after a share -ln(1 - (i / points) (1 - exp(-decay))) / decay.
  """

  VERSION: ClassVar[int] = 1
  points: int = 8  # evaluations, the last one at the last step
  windows: int = 256  # a domain, of `length` tokens each
  spacing: str = 'even'
  decay: float = 3.0  # of spacing `decaying`
  final_windows: int | None = None  # at the last step, `windows` of them first; None: `windows`
  characters: float | None = None  # a domain, in place of windows: one text for any tokenizer

  def check(self, path: str) -> None:
    checks.positive(self, path, 'points', 'windows', 'decay')
    checks.one_of(self, path, 'spacing', SPACINGS)
    if self.decay > 30:  # Then exp(-decay) is lost beside 1.
      raise bad(f'{path}.decay', self.decay, 'it must lie in (0, 30]')
    if self.final_windows is not None and self.final_windows <= self.windows:
      raise bad(f'{path}.final_windows', self.final_windows,
                f'it must exceed windows = {self.windows}, or be None')
    if self.characters is not None:
      checks.positive(self, path, 'characters')
      for name in ('windows', 'final_windows'):
        if getattr(self, name) != getattr(EvalSpec(), name):
          raise bad(f'{path}.{name}', getattr(self, name),
                    f'it has no effect beside characters = {self.characters:g}')

  def steps(self, total: int) -> tuple[int, ...]:
    """The steps (updates done) after which a run of `total` is evaluated; the last is `total`."""
    if self.spacing == 'even':
      return tuple(-(-i * total // self.points) for i in range(1, self.points + 1))
    found: list[int] = []
    for i in range(1, self.points):
      share = -math.log1p(i / self.points * math.expm1(-self.decay)) / self.decay
      after = found[-1] + 1 if found else 1
      found.append(min(max(math.ceil(share * total - 1e-9), after), total - self.points + i))
    return (*found, total)
