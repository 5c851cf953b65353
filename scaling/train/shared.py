"""A program over the devices of several processes: the leader's calls, and every process's part.

The leader uses it as any other program. Every method tells the others first, who call the method
of the same name with what they have: nothing where the leader has arrays, since those reach each
device through `_spread`. Results that the leader looks at are made whole on every process.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import PartitionSpec as P

from scaling.data.feed import Feed
from scaling.errors import bad
from scaling.hosts import Hosts
from scaling.train import checkpoint, sharding
from scaling.train.batches import Batches
from scaling.train.lanes import Lane
from scaling.train.program import Program
from scaling.train.state import PackState

# place in the pack, data, 0-based step, sequences drawn
Read = tuple[int, Feed, int, tuple[int, ...]]


class Together:
  """A jitted function that no process runs with arguments of a new kind before all have compiled.
  """

  def __init__(self, hosts: Hosts, function: Any):
    self._hosts, self._function = hosts, function
    self._compiled: dict[Any, Any] = {}

  def __call__(self, *arguments: Any) -> Any:
    leaves, form = jax.tree.flatten(arguments)
    kind = form, tuple((leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves)
    if kind not in self._compiled:
      self._compiled[kind] = self._function.lower(*arguments).compile()
      self._hosts.meet()
    return self._compiled[kind](*arguments)


class SharedProgram(Program):
  """A Program of `hosts`; `name` tells it from the others."""

  def __init__(self, hosts: Hosts, name: str, *arguments: Any):
    super().__init__(*arguments)
    if self.shape.sparse:
      raise bad('--hosts', hosts.count, 'sparse runs are trained by one process each')
    self._hosts, self._name = hosts, name
    self._compiled_before = False
    self._joined: dict[int, Together] = {}
    self._summed: dict[Any, Together] = {}

  def _tell(self, call: str, **values: Any) -> None:
    if self._hosts.leads:
      self._hosts.tell(call, program=self._name, **values)

  def compile(self) -> float:
    if self._compiled_before:
      return 0.0
    self._compiled_before = True
    self._tell('compile')
    start = time.perf_counter()
    super().compile()
    self._hosts.meet()
    return time.perf_counter() - start

  # State.

  def stack(self, lanes: Sequence[PackState] = ()) -> PackState:
    """A pack of one lane, R times."""
    self._tell('stack')
    return self._tile(self._spread_lane(lanes[0] if lanes else None))

  def load(self, pack: PackState, i: int, lane: PackState | None) -> PackState:
    self._tell('load', i=i)
    lane = self._spread_lane(lane)
    # Waited for, so that the leader, who may fill any number of lanes, is one call ahead at most.
    return jax.block_until_ready(self._replace(pack, self._put(np.int32(i), sharding.ALL), lane))

  def diverged(self, pack: PackState) -> np.ndarray:
    self._tell('diverged')
    return jax.device_get(self._everywhere(pack.diverged))

  def selected(self, pack: PackState, places: Sequence[int]) -> tuple[Any, Sequence[int]]:
    return pack, places  # What other processes hold cannot be cut here.

  def write(self, path: str, state: Any) -> None:
    self._tell('write', path=path)
    checkpoint.write(path, state)

  # Training and evaluation.

  def train(self, pack: PackState, tokens: np.ndarray | Array, lr: np.ndarray,
            hyper: Mapping[str, np.ndarray], active: np.ndarray, n: int,
            ) -> tuple[PackState, dict[str, Array]]:
    self._tell('train', lr=np.asarray(lr).tolist(), active=np.asarray(active).tolist(), n=int(n),
               hyper={name: np.asarray(value).tolist() for name, value in hyper.items()})
    pack, metrics = super().train(pack, tokens, lr, hyper, active, n)
    return pack, self._everywhere(metrics)

  def evaluate(self, pack: PackState, windows: np.ndarray) -> Array:
    partial = [bool((part < 0).any()) for part in self._blocks(windows)]
    self._tell('evaluate', count=len(windows), partial=partial)
    return self._evaluated(pack, self._blocks(windows), partial, len(windows))

  def evaluate_told(self, pack: PackState, count: int, partial: Sequence[bool]) -> None:
    """The part of a process that has no windows: which executables is all that it must know."""
    empty = np.zeros((self._window_block, self.shape.length + 1), np.int32)
    self._evaluated(pack, [empty] * len(partial), partial, count)

  def _blocks(self, windows: np.ndarray) -> list[np.ndarray]:
    block = self._window_block
    padded = np.zeros((-(-len(windows) // block) * block, windows.shape[1]), np.int32)
    padded[:len(windows)] = windows
    return np.split(padded, range(block, len(padded), block))

  def _evaluated(self, pack: PackState, blocks: Sequence[np.ndarray], partial: Sequence[bool],
                 count: int) -> Array:
    if count not in self._joined:
      self._joined[count] = Together(self._hosts, jax.jit(
          lambda parts: jnp.concatenate(parts, axis=1)[:, :count],
          out_shardings=sharding.named(self.mesh, sharding.ALL)))
    return self._joined[count](tuple(
        (self._evaluate_partial if ends_early else self._evaluate)(
            pack.params, self._spread(block, sharding.WINDOWS))
        for block, ends_early in zip(blocks, partial, strict=True)))

  @functools.cached_property
  def _evaluate_partial(self) -> Any:
    made = super()._evaluate_partial
    self._hosts.meet()
    return made

  def gather(self, lanes: Sequence[tuple[int, Lane]], n: int) -> Array:
    """The next n steps of the lanes, which are advanced; every process reads its share."""
    self._tell('gather', n=n, lanes=[
        (i, lane.run.run_id, lane.step, lane.drawn, lane.start) for i, lane in lanes])
    tokens, drawn = self.share([(i, lane.feed, lane.step, lane.drawn) for i, lane in lanes], n)
    for (_, lane), after in zip(lanes, drawn, strict=True):
      lane.drawn = after
    return tokens

  def share(self, lanes: Sequence[Read], n: int) -> tuple[Array, list[tuple[int, ...]]]:
    """int32 [K, R, B, L + 1] of which this process reads the lanes and rows of its own devices,
    and `drawn` of the lanes after these steps."""
    shape = (self.chunk, self.lanes, self.shape.batch, self.shape.length + 1)
    placed = sharding.named(self.mesh, sharding.BATCHES)
    blocks: dict[tuple[int, ...], np.ndarray] = {}
    drawn = {i: feed.take(step, n, before, slice(0, 0))[1] for i, feed, step, before in lanes}

    def block(index: Any) -> np.ndarray:
      (r0, r1, _), (b0, b1, _) = (index[d].indices(shape[d]) for d in (1, 2))
      if (r0, r1, b0, b1) not in blocks:
        tokens = np.zeros((shape[0], r1 - r0, b1 - b0, shape[3]), np.int32)
        for i, feed, step, before in lanes:
          if r0 <= i < r1:
            tokens[:n, i - r0] = feed.take(step, n, before, slice(b0, b1))[0]
        blocks[r0, r1, b0, b1] = tokens
      return blocks[r0, r1, b0, b1]

    tokens = jax.make_array_from_callback(shape, placed, block)
    return tokens, [drawn[i] for i, *_ in lanes]

  # Arrays.

  def _put(self, tree: Any, specs: Any) -> Any:
    """Host arrays that every process has alike; device arrays that lie right stay."""
    def one(leaf: Any, placed: Any) -> Array:
      if isinstance(leaf, Array) and not leaf.is_fully_addressable:
        return leaf
      leaf = np.asarray(leaf)
      return jax.make_array_from_callback(leaf.shape, placed, lambda index: leaf[index])
    if isinstance(specs, P):
      return jax.tree.map(lambda leaf: one(leaf, sharding.named(self.mesh, specs)), tree)
    return jax.tree.map(one, tree, self._shardings(specs))

  def _spread_lane(self, lane: PackState | None) -> PackState:
    lane = lane if lane is not None else jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._abstract_lane)
    return self._spread(lane, self._lane_specs)

  def _spread(self, tree: Any, specs: Any) -> Any:
    """Arrays that the leader has, as they are, to where `specs` say; of the others only their
    shapes and types count. They add zeros, as integers, so that no bit changes."""
    leaves, form = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    placed = tuple(jax.tree.leaves(self._shardings(specs)))
    kind = placed, tuple(leaf.dtype for leaf in leaves)
    if kind not in self._summed:
      self._summed[kind] = Together(self._hosts, _summed(*kind))
    return jax.tree.unflatten(form, self._summed[kind]([self._part(leaf) for leaf in leaves]))

  def _part(self, leaf: np.ndarray) -> Array:
    """[devices, ...], of each device a part: the bits of the leader's first one, else zeros."""
    kind = np.dtype(f'uint{8 * leaf.dtype.itemsize}')
    bits = np.ascontiguousarray(leaf).reshape(leaf.shape).view(kind)
    devices = self.mesh.devices.flatten()
    first = next(k for k, device in enumerate(devices) if device.process_index == 0)
    along = jax.sharding.Mesh(devices, ('all',))
    zeros = np.zeros((1, *leaf.shape), kind)

    def one(index: Any) -> np.ndarray:
      here = index[0].indices(len(devices))[0] == first and self._hosts.leads
      return bits[None] if here else zeros

    return jax.make_array_from_callback(
        (len(devices), *leaf.shape), jax.sharding.NamedSharding(along, P('all')), one)

  @functools.cached_property
  def _tile(self) -> Any:
    return Together(self._hosts, jax.jit(
        lambda lane: jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.lanes, *leaf.shape)), lane),
        out_shardings=self._shardings(self._pack_specs)))

  @functools.cached_property
  def _replace(self) -> Any:
    return Together(self._hosts, super()._replace)

  @functools.cached_property
  def _everywhere(self) -> Any:
    return Together(self._hosts, jax.jit(
        lambda tree: tree, out_shardings=sharding.named(self.mesh, sharding.ALL)))


def _summed(placed: tuple[Any, ...], dtypes: tuple[np.dtype, ...]) -> Any:
  def summed(parts):
    return [lax.bitcast_convert_type(part.sum(axis=0, dtype=part.dtype), dtype)
            for part, dtype in zip(parts, dtypes, strict=True)]

  return jax.jit(summed, out_shardings=list(placed))


class SharedBatches(Batches):
  """What a loop takes its tokens from (scaling/train/batches.py) where processes read shares."""

  def gather(self, program: Any, lanes: Sequence[tuple[int, Lane]], n: int) -> Array:
    return program.gather(lanes, n)
