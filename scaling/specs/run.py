"""One training run, and the checks that need more than one of its parts."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks
from scaling.specs.data import DataSpec
from scaling.specs.evaluation import EvalSpec
from scaling.specs.init import InitSpec
from scaling.specs.model import ModelSpec
from scaling.specs.optim import OptimSpec
from scaling.specs.sparsity import SparsitySpec


@dataclasses.dataclass(frozen=True)
class RunSpec:
  """Everything that determines one training run."""

  VERSION: ClassVar[int] = 1
  model: ModelSpec = ModelSpec()
  data: DataSpec = DataSpec()
  optim: OptimSpec = OptimSpec()
  evaluation: EvalSpec = EvalSpec()
  init: InitSpec = InitSpec()
  sparsity: SparsitySpec = SparsitySpec()
  steps: int = 1000
  seed: int = 0

  @property
  def tokens(self) -> int:
    """D, the training tokens of the whole run."""
    return self.steps * self.data.tokens_per_step

  @property
  def eval_steps(self) -> tuple[int, ...]:
    """The steps (updates done) after which the run is evaluated; the last is `steps`."""
    return self.evaluation.steps(self.steps)

  def check(self, path: str = 'base') -> None:
    for name in ('model', 'data', 'optim', 'evaluation', 'init', 'sparsity'):
      getattr(self, name).check(f'{path}.{name}')
    for name, domain in self.data.domains.items():
      domain.check(f'{path}.data.domains.{name}')
    self._check_sparsity(path)
    checks.positive(self, path, 'steps')
    if not 0 <= self.seed < 2**31:
      raise bad(f'{path}.seed', self.seed, 'it must lie in [0, 2**31)')
    if self.evaluation.points > self.steps:
      raise bad(f'{path}.evaluation.points', self.evaluation.points,
                f'it must not exceed steps = {self.steps}')
    if self.init.schedule and self.init.step is None:
      return  # Where its schedule stands is known with its parent (scaling/stages.py).
    total, warmup = self.init.counted + self.steps, self.optim.warmup_steps
    if warmup is not None and warmup >= total:
      raise bad(f'{path}.optim.warmup_steps', warmup, f'it must be below steps = {total}')
    if self.optim.schedule == 'infinite':
      self._check_phases(path, total)

  def _check_sparsity(self, path: str) -> None:
    if self.sparsity.dense:
      return
    if self.model.linear != 'dense':
      raise bad(f'{path}.sparsity.sparsity', self.sparsity.sparsity,
                f'it must be 0 with model.linear = {self.model.linear}')
    if self.sparsity.group is not None:
      m = self.sparsity.group[1]
      for name in ('width', 'hidden'):
        if getattr(self.model, name) % m:
          raise bad(f'{path}.sparsity.pattern', self.sparsity.pattern,
                    f'{m} must divide the inputs of every layer, {getattr(self.model, name)}')

  def _check_phases(self, path: str, total: int) -> None:
    """Raises InputError unless an infinite schedule reaches its constant rate."""
    optim = self.optim
    counts: dict[str, int] = {}
    for name in ('warmup', 'cooldown'):
      steps, share = getattr(optim, f'{name}_steps'), getattr(optim, f'{name}_fraction')
      counts[name] = round(share * total) if share is not None else steps or 0
    if sum(counts.values()) >= total:
      field = 'cooldown_steps' if optim.cooldown_fraction is None else 'cooldown_fraction'
      raise bad(f'{path}.optim.{field}', getattr(optim, field),
                f'warm-up and cooldown, {counts["warmup"]} and {counts["cooldown"]} updates, must '
                f'be below steps = {total}')
