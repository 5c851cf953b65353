"""Advice: lanes, mesh and accumulation for a queue of one shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from scaling import accounting
from scaling.errors import bad
from scaling.train.shape import Shape
from scaling.train.sharding import Axes

# Parameters, two moments and gradients, in float32, and the share of a device's memory they may
# take; the rest is for activations. Not measured on an accelerator yet.
STATE_BYTES, STATE_SHARE = 16, 0.5


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


def spread(shape: Shape, members: int, devices: Sequence[jax.Device], memory: int | None,
           several: bool = False) -> Axes:
  """The devices a lane is split over when nothing is asked for; `memory`: bytes of a device.

  As few as hold its state (`fsdp`); what `members` lanes then leave idle shares their batches
  (`data`). A CPU keeps a device a lane, unless `several` processes make up the mesh.
  """
  count, fsdp = len(devices), 1
  if devices[0].platform == 'cpu' and not several:
    return Axes()
  state = STATE_BYTES * accounting.parameters(shape.model, shape.vocab_size)
  while (memory is not None and state > fsdp * STATE_SHARE * memory and count % (2 * fsdp) == 0
         and shape.model.width % (2 * fsdp) == 0 and shape.batch % (2 * fsdp) == 0):
    fsdp *= 2
  left = count // fsdp
  data = max(d for d in range(1, left + 1) if left % d == 0 and shape.batch % (d * fsdp) == 0
             and (d == 1 or left // d >= members))
  return Axes(data=data, fsdp=fsdp)
