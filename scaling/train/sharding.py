"""Meshes, and how a pack lies on one.

The axes are (run, data, fsdp, tensor): lanes are split over `run` and never communicate, the
sequences of a batch over `data`, where gradients are summed. `fsdp` and `tensor` are there for
programs whose parameters outgrow a device, and have size 1 until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.errors import bad

AXES = ('run', 'data', 'fsdp', 'tensor')

LANES = P('run')  # state leaves [R, ...], hyper [R], active [R]
STEPS = P(None, 'run')  # lr and metrics [K, R]
BATCHES = P(None, 'run', 'data')  # tokens [K, R, B, L + 1]
WINDOWS = P('data')  # evaluation windows [W, L + 1]
WINDOW_LOSSES = P('run', 'data')  # [R, W]
ALL = P()


def mesh(run: int = 1, data: int = 1, fsdp: int = 1, tensor: int = 1,
         devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh of run * data devices: the first ones there are, unless `devices` are given.

  Raises InputError when there are too few, or for fsdp or tensor above 1.
  """
  for name, size in (('fsdp', fsdp), ('tensor', tensor)):
    if size != 1:
      raise bad(f'mesh.{name}', size, 'it must be 1: parameters are not split over devices')
  devices = list(jax.devices() if devices is None else devices)
  if not 1 <= run * data <= len(devices):
    raise bad('mesh', f'run={run}, data={data}', f'run * data must lie in [1, {len(devices)}]')
  return jax.make_mesh((run, data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * len(AXES),
                       devices=devices[:run * data])


def single(device: jax.Device | None = None) -> Mesh:
  """The mesh of one device."""
  return mesh(devices=[device or jax.devices()[0]])


def named(mesh: Mesh, spec: P) -> NamedSharding:
  return NamedSharding(mesh, spec)
