"""Training throughput: compile time, tokens/s, and FLOP/s as a share of the matrix-product rate.

  python benchmarks/train_throughput.py [--shapes=small,middle,large] [--lanes=1,4,16] [--batch=16]

For each shape and each pack, one line. FLOPs a token are three times the forward matrix products,
the head and full attention included (scaling/accounting.py). The rate they are compared with is
that of the same products at the same sizes and nothing else: each product of the forward pass and
its two derivatives, alone, on a device a core at once and on one device with all cores, whichever
is faster; total FLOPs over total time. Training and products are timed in turns, and the best
repetition of each counts, for machines are shared.
"""

from __future__ import annotations

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import lax
from jax.sharding import PartitionSpec as P

from scaling import accounting
from scaling.specs import ModelSpec
from scaling.train import program, sharding

LENGTH, VOCABULARY = 128, 512
MODELS = {
    'small': ModelSpec(layers=2, width=32, heads=2),
    'middle': ModelSpec(layers=4, width=64, heads=2),
    'large': ModelSpec(layers=5, width=128, heads=4),
}

_SHAPES = flags.DEFINE_list('shapes', list(MODELS), f'Of {", ".join(MODELS)}.')
_LANES = flags.DEFINE_list('lanes', ['1', '4', '16'], 'Lanes of the packs.')
_BATCH = flags.DEFINE_integer('batch', 16, 'Sequences a step.', lower_bound=1)
_CHUNK = flags.DEFINE_integer('chunk', 8, 'Steps a call.', lower_bound=1)
_CPU_DEVICES = flags.DEFINE_integer('cpu_devices', len(os.sched_getaffinity(0)), 'CPU devices.')
_REPETITIONS = flags.DEFINE_integer('repetitions', 5, 'Timings of each.', lower_bound=1)


def products(model: ModelSpec, sequences: int) -> list[tuple[int, int, int, int, int]]:
  """(how often, batch, m, k, n) of each product [batch, m, k] x [batch, k, n] in a forward pass."""
  T, D, F = sequences * LENGTH, model.width, model.hidden
  up = 2 * F if model.activation == 'swiglu' else F
  heads, K, N = sequences * model.heads, model.head_size, model.layers
  return [(N, 1, T, D, 3 * D), (N, 1, T, D, D), (N, 1, T, D, up), (N, 1, T, F, D),
          (N, heads, LENGTH, K, LENGTH), (N, heads, LENGTH, LENGTH, K), (1, 1, T, D, VOCABULARY)]


class Rate:
  """FLOP/s of a model's products on a mesh, each device working on its own copy.

  A device repeats a product in a loop that writes every result over the one before, as a training
  step writes its activations over those of the last: the operands stay in cache if they fit.
  """

  COPIES = 4  # of the left operand, so that no product is the same as the one before
  FLOPS = 2e8  # at least, a call and a device: a dispatch is no part of a product

  def __init__(self, model: ModelSpec, sequences: int, mesh: jax.sharding.Mesh):
    self.devices = mesh.size
    self.calls = []
    for often, batch, m, k, n in products(model, sequences):
      x, w, g = ((batch, m, k), (batch, k, n), (batch, m, n))
      for left, right, dims in ((x, w, (2, 1)), (g, w, (2, 2)), (x, g, (1, 1))):
        flops = 2 * batch * m * k * n
        repeats = max(self.COPIES, round(self.FLOPS / flops))
        self.calls.append((often, flops, repeats,
                           *self._compiled(mesh, left, right, dims, repeats)))
    self.best = [float('inf')] * len(self.calls)

  def _compiled(self, mesh, left, right, dims, repeats):
    def local(a, b):
      batched = (((dims[0],), (dims[1],)), ((0,), (0,)))
      plain = (((dims[0] - 1,), (dims[1] - 1,)), ((), ()))

      def product(a):
        if left[0] == 1:
          return lax.dot_general(a[0], b[0], plain)
        return lax.dot_general(a, b, batched)

      def again(i, _):
        return product(a[i % self.COPIES])

      return lax.fori_loop(0, repeats, again, jnp.zeros_like(product(a[0])))[None]

    mapped = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P('run'), P()), out_specs=P('run'),
                                   check_vma=False))
    a = jax.device_put(np.ones((self.COPIES * mesh.size, *left), np.float32),
                       sharding.named(mesh, P('run')))
    b = jax.device_put(np.ones(right, np.float32), sharding.named(mesh, P()))
    jax.block_until_ready(mapped(a, b))
    return mapped, a, b

  def measure(self) -> None:
    for i, (_, _, _, call, a, b) in enumerate(self.calls):
      start = time.perf_counter()
      jax.block_until_ready(call(a, b))
      self.best[i] = min(self.best[i], time.perf_counter() - start)

  @property
  def flops(self) -> float:
    work = sum(often * flops for often, flops, *_ in self.calls)
    seconds = sum(call[0] * best / call[2]
                  for call, best in zip(self.calls, self.best, strict=True))
    return work * self.devices / seconds


class Training:
  """A pack of equal lanes on random tokens."""

  def __init__(self, model: ModelSpec, lanes: int):
    shape = program.Shape(model, VOCABULARY, LENGTH, _BATCH.value)
    self.advice = program.recommended(shape, lanes, jax.devices())
    mesh = sharding.mesh(run=next(r for r in range(self.advice.run, 0, -1) if lanes % r == 0))
    self.program = program.Program(shape, lanes, _CHUNK.value, self.advice.accumulation, mesh)
    self.compile_seconds = self.program.compile()
    self.pack = self.program.init(range(lanes))
    size = (_CHUNK.value, lanes, _BATCH.value, LENGTH + 1)
    self.tokens = np.random.default_rng(0).integers(0, VOCABULARY, size, np.int32)
    numbers = {'b1': 0.9, 'b2': 0.95, 'eps': 1e-8, 'weight_decay': 0.1, 'clip_norm': 1.0}
    self.hyper = {name: np.full(lanes, value) for name, value in numbers.items()}
    self.seconds: list[float] = []

  def measure(self) -> None:
    lanes, chunk = self.program.lanes, self.program.chunk
    start = time.perf_counter()
    self.pack, metrics = self.program.train(
        self.pack, self.tokens, np.full((chunk, lanes), 1e-3), self.hyper, np.ones(lanes, bool),
        chunk)
    jax.block_until_ready(metrics)
    self.seconds.append(time.perf_counter() - start)

  def tokens_per_second(self, seconds: float) -> float:
    return self.tokens[..., 1:].size / seconds


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unknown argument {argv[1]}')
  jax.config.update('jax_num_cpu_devices', _CPU_DEVICES.value)
  device = jax.devices()[0].device_kind
  print(f'{len(jax.devices())} x {device}, length {LENGTH}, batch {_BATCH.value}, float32')
  print('  shape  parameters lanes devices parts compile s  tokens/s: best   median  GFLOP/s  '
        'products GFLOP/s  share')
  for name in _SHAPES.value:
    model = MODELS[name]
    for lanes in map(int, _LANES.value):
      training = Training(model, lanes)
      sequences = _BATCH.value // training.advice.accumulation
      rates = [Rate(model, sequences, sharding.mesh(run=run))
               for run in sorted({1, len(jax.devices())})]
      training.measure()
      training.seconds.clear()
      for _ in range(_REPETITIONS.value):
        training.measure()
        for rate in rates:
          rate.measure()
      best = training.tokens_per_second(min(training.seconds))
      median = training.tokens_per_second(float(np.median(training.seconds)))
      flops = best * accounting.counted_flops(model, VOCABULARY, LENGTH)
      peak = max(rate.flops for rate in rates)
      print(f'{name:>7} {accounting.parameters(model, VOCABULARY):11,} {lanes:5} '
            f'{training.program.mesh.size:7} {training.advice.accumulation:5} '
            f'{training.compile_seconds:9.1f} {best:15,.0f} {median:8,.0f} {flops / 1e9:8.1f} '
            f'{peak / 1e9:17.1f} {flops / peak:6.0%}', flush=True)


if __name__ == '__main__':
  app.run(main)
