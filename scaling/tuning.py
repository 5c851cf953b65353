"""How many lanes a pack of one shape should have: measured, not guessed, where it can matter.

On a CPU lanes of a device follow one another, so one lane a device is as fast as many
(docs/performance.md) and nothing is measured. On an accelerator one lane of a small model cannot
fill the chip: packs of 1, 2, 4, ... lanes a device are compiled and timed on made-up tokens until
the next doubling gains little, or does not fit. The smallest pack within `CLOSE` of the fastest
wins: its runs end sooner and it wastes less when the queue runs dry.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from scaling.train.program import Program

CLOSE = 0.95  # of the best tokens/s
GAIN = 1.05  # a doubling that gains less ends the search
SECONDS = 1.0  # of timing a pack
MEMORY = 0.9  # the share of a device's memory that a pack may take


@dataclasses.dataclass(frozen=True)
class Timing:
  """A pack of `lanes`, timed: seconds a step of all its lanes, and bytes a device."""

  lanes: int
  seconds: float
  tokens_per_second: float
  bytes: int | None


def measure(programs: Iterable[tuple[int, Callable[[], Program]]]) -> list[Timing]:
  """Times packs in the order given (lanes, how to make the program) until they stop gaining.

  A pack that runs out of memory, or would take more than `MEMORY` of it, ends the search.
  """
  found: list[Timing] = []
  for lanes, make in programs:
    try:
      program = make()
      program.compile()
      needed = program.bytes_needed()
      if needed is not None and needed > MEMORY * (memory() or float('inf')):
        break
      seconds = step_seconds(program)
    except Exception as error:  # XLA has one kind of error for all of its trouble.
      if 'RESOURCE_EXHAUSTED' not in str(error) and not isinstance(error, MemoryError):
        raise
      break
    shape = program.shape
    found.append(Timing(lanes, seconds, lanes * shape.batch * shape.length / seconds, needed))
    if len(found) > 1 and found[-1].tokens_per_second < GAIN * found[-2].tokens_per_second:
      break
  return found


def best(timings: list[Timing]) -> Timing:
  """The smallest pack that is nearly as fast as the fastest."""
  fastest = max(t.tokens_per_second for t in timings)
  return min((t for t in timings if t.tokens_per_second >= CLOSE * fastest),
             key=lambda t: t.lanes)


def step_seconds(program: Program, numbers: dict[str, float] | None = None) -> float:
  """Seconds a step of the whole pack, over a second of dispatches, compilation left out."""
  state = program.init([0] * program.lanes)
  K, R, shape = program.chunk, program.lanes, program.shape
  tokens = np.random.default_rng(0).integers(
      0, shape.vocab_size, (K, R, shape.batch, shape.length + 1), np.int32)
  hyper = {name: np.full(R, value) for name, value in (numbers or NUMBERS).items()}
  spent, steps = 0.0, 0
  for turn in range(100):
    start = time.perf_counter()
    state, metrics = program.train(state, tokens, np.full((K, R), 1e-4), hyper, np.ones(R, bool),
                                   K)
    metrics['loss'].block_until_ready()
    if turn:  # The first one warms up.
      spent, steps = spent + time.perf_counter() - start, steps + K
    if spent > SECONDS:
      break
  return spent / steps


NUMBERS: dict[str, Any] = {'b1': 0.9, 'b2': 0.95, 'eps': 1e-8, 'weight_decay': 0.1,
                           'clip_norm': 1.0}


def memory() -> int | None:
  """Bytes of one device, None where it does not say."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get('bytes_limit')
