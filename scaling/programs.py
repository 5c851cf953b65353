"""Which program trains a shape: chosen once a shape and kind of device, then reused.

WORKDIR/programs/<key>.json is created exclusively by the first worker that trains the shape, so a
resumed sweep, and every other worker, runs the same executable and gives the same bits.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from typing import Any

import jax

from scaling import accounting, files, tuning
from scaling.errors import InputError, bad
from scaling.hosts import Hosts
from scaling.specs import canonical
from scaling.train import sharding
from scaling.train.advice import recommended, spread
from scaling.train.kernels import Kernels
from scaling.train.program import Program
from scaling.train.shape import Shape
from scaling.train.sharding import ANY, Axes
from scaling.train.shared import SharedProgram

# A dispatch is at most this much work, so that a signal is answered within about a second on the
# slowest device this is meant for, and at most MAX_CHUNK steps.
CHUNK_FLOPS = {'cpu': 2e10}
MAX_CHUNK = 64
DISPATCH_SECONDS = 0.25  # of a measured pack: long against the host's part, short for a signal

# Dense matrix-product peaks by device kind, FLOP/s, bfloat16 (the makers' data sheets).
PEAKS = {
    'NVIDIA A100': 312e12, 'NVIDIA H100': 989e12, 'NVIDIA H200': 989e12,
    'TPU v4': 275e12, 'TPU v5 lite': 197e12, 'TPU v5p': 459e12, 'TPU v6 lite': 918e12,
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a program is compiled for, beside its shape."""

  lanes: int
  chunk: int
  accumulation: int = 1
  run: int = 1  # mesh axes
  data: int = 1
  fsdp: int = 1
  tensor: int = 1
  attention: str = 'xla'  # Kernels
  logits_tokens: int | None = None

  @property
  def kernels(self) -> Kernels:
    return Kernels(self.attention, self.logits_tokens)

  @property
  def axes(self) -> Axes:
    return Axes(self.run, self.data, self.fsdp, self.tensor)


def key(shape: Shape, device_kind: str) -> str:
  """Names a shape on a kind of device."""
  described = {'model': canonical(shape.model), 'vocab_size': shape.vocab_size,
               'length': shape.length, 'batch': shape.batch, 'optimizer': shape.optimizer,
               **({'sparse': True} if shape.sparse else {})}
  text = files.to_json([described, device_kind])
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_path(workdir: str, shape: Shape) -> str:
  """The record of a shape on this machine's devices."""
  return f'{workdir}/programs/{key(shape, jax.devices()[0].device_kind)}.json'


def settle(workdir: str, shape: Shape, members: int, lanes: int | None = None,
           accumulation: int | None = None, axes: Axes = ANY) -> tuple[Settings, dict[str, Any]]:
  """The recorded settings of a shape on this machine's devices, recording them if there are none.

  `members` (the study's runs of the shape), `lanes`, `accumulation` and `axes` count only for a
  shape that has no record yet. Returns the settings and the whole record. Raises InputError when
  the recorded mesh does not fit the devices, or the recorded kernels fail there.
  """
  device = jax.devices()[0]
  path = record_path(workdir, shape)
  if not files.exists(path):
    settings = choose(shape, members, lanes, accumulation, axes)
    build(shape, settings)  # Refuses what cannot be before it is recorded.
    timings: list[tuning.Timing] = []
    if lanes is None and device.platform != 'cpu' and jax.process_count() == 1:
      settings, timings = measured(shape, members, accumulation, axes)
    files.make_folder(f'{workdir}/programs')
    files.create(path, files.to_json({
        'settings': dataclasses.asdict(settings), 'device_kind': device.device_kind,
        'shape': {'model': canonical(shape.model), 'vocab_size': shape.vocab_size,
                  'length': shape.length, 'batch': shape.batch},
        'measured': [dataclasses.asdict(timing) for timing in timings],
        'versions': versions()}) + '\n')
  try:
    record = files.read_json(path)
    settings = Settings(**record['settings'])
    kernels = settings.kernels
  except (ValueError, TypeError, KeyError) as error:
    raise InputError(f'{path}: cannot be read ({error}); remove it to choose anew') from None
  used, count = settings.run * settings.axes.lane, jax.device_count()
  if used > count or (used < count and jax.process_count() > 1):
    raise bad(path, str(settings.axes), f'there are {count} devices; give --cpu_devices on a CPU, '
              'or remove the file to choose anew: curves then differ from those before in rounding')
  kernels.check(shape.model, shape.length, device, path)
  return settings, record


def choose(shape: Shape, members: int, lanes: int | None = None, accumulation: int | None = None,
           axes: Axes = ANY) -> Settings:
  """Settings for a shape that has not been trained here before.

  Lanes are spread over the devices of the mesh axis `run`, so that each CPU core, or each chip,
  trains its own without communication. By default a CPU has one a device (its lanes follow one
  another, and an ended one is refilled), an accelerator as many as `advice.recommended` says, and
  neither more than there are runs of the shape; accumulation is as recommended. Where the mesh is
  of several processes, each has a part in it, so there are as many lanes as that takes.
  """
  axes.check(jax.device_count())
  several = jax.process_count() > 1
  if axes == ANY:
    axes = spread(shape, members, jax.devices(), tuning.memory(), several)
  devices = jax.device_count() // axes.lane
  advice = recommended(shape, members, jax.devices()[:devices])
  cpu = jax.devices()[0].platform == 'cpu'
  wanted = lanes or (min(devices, members) if cpu else advice.lanes)
  parts = accumulation or (advice.accumulation if axes.lane == 1 else 1)
  if several or axes.run is not None:
    run = devices
    wanted = lanes or run * math.ceil(wanted / run)
    if wanted % run:
      raise bad('--pack', wanted, f'the run axis of the mesh, {run}, must divide it')
  else:
    run = max(r for r in range(1, devices + 1) if wanted % r == 0)
  flops = wanted * shape.batch * shape.length * accounting.counted_flops(
      shape.model, shape.vocab_size, shape.length)
  limit = CHUNK_FLOPS.get(jax.devices()[0].platform, 1e14)
  chunk = max(1, min(MAX_CHUNK, int(limit / flops)))
  kernels = Kernels.of(shape.model, shape.vocab_size, shape.length, wanted // run, jax.devices()[0])
  return Settings(wanted, chunk, parts, run, axes.data, axes.fsdp, axes.tensor,
                  **dataclasses.asdict(kernels))


def measured(shape: Shape, members: int, accumulation: int | None = None, axes: Axes = ANY,
             ) -> tuple[Settings, list[tuning.Timing]]:
  """The settings of the best pack of 1, 2, 4, ... lanes a device, and what was timed for it.

  K is set from the measured step: the largest power of two of steps that take DISPATCH_SECONDS.
  """
  axes.check(jax.device_count())
  if axes == ANY:
    axes = spread(shape, members, jax.devices(), tuning.memory())
  devices = jax.device_count() // axes.lane
  most = devices
  sizes = [devices]
  while most < members:
    most *= 2
    sizes.append(most)
  known = {size: choose(shape, members, size, accumulation, axes) for size in sizes}
  timings = tuning.measure((size, functools.partial(build, shape, known[size])) for size in sizes)
  if not timings:
    return choose(shape, members, devices, accumulation, axes), []
  found = tuning.best(timings)
  chunk = 2**int(math.log2(max(DISPATCH_SECONDS / found.seconds, 1)))
  return dataclasses.replace(known[found.lanes], chunk=min(chunk, MAX_CHUNK)), timings


def build(shape: Shape, settings: Settings, hosts: Hosts | None = None) -> Program:
  """The program of a shape, not compiled yet; of all `hosts` together if there are several."""
  mesh = sharding.mesh(settings.run, settings.data, settings.fsdp, settings.tensor)
  arguments = (shape, settings.lanes, settings.chunk, settings.accumulation, mesh,
               settings.kernels)
  if hosts is None:
    return Program(*arguments)
  name = key(shape, '')
  if hosts.leads:
    hosts.tell('program', name=name, settings=dataclasses.asdict(settings))
  return SharedProgram(hosts, name, *arguments)


def versions() -> dict[str, str]:
  return {'jax': jax.__version__, 'jaxlib': jax.lib.__version__}


def peak() -> float | None:
  """FLOP/s of all devices in bfloat16 matrix products, None where it is not known."""
  kind = jax.devices()[0].device_kind
  one = next((value for name, value in PEAKS.items() if kind.startswith(name)), None)
  return one * jax.device_count() if one else None
