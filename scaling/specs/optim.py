"""The optimizer and its learning rates."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks

OPTIMIZERS = ('adamw',)
SCHEDULES = ('constant', 'cosine', 'linear', 'inverse_sqrt', 'wsd', 'infinite')
COOLDOWNS = ('cosine', 'inverse_sqrt')


@dataclasses.dataclass(frozen=True)
class OptimSpec:
  """AdamW and its learning-rate schedule (scaling/optim/schedules.py has the formulas)."""

  VERSION: ClassVar[int] = 1
  optimizer: str = 'adamw'
  peak_lr: float = 3e-3
  schedule: str = 'cosine'
  warmup_steps: int | None = None  # linear from 0; counted in steps, or
  warmup_fraction: float | None = None  # as a share of the run (which forbids shared prefixes)
  final_lr: float = 0.1  # as a share of peak_lr: where cosine, linear and wsd end
  decay_fraction: float = 0.2  # wsd and infinite: the last share of the run
  constant_lr: float | None = None  # infinite: its constant rate, as a share of peak_lr
  cooldown_steps: int | None = None  # infinite: from the peak to the constant rate, or
  cooldown_fraction: float | None = None  # as a share of the run
  cooldown: str = 'cosine'  # infinite: its shape
  cooldown_curvature: float = 1.0  # infinite with inverse_sqrt: a in 1 / sqrt(1 + a x)
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1  # decoupled, times the learning rate, on matrices only
  clip_norm: float | None = 1.0  # of the gradient's global norm; None: no clipping

  def check(self, path: str) -> None:
    checks.one_of(self, path, 'optimizer', OPTIMIZERS)
    checks.one_of(self, path, 'schedule', SCHEDULES)
    checks.positive(self, path, 'peak_lr', 'eps')
    if self.warmup_steps is not None and self.warmup_fraction is not None:
      raise bad(f'{path}.warmup_fraction', self.warmup_fraction,
                f'give it or warmup_steps (now {self.warmup_steps}), not both')
    if self.warmup_steps is not None and self.warmup_steps < 0:
      raise bad(f'{path}.warmup_steps', self.warmup_steps, 'it must be >= 0')
    if self.clip_norm is not None:
      checks.positive(self, path, 'clip_norm')
    self._check_infinite(path)
    for name in ('warmup_fraction', 'final_lr', 'decay_fraction'):
      value = getattr(self, name)
      if value is not None and not 0 <= value <= 1:
        raise bad(f'{path}.{name}', value, 'it must lie in [0, 1]')
    for name in ('b1', 'b2'):
      if not 0 <= getattr(self, name) < 1:
        raise bad(f'{path}.{name}', getattr(self, name), 'it must lie in [0, 1)')
    if self.weight_decay < 0:
      raise bad(f'{path}.weight_decay', self.weight_decay, 'it must be >= 0')

  def _check_infinite(self, path: str) -> None:
    checks.one_of(self, path, 'cooldown', COOLDOWNS)
    checks.positive(self, path, 'cooldown_curvature')
    for name in ('constant_lr', 'cooldown_steps', 'cooldown_fraction'):
      if self.schedule != 'infinite' and getattr(self, name) is not None:
        raise bad(f'{path}.{name}', getattr(self, name), 'only the schedule infinite has it')
    if self.schedule != 'infinite':
      return
    if self.constant_lr is None or not 0 < self.constant_lr <= 1:
      raise bad(f'{path}.constant_lr', self.constant_lr,
                'the schedule infinite needs it, a share of peak_lr in (0, 1]')
    if (self.cooldown_steps is None) == (self.cooldown_fraction is None):
      raise bad(f'{path}.cooldown_steps', self.cooldown_steps,
                'the schedule infinite needs it or cooldown_fraction, not both')
    if self.cooldown_steps is not None and self.cooldown_steps < 0:
      raise bad(f'{path}.cooldown_steps', self.cooldown_steps, 'it must be >= 0')
    if self.cooldown_fraction is not None and not 0 <= self.cooldown_fraction <= 1:
      raise bad(f'{path}.cooldown_fraction', self.cooldown_fraction, 'it must lie in [0, 1]')
    if self.decay_fraction > 0 and not 0 < self.final_lr <= self.constant_lr:
      raise bad(f'{path}.final_lr', self.final_lr, 'the schedule infinite anneals exponentially, '
                f'from constant_lr = {self.constant_lr:g}: it must be positive and not above that')
