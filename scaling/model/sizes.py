"""A ladder of model shapes: from a target parameter count to a shape, a batch, a learning rate.

The target N counts every parameter but the token embedding and the head (non-embedding), so that a
shape does not move when the vocabulary does. Rules after Porian et al. 2024 (arXiv 2406.19146):

  learning rate = peak_lr      * (N / N0) ** (-1/3)
  batch, tokens = batch_tokens * (N / N0) ** (+2/3)

The paper's constants are for runs of about 20 tokens a parameter at 100M parameters and 2,048 x 160
tokens a step. A grid at CPU scale trains every size on every budget, and there too large a batch
erases the scaling law: with 2,048 tokens a step an 83k model is worse than a 6k one at 410k tokens
(200 updates), with 512 the loss falls in N and in D everywhere. So `CPU` stays at 512 tokens up to
200k parameters; its learning rates pass through the best of a small trial (1e-2 at 6k, 6e-3 at
37k, 5e-3 at 83k, within 20 %).

Shape. Depth follows layers = sqrt(width) / 2, which gives 2 layers at width 16, 14 at 800, and 32
at 4,096, as common models have; then N is about 6 width ** 2.5.
"""

from __future__ import annotations

import dataclasses
import functools
import math

from scaling import accounting
from scaling.errors import bad
from scaling.specs import ModelSpec


@dataclasses.dataclass(frozen=True)
class Ladder:
  """The constants of the rules; every one can be set as --config.ladder.<name>."""

  reference: float = 200_000.0  # N0, non-embedding parameters
  peak_lr: float = 3.1e-3  # at N0
  lr_exponent: float = -1 / 3
  batch_tokens: float = 512.0  # a step, at N0
  batch_exponent: float = 2 / 3
  smallest_batch_tokens: float = 512.0

  def __post_init__(self) -> None:
    for name in ('reference', 'peak_lr', 'batch_tokens', 'smallest_batch_tokens'):
      value = getattr(self, name)
      if not 0 < value < math.inf:
        raise bad(f'config.ladder.{name}', value, 'it must be positive')
    for name in ('lr_exponent', 'batch_exponent'):
      if not math.isfinite(getattr(self, name)):
        raise bad(f'config.ladder.{name}', getattr(self, name), 'it must be finite')

  def learning_rate(self, parameters: float) -> float:
    """Peak learning rate for N non-embedding parameters, to three digits."""
    value = self.peak_lr * (parameters / self.reference) ** self.lr_exponent
    return float(f'{value:.3g}')

  def batch(self, parameters: float, length: int) -> int:
    """Sequences of `length` tokens a step: the nearest power of two in the log, so few shapes."""
    tokens = self.batch_tokens * (parameters / self.reference) ** self.batch_exponent
    tokens = max(tokens, self.smallest_batch_tokens)
    return 2 ** max(0, round(math.log2(tokens / length)))


DEFAULT_MODEL = ModelSpec()
CPU = Ladder()
PORIAN = Ladder(reference=108e6, peak_lr=4.7e-3, batch_tokens=160 * 2048)


@functools.lru_cache(maxsize=4096)
def shape(target: float, base: ModelSpec = DEFAULT_MODEL) -> ModelSpec:
  """`base` with layers, width and heads for about `target` non-embedding parameters.

  Width is a multiple of 8 (of 64 above 512, of 128 above 1,024), the head size even and a divisor
  of it; a feed-forward width set in `base` is kept. Raises InputError where the nearest shape is
  off by more than a third: there is none that small, or the feed-forward width forbids it.
  """
  if not (isinstance(target, int | float) and 0 < target < math.inf):
    raise bad('config.size', target, 'it must be a positive number of parameters')
  best, count, cost = base, 0, math.inf
  for width in _widths(target):
    model = dataclasses.replace(base, width=width, heads=_heads(width), layers=1)
    layer = accounting.non_embedding(model) - width
    for layers in {max(1, math.floor(target / layer)), math.ceil(target / layer)}:
      model = dataclasses.replace(model, layers=layers)
      parameters = accounting.non_embedding(model)
      off = abs(math.log(parameters / target)) + abs(math.log(2 * layers / math.sqrt(width))) / 4
      if off < cost:
        best, count, cost = model, parameters, off
  if not 2 / 3 < count / target < 3 / 2:
    raise bad('config.size', target, 'no shape has about that many non-embedding parameters; the '
              f'nearest has {count:,}')
  return best


def _widths(target: float) -> list[int]:
  """Widths around the ideal one, finer where models are small."""
  ideal = (target / 6) ** 0.4
  step = 8 if ideal <= 512 else 64 if ideal <= 1024 else 128
  low = max(1, math.floor(ideal / 2 / step))
  return [step * i for i in range(low, math.ceil(2 * ideal / step) + 1)]


def _heads(width: int) -> int:
  """Heads of the even size nearest to 8 (width 16) ... 128 (width 4,096), as common models have."""
  wanted = 8 if width < 32 else 16 if width < 128 else 32 if width < 512 else 64
  wanted = wanted if width < 2048 else 128
  if width % wanted == 0:
    return width // wanted
  fitting = [h for h in range(1, width // 2 + 1) if width % (2 * h) == 0]
  return min(fitting, key=lambda h: (abs(math.log(width / h / wanted)), h))
