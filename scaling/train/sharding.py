"""Meshes, and how packs and parameters lie on them: the rules of every array, in one place.

The axes are (run, data, fsdp, tensor). Lanes are split over `run` and never communicate. The
sequences of a batch are split over `data` and `fsdp`. Parameters, gradients and the optimizer's
moments are split over `fsdp`, and gathered where they are used (Rajbhandari et al. 2020, stage 3);
over `tensor` attention is split by heads and the feed-forward block by its hidden units (Shoeybi et
al. 2019), and what is not split there is stored in parts all the same. docs/mesh.md has examples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.errors import bad

AXES = ('run', 'data', 'fsdp', 'tensor')
BATCH = ('data', 'fsdp')  # the axes over which sequences are split

LANES = P('run')  # hyper [R], active [R], and the state of a pack whose lanes have a device each
STEPS = P(None, 'run')  # lr and metrics [K, R]
BATCHES = P(None, 'run', BATCH)  # tokens [K, R, B, L + 1]
WINDOWS = P(BATCH)  # evaluation windows [W, L + 1]
WINDOW_LOSSES = P('run', BATCH)  # [R, W]
ALL = P()

# What the dimensions of a parameter are, by the end of its name.
LOGICAL: dict[str, tuple[str, ...]] = {
    'embedding': ('vocab', 'embed'),
    'head': ('embed', 'vocab'),
    'attention.qkv': ('embed', 'qkv'),
    'attention.out': ('heads', 'embed'),
    'feed_forward.up': ('embed', 'up'),
    'feed_forward.down': ('hidden', 'embed'),
    'q_norm.scale': ('head_size',),
    'k_norm.scale': ('head_size',),
    'norm.scale': ('embed',),
}

# The mesh axes that a dimension is stored over. The first rule that wants an axis has it: of a
# parameter that has heads, `embed` gets `fsdp` alone.
RULES: dict[str, tuple[str, ...]] = {
    'heads': ('tensor',),
    'hidden': ('tensor',),
    'embed': ('fsdp', 'tensor'),
}


def logical(name: str) -> tuple[str, ...]:
  """What the dimensions of a parameter are; raises KeyError for one that LOGICAL does not know."""
  for end, axes in LOGICAL.items():
    if name == end or name.endswith((f'.{end}', f'_{end}')):
      return axes
  raise KeyError(f'{name}: scaling/train/sharding.py does not say how it lies on a mesh')


def stored(name: str) -> tuple[tuple[str, ...], ...]:
  """The mesh axes of every dimension of a parameter, by RULES."""
  axes = logical(name)
  found: dict[str, tuple[str, ...]] = {}
  for rule, wanted in RULES.items():
    if rule in axes:
      taken = {axis for had in found.values() for axis in had}
      found[rule] = tuple(axis for axis in wanted if axis not in taken)
  return tuple(found.get(axis, ()) for axis in axes)


def lane_specs(lane: Any, mesh: Mesh) -> Any:
  """PartitionSpecs of a lane's state: a leaf keyed by a parameter's name lies as that does."""
  if mesh.shape['fsdp'] == mesh.shape['tensor'] == 1:
    return jax.tree.map(lambda _: ALL, lane)

  def spec(path: tuple[Any, ...], leaf: Any) -> P:
    name = getattr(path[-1], 'key', None)
    return P(*(axes or None for axes in stored(name))) if name and leaf.ndim else ALL

  return jax.tree_util.tree_map_with_path(spec, lane)


def pack_specs(lane: Any, mesh: Mesh) -> Any:
  """PartitionSpecs of a pack's state, the leading axis R over `run`."""
  return jax.tree.map(lambda spec: P('run', *spec), lane_specs(lane, mesh),
                      is_leaf=lambda leaf: isinstance(leaf, P))


@dataclasses.dataclass(frozen=True)
class Axes:
  """The sizes of a mesh that was asked for; run None: whatever the lanes and devices allow."""

  run: int | None = None
  data: int = 1
  fsdp: int = 1
  tensor: int = 1

  @classmethod
  def parse(cls, text: str, flag: str = '--mesh') -> Axes:
    """Of 'data=2,fsdp=4'. Raises InputError, naming the flag."""
    sizes: dict[str, int] = {}
    for part in filter(None, text.split(',')):
      name, _, size = part.strip().partition('=')
      if name not in AXES or name in sizes or not size.isdecimal() or int(size) < 1:
        raise bad(flag, text, 'it is written as run=2,data=1,fsdp=4,tensor=1, any of them')
      sizes[name] = int(size)
    return cls(**sizes)

  @property
  def lane(self) -> int:
    """Devices that share a lane."""
    return self.data * self.fsdp * self.tensor

  def check(self, devices: int, flag: str = '--mesh') -> None:
    """Raises InputError unless a whole number of lanes' devices makes up all that there are."""
    size = self.lane * (self.run or 1)
    if devices % size or (self.run is not None and size != devices):
      sizes = ' * '.join(f'{name} {getattr(self, name)}' for name in AXES if getattr(self, name))
      raise bad(flag, str(self), f'{sizes} = {size} must '
                f'{"divide" if self.run is None else "be"} the number of devices, {devices}')

  def __str__(self) -> str:
    return ','.join(f'{name}={getattr(self, name)}' for name in AXES
                    if getattr(self, name) not in (None, 1)) or 'run=1'


ANY = Axes()


def mesh(run: int = 1, data: int = 1, fsdp: int = 1, tensor: int = 1,
         devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh of the product of these devices: the first ones there are, unless `devices` are given.

  Its axes are Auto: programs say themselves what each device does (jax.shard_map), and what they
  do not say, such as loading a lane, the compiler may choose. Raises InputError when there are too
  few devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = (run, data, fsdp, tensor)
  if min(sizes) < 1 or math.prod(sizes) > len(devices):
    raise bad('mesh', ', '.join(f'{a}={n}' for a, n in zip(AXES, sizes, strict=True)),
              f'the product must lie in [1, {len(devices)}], the number of devices')
  return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES),
                       devices=devices[:math.prod(sizes)])


def single(device: jax.Device | None = None) -> Mesh:
  """The mesh of one device."""
  return mesh(devices=[device or jax.devices()[0]])


def named(mesh: Mesh, spec: P) -> NamedSharding:
  return NamedSharding(mesh, spec)
