"""The shape of a model."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from scaling.errors import bad
from scaling.specs import checks

ACTIVATIONS = ('swiglu', 'gelu')
DTYPES = ('float32', 'bfloat16', 'float64')
LINEARS = ('dense', 'low_rank', 'sltrain')


@dataclasses.dataclass(frozen=True)
class ModelSpec:
  """A decoder-only Transformer: RMSNorm, rotary positions, pre-norm blocks, no biases."""

  VERSION: ClassVar[int] = 1
  layers: int = 2  # N
  width: int = 64  # D
  heads: int = 2  # H; the head size K is width / heads, even because rotations turn pairs
  feed_forward: int | None = None  # F; None: 4 D for gelu, 8/3 D up to a multiple of 8 for swiglu
  activation: str = 'swiglu'
  qk_norm: bool = False
  tied_embeddings: bool = True
  rope_base: float = 10_000.0
  dtype: str = 'float32'  # of the activations; parameters are float32 (float64 under float64)
  linear: str = 'dense'  # the blocks' matrices: W; (alpha / rank) A B; or the same + a sparse S
  rank: int | None = None  # low_rank, sltrain: of A B
  alpha: float | None = None  # low_rank, sltrain; None: the rank, so that the factor is 1
  support: float | None = None  # sltrain: the share of W where S is not zero, random and fixed

  @property
  def head_size(self) -> int:  # K
    return self.width // self.heads

  @property
  def hidden(self) -> int:
    """F, the rule for None applied."""
    if self.feed_forward is not None:
      return self.feed_forward
    if self.activation == 'gelu':
      return 4 * self.width
    return 8 * math.ceil(self.width / 3)

  def check(self, path: str) -> None:
    checks.positive(self, path, 'layers', 'width', 'heads', 'rope_base')
    if self.feed_forward is not None:
      checks.positive(self, path, 'feed_forward')
    checks.one_of(self, path, 'activation', ACTIVATIONS)
    checks.one_of(self, path, 'dtype', DTYPES)
    if self.width % (2 * self.heads):
      raise bad(f'{path}.heads', self.heads,
                f'2 * heads must divide width = {self.width} (rotary positions turn pairs)')
    self._check_linear(path)

  def _check_linear(self, path: str) -> None:
    checks.one_of(self, path, 'linear', LINEARS)
    for name in ('rank', 'alpha', 'support'):
      value = getattr(self, name)
      if value is not None and self.linear not in (
          ('sltrain',) if name == 'support' else LINEARS[1:]):
        raise bad(f'{path}.{name}', value, f'linear = {self.linear} has none')
    if self.linear == 'dense':
      return
    if self.rank is None or not 0 < self.rank <= min(self.width, self.hidden):
      raise bad(f'{path}.rank', self.rank, f'linear = {self.linear} needs it, in '
                f'[1, {min(self.width, self.hidden)}]')
    if self.alpha is not None:
      checks.positive(self, path, 'alpha')
    if self.linear == 'sltrain' and (self.support is None or not 0 < self.support < 1):
      raise bad(f'{path}.support', self.support, 'linear = sltrain needs it, in (0, 1)')
