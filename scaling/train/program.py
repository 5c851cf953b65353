"""Programs: the compiled executables that train and evaluate a pack of lanes of one shape."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from scaling import accounting
from scaling.errors import bad
from scaling.optim.optimizers import Hyper
from scaling.train import checkpoint, limits, masks, sharding, state, step
from scaling.train.kernels import Kernels, precision
from scaling.train.layout import Layout
from scaling.train.shape import Shape
from scaling.train.state import PackState


def lane_form(platform: str) -> str:
  """How one device trains its lanes: 'loop', one lane after the other, K steps each, or 'vmap'.

  On a CPU a loop: every product is as large alone as in the pack, a lane's state stays in cache for
  its K steps, and idle or diverged lanes cost nothing. On accelerators vmap: one lane of a small
  model cannot fill the chip. Measurements are in docs/performance.md.
  """
  return 'loop' if platform == 'cpu' else 'vmap'


class Program:
  """The executables of (shape, lanes R, chunk K, accumulation, mesh, kernels).

  Given the same arguments and versions, a lane's bits depend on its own state and inputs only: not
  on its neighbours, its position, or how the steps are cut into calls. Raises InputError when the
  sizes do not divide, the optimizer is unknown, or float64 is asked for without jax_enable_x64.
  """

  def __init__(self, shape: Shape, lanes: int, chunk: int, accumulation: int = 1,
               mesh: Mesh | None = None, kernels: Kernels | None = None):
    self.shape, self.lanes, self.chunk = shape, lanes, chunk
    self.accumulation, self.mesh = accumulation, mesh or sharding.single()
    device = self.mesh.devices.flat[0]
    self.form = lane_form(device.platform)
    self.compilations = 0
    self._pruners: dict[masks.Kind, Callable[..., Any]] = {}
    self._compiling = threading.Lock()
    limits.check(shape, lanes, chunk, accumulation, self.mesh)
    self.kernels = kernels or Kernels.of(shape.model, shape.vocab_size, shape.length,
                                         lanes // self.mesh.shape['run'], device)
    self._float = np.dtype('float64' if shape.model.dtype == 'float64' else 'float32')
    self.layout = Layout.of(self.mesh, shape.model)
    parts = self.layout.batch_parts
    self._window_block = parts * math.ceil(shape.batch / parts)

  # State.

  def fresh(self, seed: int) -> PackState:
    """A lane before its first update, on the host; depends on the seed only."""
    return jax.device_get(self._fresh(jax.device_put(np.uint32(seed))))

  def init(self, seeds: Sequence[int]) -> PackState:
    """A pack before its first update: lane i is `fresh(seeds[i])`."""
    if len(seeds) != self.lanes:
      raise bad('seeds', tuple(seeds), f'there must be {self.lanes}, one a lane')
    return self.stack([self.fresh(seed) for seed in seeds])

  def stack(self, lanes: Sequence[PackState]) -> PackState:
    """A pack of R lanes that lie on the host."""
    return self._put(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes), self._pack_specs)

  def lane(self, pack: PackState, i: int) -> PackState:
    """Lane i on the host, without the axis R."""
    return jax.device_get(self._take(pack, self._put(np.int32(i), sharding.ALL)))

  def load(self, pack: PackState, i: int, lane: PackState) -> PackState:
    """The pack with lane i replaced by one on the host; the pack given is donated."""
    lane = jax.tree.map(np.asarray, lane)
    return self._replace(pack, self._put(np.int32(i), sharding.ALL),
                         self._put(lane, self._lane_specs))

  def adopt(self, arrays: Mapping[str, Any]) -> PackState:
    """A lane from a checkpoint's arrays, of this shape or, dense or sparse, of its parent's."""
    return state.of_arrays(arrays, self.shape.model, self.shape.sparse)

  def prune(self, pack: PackState, kind: masks.Kind, due: np.ndarray, keep: np.ndarray,
            seeds: np.ndarray) -> PackState:
    """Dispatches a pruning of the lanes that are `due` (bool [R]) and fetches nothing.

    keep: int32 [R, 1 or linear layers], the weights that stay (pruning.keep); seeds [R]: of random
    supports. The pack is donated; lanes that are not due keep their arrays.
    """
    return self._pruner(kind)(pack, *(self._put(np.asarray(values, dtype), sharding.LANES)
                                     for values, dtype in ((due, bool), (keep, np.int32),
                                                           (seeds, np.uint32))))

  def diverged(self, pack: PackState) -> np.ndarray:
    """`diverged` of every lane, on the host."""
    return jax.device_get(pack.diverged)

  def selected(self, pack: PackState, places: Sequence[int]) -> tuple[Any, Sequence[int]]:
    """What a checkpoint of these lanes holds, and their places in it."""
    if len(places) == self.lanes:
      return pack, places
    return jax.tree.map(lambda leaf: leaf[list(places)], jax.device_get(pack)), range(len(places))

  def write(self, path: str, state: Any) -> None:
    """Arrays to a folder of a checkpoint."""
    checkpoint.write(path, state)

  # Training and evaluation.

  def train(self, pack: PackState, tokens: np.ndarray | Array, lr: np.ndarray,
            hyper: Mapping[str, np.ndarray], active: np.ndarray, n: int,
            ) -> tuple[PackState, dict[str, Array]]:
    """Dispatches the first n <= K steps of every active lane; fetches nothing.

    tokens int32 [K, R, B, L + 1]; lr [K, R]; hyper: 'b1', 'b2', 'eps', 'weight_decay' and
    'clip_norm' (inf: none), each [R]; active bool [R]. The pack is donated. Returns it and 'loss'
    and 'grad_norm', each [K, R]: the mean loss of the batch before the update, and the norm before
    clipping; NaN where no step was done. Lanes that are not active or have diverged keep their
    arrays.
    """
    if not 0 <= n <= self.chunk:
      raise bad('n', n, f'it must lie in [0, {self.chunk}]')
    if not isinstance(tokens, Array):  # Else they lie on the devices already (batches.py).
      tokens = np.asarray(tokens, np.int32)
    pack, losses, norms = self._train(
        pack, self._put(tokens, sharding.BATCHES),
        self._put(np.asarray(lr, self._float), sharding.STEPS),
        self._put(Hyper(*(np.asarray(hyper[name], self._float) for name in Hyper._fields)),
                  sharding.LANES),
        self._put(np.asarray(active, bool), sharding.LANES),
        self._put(np.int32(n), sharding.ALL))
    return pack, {'loss': losses, 'grad_norm': norms}

  def evaluate(self, pack: PackState, windows: np.ndarray) -> Array:
    """Sums of -log p over the L targets of each window: float32 [R, W] from int32 [W, L + 1].

    One executable serves any W: windows go through it in blocks of the batch size. Blocks with a
    window that ends early, in targets of -1 that count for nothing, go through one of their own.
    """
    count, block = len(windows), self._window_block
    padded = np.zeros((math.ceil(count / block) * block, self.shape.length + 1), np.int32)
    padded[:count] = windows
    parts = []
    for part in np.split(padded, range(block, len(padded), block)):
      run = self._evaluate_partial if (part < 0).any() else self._evaluate
      parts.append(run(pack.params, self._put(part, sharding.WINDOWS)))
    return jnp.concatenate(parts, axis=1)[:, :count]

  # Compilation.

  def compile(self) -> float:
    """Compiles what is not compiled yet, or waits for the thread that does; returns the seconds."""
    start = time.perf_counter()
    with self._compiling:
      _ = self._train, self._evaluate
    return time.perf_counter() - start

  def bytes_needed(self) -> int | None:
    """Of one device while it trains, as the compiler says; None where it does not."""
    found = self._train.memory_analysis()  # type: ignore[attr-defined]
    if found is None:
      return None
    return int(found.argument_size_in_bytes + found.output_size_in_bytes
               + found.temp_size_in_bytes - found.alias_size_in_bytes)

  @functools.cached_property
  def _train(self) -> Callable[..., Any]:
    K, R, B, L = self.chunk, self.lanes, self.shape.batch, self.shape.length
    train_steps = functools.partial(step.train_steps, self.shape.model, self.shape.vocab_size)

    def local(pack, tokens, lr, hyper, active, n):
      def one(lane):
        pack, tokens, lr, hyper, active = lane
        return train_steps(pack, tokens, lr, hyper, active, n, self.accumulation,
                           self.layout, self.kernels)

      lanes = (pack, jnp.swapaxes(tokens, 0, 1), lr.T, hyper, active)
      pack, losses, norms = jax.vmap(one)(lanes) if self.form == 'vmap' else lax.map(one, lanes)
      return pack, losses.T, norms.T

    S = sharding
    number = self._abstract((R,), self._float, S.LANES)
    return self._compiled(
        local, (self._pack_specs, S.BATCHES, S.STEPS, S.LANES, S.LANES, S.ALL),
        (self._pack_specs, S.STEPS, S.STEPS),
        (self._abstract_pack, self._abstract((K, R, B, L + 1), np.int32, S.BATCHES),
         self._abstract((K, R), self._float, S.STEPS), Hyper(*[number] * 5),
         self._abstract((R,), bool, S.LANES), self._abstract((), np.int32, S.ALL)),
        donate=(0,))

  @functools.cached_property
  def _evaluate(self) -> Callable[..., Any]:
    return self._evaluator(step.window_losses)

  @functools.cached_property
  def _evaluate_partial(self) -> Callable[..., Any]:
    return self._evaluator(step.partial_losses)

  def _evaluator(self, losses: Callable[..., Array]) -> Callable[..., Any]:
    def one(params, windows):
      return losses(self.shape.model, self.shape.vocab_size, params, windows,
                    self.kernels, self.layout).astype(jnp.float32)

    def local(params, windows):
      if self.form == 'vmap':
        return jax.vmap(one, in_axes=(0, None))(params, windows)
      return lax.map(lambda lane: one(lane, windows), params)

    S = sharding
    windows = self._abstract((self._window_block, self.shape.length + 1), np.int32, S.WINDOWS)
    return self._compiled(local, (self._pack_specs.params, S.WINDOWS), S.WINDOW_LOSSES,
                          (self._abstract_pack.params, windows))

  def _pruner(self, kind: masks.Kind) -> Callable[..., Any]:
    """Compiled when it is first needed."""
    if kind in self._pruners:
      return self._pruners[kind]
    prune = functools.partial(masks.prune, self.shape.model, kind)

    def one(lane):
      pack, due, keep, seed = lane
      return lax.cond(due, prune, lambda pack, *_: pack, pack, keep, seed)

    def local(*lanes):
      return jax.vmap(one)(lanes) if self.form == 'vmap' else lax.map(one, lanes)

    S = sharding
    columns = len(accounting.linears(self.shape.model)) if kind.each else 1
    self._pruners[kind] = self._compiled(
        local, (self._pack_specs, *[S.LANES] * 3), self._pack_specs,
        (self._abstract_pack, self._abstract((self.lanes,), bool, S.LANES),
         self._abstract((self.lanes, columns), np.int32, S.LANES),
         self._abstract((self.lanes,), np.uint32, S.LANES)), donate=(0,))
    return self._pruners[kind]

  def _compiled(self, local, in_specs, out_specs, arguments, donate=()) -> Callable[..., Any]:
    """`local`, what each device does with its part, compiled for exactly these arguments."""
    mapped = jax.shard_map(local, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs,
                           check_vma=False)
    self.compilations += 1
    with precision(self.shape.model, self.mesh.devices.flat[0].platform):
      return jax.jit(mapped, donate_argnums=donate).lower(*arguments).compile()

  @functools.cached_property
  def _abstract_lane(self) -> PackState:
    return jax.eval_shape(self._fresh_lane, jax.ShapeDtypeStruct((), np.uint32))

  @functools.cached_property
  def _lane_specs(self) -> PackState:
    return sharding.lane_specs(self._abstract_lane, self.mesh)

  @functools.cached_property
  def _pack_specs(self) -> PackState:
    return sharding.pack_specs(self._abstract_lane, self.mesh)

  @functools.cached_property
  def _abstract_pack(self) -> PackState:
    return jax.tree.map(
        lambda leaf, spec: self._abstract((self.lanes, *leaf.shape), leaf.dtype, spec),
        self._abstract_lane, self._pack_specs)

  def _abstract(self, shape, dtype, spec) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.named(self.mesh, spec))

  @functools.cached_property
  def _fresh(self):
    return jax.jit(self._fresh_lane)

  @functools.cached_property
  def _fresh_lane(self) -> Callable[..., PackState]:
    return functools.partial(state.fresh, self.shape.model, self.shape.vocab_size,
                             sparse=self.shape.sparse)

  @functools.cached_property
  def _take(self):
    return jax.jit(lambda pack, i: jax.tree.map(lambda leaf: leaf[i], pack),
                   out_shardings=self._shardings(self._lane_specs))

  @functools.cached_property
  def _replace(self):
    return jax.jit(
        lambda pack, i, lane: jax.tree.map(lambda leaf, new: leaf.at[i].set(new), pack, lane),
        donate_argnums=0, out_shardings=self._shardings(self._pack_specs))

  def _shardings(self, specs: Any) -> Any:
    return jax.tree.map(functools.partial(sharding.named, self.mesh), specs)

  def _put(self, tree: Any, specs: Any) -> Any:
    """Host arrays to the devices, explicitly, so that jax.transfer_guard allows it."""
    return jax.device_put(tree, self._shardings(specs))
