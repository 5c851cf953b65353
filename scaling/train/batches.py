"""The tokens of a dispatch: gathered on the host, or on the devices from stores that lie there.

An accelerator waits for the host's gather and for the copy; with the training split on the device
the host sends two integers a sequence. Which windows are read is the feed's business either way,
and the tokens are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.token_store import TokenStore
from scaling.train import sharding
from scaling.train.lanes import Lane
from scaling.train.program import Program

SHARE = 0.1  # of a device's memory that token stores may take


def room(device: jax.Device) -> int:
  """Bytes that token stores may take of a device: none of a CPU, whose memory the host maps."""
  if device.platform == 'cpu':
    return 0
  return int(SHARE * (device.memory_stats() or {}).get('bytes_limit', 0))


class Batches:
  """Makes the tokens of dispatches; stores are put on a mesh once, for all packs trained there.

  `room`: bytes of each device that training splits may take, 0: the host gathers. A store that does
  not fit any more, or has tokens beyond int32, leaves the packs that read it to the host.
  """

  def __init__(self, room: int = 0):
    self._room = room
    self._there: dict[Any, jax.Array] = {}  # by fingerprint and mesh

  def gather(self, program: Program, lanes: Sequence[tuple[int, Lane]], n: int,
             ) -> np.ndarray | jax.Array:
    """int32 [K, R, B, L + 1]: the next n steps of the lanes, which are advanced; the rest is any.
    """
    stores = list({store.fingerprint: store for _, lane in lanes
                   for store in lane.feed.stores}.values())
    K, R, shape = program.chunk, program.lanes, program.shape
    if not self._hold(stores, program.mesh):
      tokens = np.zeros((K, R, shape.batch, shape.length + 1), np.int32)
      for i, lane in lanes:
        tokens[:n, i], lane.drawn = lane.feed.take(lane.step, n, lane.drawn)
      return tokens
    # All that lie there, in one order: what the lanes read now does not compile the gather anew.
    there = sorted(name for name, mesh in self._there if mesh == program.mesh)
    place = {name: m for m, name in enumerate(there)}
    which, start = np.zeros((2, K, R, shape.batch), np.int32)
    for i, lane in lanes:
      domain, begin, lane.drawn = lane.feed.indices(lane.step, n, lane.drawn)
      which[:n, i] = np.array([place[s.fingerprint] for s in lane.feed.stores])[domain]
      start[:n, i] = begin
    put = sharding.named(program.mesh, sharding.BATCHES)
    return _gatherer(program.mesh, shape.length)(
        tuple(self._there[name, program.mesh] for name in there),
        jax.device_put(which, put), jax.device_put(start, put))

  def _hold(self, stores: Sequence[TokenStore], mesh: jax.sharding.Mesh) -> bool:
    """Puts the stores on the mesh if there is room for all of them."""
    new = [s for s in stores if (s.fingerprint, mesh) not in self._there]
    taken = sum(array.nbytes for array in self._there.values())
    if not self._room or any(s.count('train') > np.iinfo(np.int32).max for s in new):
      return False
    if new and taken + sum(s.tokens('train').nbytes for s in new) >= self._room:
      return False
    for s in new:
      self._there[s.fingerprint, mesh] = jax.device_put(
          np.asarray(s.tokens('train')), sharding.named(mesh, sharding.ALL))
    return True


@functools.cache
def _gatherer(mesh: jax.sharding.Mesh, length: int) -> Any:
  """(stores, which, start int32 [K, R, B]) -> tokens int32 [K, R, B, L + 1]."""

  def local(stores, which, start):
    at = start[..., None] + jnp.arange(length + 1, dtype=jnp.int32)
    tokens = jnp.zeros(at.shape, jnp.int32)
    for m, store in enumerate(stores):
      if not store.size:  # a domain of weight 0 may be empty
        continue
      read = store.at[at].get(mode='clip').astype(jnp.int32)
      tokens = jnp.where((which == m)[..., None], read, tokens)
    return tokens

  S = sharding
  return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(S.ALL, S.BATCHES, S.BATCHES),
                               out_specs=S.BATCHES, check_vma=False))
