"""Advice: lanes, mesh and accumulation for a queue of one shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from scaling.errors import bad
from scaling.train.shape import Shape


class Recommendation(NamedTuple):
  """How to train a queue of one shape: the arguments of Program and of sharding.mesh."""

  lanes: int
  run: int
  data: int
  accumulation: int


def recommended(shape: Shape, queue_length: int, devices: Sequence[jax.Device]) -> Recommendation:
  """Lanes, mesh and accumulation for `queue_length` runs of one shape on these devices.

  CPU: a device a core (jax_num_cpu_devices, before JAX starts), every device its own lanes: at 40k,
  250k and 1M parameters 1.2, 1.3 and 1.1 times one device that splits each operation over both
  cores (batch 16), 1.5, 1.6 and 1.2 times at batch 4. At most 4 lanes a device: they follow one
  another, so more only make the pack longer. Parts of about 512 tokens, whose activations stay in
  the second-level cache: 1.03 to 1.3 times the whole batch of 16 at once.

  Elsewhere: enough lanes that the pack steps 65,536 tokens, a rule that is not measured yet.
  """
  if queue_length < 1:
    raise bad('queue_length', queue_length, 'it must be >= 1')
  run = min(len(devices), queue_length)
  share = math.ceil(queue_length / run)
  if devices[0].platform == 'cpu':
    part = next(b for b in range(1, shape.batch + 1)
                if shape.batch % b == 0 and (b * shape.length >= 512 or b == shape.batch))
    return Recommendation(run * min(share, 4), run, 1, shape.batch // part)
  fill = max(1, 65_536 // (shape.batch * shape.length))
  return Recommendation(run * min(share, fill), run, 1, 1)
