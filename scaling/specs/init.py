"""Where a run starts."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks


@dataclasses.dataclass(frozen=True)
class InitSpec:
  """Where a run starts: from another run's parameters after `step` updates, or from scratch."""

  VERSION: ClassVar[int] = 1
  run: str = ''  # the parent's run id; '': from scratch
  step: int | None = None  # updates of the parent; None: all
  optimizer: bool = False  # go on with its optimizer's moments, too
  schedule: bool = False  # count the steps of the learning-rate schedule on from `step`
  data: bool = True  # go on in every domain where it stopped; False: start the domains over
  schedule_step: int | None = None  # updates that `schedule` has counted there; None: `step`

  @property
  def counted(self) -> int:
    """Updates of the learning-rate schedule before the run's first."""
    if not self.schedule:
      return 0
    return self.schedule_step or self.step or 0

  def check(self, path: str) -> None:
    if not self.run:
      for name in ('step', 'optimizer', 'schedule', 'data', 'schedule_step'):
        if getattr(self, name) != getattr(InitSpec(), name):
          raise bad(f'{path}.{name}', getattr(self, name),
                    f'it has no effect without a parent ({path}.run, or config.stages)')
    elif not re.fullmatch('[0-9a-f]{16}', self.run):
      raise bad(f'{path}.run', self.run, 'it must be a run id, 16 hexadecimal digits')
    if self.step is not None:
      checks.positive(self, path, 'step')
    if self.schedule_step is not None and not (
        self.schedule and self.step is not None and self.step < self.schedule_step):
      raise bad(f'{path}.schedule_step', self.schedule_step, 'it is for init.schedule, where the '
                f'parent went on in a schedule itself: above init.step = {self.step}')
