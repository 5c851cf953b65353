"""What a run reads: corpora, their shares, the tokenizer and the shape of a step."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks

MIXTURES = ('constant', 'step', 'temperature')
TOKENIZERS = ('bpe', 'bytes', 'symbols')


@dataclasses.dataclass(frozen=True)
class DomainSpec:
  """One corpus of the mixture. Weight 0: evaluated, never trained on."""

  VERSION: ClassVar[int] = 1
  weight: float = 1.0  # r, its share of the training sequences
  unique_tokens: int | None = None  # U: train on the first U tokens only; None: the whole split
  fingerprint: str = ''  # of its token store, filled in when a study meets its stores
  late_weight: float | None = None  # its share once a mixture of schedule `step` has changed

  def check(self, path: str) -> None:
    if not 0 <= self.weight <= 1:
      raise bad(f'{path}.weight', self.weight, 'it must lie in [0, 1]')
    if self.late_weight is not None and not 0 <= self.late_weight <= 1:
      raise bad(f'{path}.late_weight', self.late_weight, 'it must lie in [0, 1]')
    if self.unique_tokens is not None:
      checks.positive(self, path, 'unique_tokens')


@dataclasses.dataclass(frozen=True)
class MixtureSpec:
  """How the domains' shares move during a run (scaling/data/mixture.py has the formulas)."""

  VERSION: ClassVar[int] = 1
  schedule: str = 'constant'
  change_at: float | None = None  # step: the share of the run after which `late_weight` holds
  temperature: float = 1.0  # temperature: tau at the first step
  final_temperature: float = 1.0  # and at the last

  def check(self, path: str) -> None:
    checks.one_of(self, path, 'schedule', MIXTURES)
    checks.positive(self, path, 'temperature', 'final_temperature')
    if (self.schedule == 'step') != (self.change_at is not None):
      raise bad(f'{path}.change_at', self.change_at, 'the schedule step needs it, no other has it')
    if self.change_at is not None and not 0 < self.change_at < 1:
      raise bad(f'{path}.change_at', self.change_at, 'it must lie in (0, 1)')
    if self.schedule != 'temperature' and (self.temperature, self.final_temperature) != (1, 1):
      raise bad(f'{path}.temperature', (self.temperature, self.final_temperature),
                'only the schedule temperature has temperatures')


@dataclasses.dataclass(frozen=True)
class DataSpec:
  """The training data: domains by name, one tokenizer, and the shape of a step."""

  VERSION: ClassVar[int] = 1
  domains: dict[str, DomainSpec] = dataclasses.field(default_factory=dict)
  tokenizer: str = 'bpe'
  vocab_size: int = 512  # V; 256 for bytes
  tokenizer_corpora: str | None = None  # bpe: what it was trained on, 'a+b'; None: all the domains
  length: int = 128  # L, predicted tokens a sequence
  batch: int = 16  # B, sequences a step
  mixture: MixtureSpec = MixtureSpec()
  # Reads the text in blocks of so many characters, one after the other, each shuffled; None: all of
  # it shuffled. Budgets of whole blocks are the same prefix of the text under any tokenizer.
  block_characters: float | None = None

  @property
  def tokens_per_step(self) -> int:
    return self.batch * self.length

  @property
  def trained_on(self) -> tuple[str, ...]:
    """The corpora whose text the tokenizer was trained on, sorted; empty for bytes and symbols."""
    if self.tokenizer != 'bpe':
      return ()
    return tuple(sorted((self.tokenizer_corpora or '+'.join(self.domains)).split('+')))

  def check(self, path: str) -> None:
    checks.one_of(self, path, 'tokenizer', TOKENIZERS)
    checks.positive(self, path, 'vocab_size', 'length', 'batch')
    if self.block_characters is not None:
      checks.positive(self, path, 'block_characters')
    if self.tokenizer == 'bytes' and self.vocab_size != 256:
      raise bad(f'{path}.vocab_size', self.vocab_size, 'the bytes tokenizer has exactly 256')
    if not self.domains:
      raise bad(f'{path}.domains', {}, 'it must name at least one corpus')
    self._check_sum(path, 'weight')
    self.mixture.check(f'{path}.mixture')
    late = [name for name, d in self.domains.items() if d.late_weight is not None]
    if self.mixture.schedule == 'step':
      for name in sorted(set(self.domains) - set(late)):
        raise bad(f'{path}.domains.{name}.late_weight', None,
                  'the mixture schedule step needs it of every domain')
      self._check_sum(path, 'late_weight')
      if all(d.weight == d.late_weight for d in self.domains.values()):
        raise bad(f'{path}.mixture.schedule', 'step',
                  'it changes nothing: every late_weight is the weight')
    elif late:
      raise bad(f'{path}.domains.{late[0]}.late_weight', self.domains[late[0]].late_weight,
                'only the mixture schedule step has it')

  def _check_sum(self, path: str, field: str) -> None:
    weights = {name: getattr(d, field) for name, d in self.domains.items()}
    total = math.fsum(weights.values())
    if abs(total - 1) > 1e-9:
      raise bad(f'{path}.domains', weights,
                f'the {field}s must sum to 1, these sum to {total:.6g}')
