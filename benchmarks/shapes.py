"""What the benchmarks of training share: the shapes, and the conditions of a measurement."""

from __future__ import annotations

import dataclasses
import os
import platform

from scaling.specs import ModelSpec


@dataclasses.dataclass(frozen=True)
class Case:
  """A model, its vocabulary V, and a lane's step: `batch` sequences of `length` tokens."""

  model: ModelSpec
  vocabulary: int = 512
  length: int = 128
  batch: int = 16


SHAPES = {
    '40k': Case(ModelSpec(layers=2, width=32, heads=2)),
    '250k': Case(ModelSpec(layers=4, width=64, heads=2)),
    '1M': Case(ModelSpec(layers=5, width=128, heads=4)),
    '3M': Case(ModelSpec(layers=6, width=192, heads=6)),
    '10M': Case(ModelSpec(layers=8, width=320, heads=5)),
    '30M': Case(ModelSpec(layers=10, width=512, heads=8)),
    # GPT-2's vocabulary, padded to a multiple of 128.
    '124M': Case(ModelSpec(layers=12, width=768, heads=12, activation='gelu'), 50_304, 1024, 32),
    '350M': Case(ModelSpec(layers=24, width=1024, heads=16, activation='gelu'), 50_304, 1024, 16),
}
ON_CPU = ('40k', '250k', '1M')


def cores() -> int:
  """Those that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def conditions() -> str:
  """The machine of a measurement and how busy it is, on one line."""
  name = platform.processor() or platform.machine()
  try:
    with open('/proc/cpuinfo') as file:
      name = next((line.split(':', 1)[1].strip() for line in file
                   if line.startswith('model name')), name)
  except OSError:
    pass
  load = f'{os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else 'unknown'
  return f'{cores()} cores of {name}, load average {load}'
