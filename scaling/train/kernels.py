"""How a device computes a lane's step: attention, logits, the precision of products.

The choice is part of what determines a program (scaling/programs.py records it): two choices agree
to rounding only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from typing import Any

import jax

from scaling.errors import InputError, bad
from scaling.model import flash
from scaling.model.attention import Attend, causal
from scaling.specs import ModelSpec

ATTENTION = ('xla', 'cudnn')

# Logits, in at least float32, of more than this share of a device's memory are never held at once.
# With their gradient and the wide copy of narrow ones they may take three times as much.
LOGITS_SHARE = 1 / 16
UNKNOWN_MEMORY = 16 * 2**30  # of a device that does not say


@dataclasses.dataclass(frozen=True)
class Kernels:
  """What may differ between devices in one step; the defaults are those of a CPU."""

  attention: str = 'xla'
  logits_tokens: int | None = None  # whose logits a lane holds at once, at most; None: all

  def __post_init__(self) -> None:
    if self.attention not in ATTENTION:
      raise bad('attention', self.attention, f'allowed are {", ".join(ATTENTION)}')
    if self.logits_tokens is not None and self.logits_tokens < 1:
      raise bad('logits_tokens', self.logits_tokens, 'it must be >= 1')

  @classmethod
  def of(cls, model: ModelSpec, vocab_size: int, length: int, lanes: int,
         device: jax.Device) -> Kernels:
    """Those for a device that trains `lanes` lanes at a time.

    A CPU and a TPU use the XLA form of attention. A GPU uses cuDNN's where it takes the model's
    heads and passes its test; where it fails, a warning says why. Logits are limited to
    LOGITS_SHARE of the memory, on a CPU not at all (docs/performance.md).
    """
    if device.platform == 'cpu':
      return cls()
    name = 'xla'
    if device.platform == 'gpu' and flash.fits(model):
      wrong = flash.fault(model, length, device)
      if wrong is None:
        name = 'cudnn'
      else:
        warnings.warn(f'cuDNN attention is not used for heads of {model.head_size}: its test fails '
                      f'({wrong})', stacklevel=2)
    memory = (device.memory_stats() or {}).get('bytes_limit') or UNKNOWN_MEMORY
    token_bytes = lanes * vocab_size * (8 if model.dtype == 'float64' else 4)
    return cls(name, max(1, int(LOGITS_SHARE * memory) // token_bytes))

  @property
  def attend(self) -> Attend:
    return flash.cudnn() if self.attention == 'cudnn' else causal

  def check(self, model: ModelSpec, length: int, device: jax.Device, path: str) -> None:
    """Raises InputError when these, which the file `path` records, do not work on a device."""
    if self.attention != 'cudnn':
      return
    wrong = flash.fault(model, length, device)
    if wrong is not None:
      raise InputError(f'{path}: it records cuDNN attention, whose test fails now ({wrong}); '
                       'remove it to choose anew: curves then differ from those before in rounding')


def precision(model: ModelSpec, platform: str) -> contextlib.AbstractContextManager[Any]:
  """float32 models multiply in float32: off the CPU, jax's default is TF32 or bfloat16.

  A context for tracing. On a CPU it changes nothing: float32 is what a CPU multiplies in.
  """
  if platform == 'cpu' or model.dtype == 'bfloat16':
    return contextlib.nullcontext()
  return jax.default_matmul_precision('highest')
