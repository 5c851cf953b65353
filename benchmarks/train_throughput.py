"""Training throughput: compile time, tokens/s, MFU, and FLOP/s against the matrix-product rate.

  python benchmarks/train_throughput.py [--shapes=40k,250k,1M] [--packs=1,4,16] [--dtype=float32]

For each shape (benchmarks/shapes.py) and each pack, one line. FLOPs a token are three times the
forward matrix products, the head and full attention included (scaling/accounting.py). `share`
compares them with the same products at the same sizes, in the same dtype, and nothing else: each
product of the forward pass and its two derivatives timed alone, weighted by FLOPs. On several CPU
devices each product counts at the faster of two ways, whole on every core at once, as packs run
them, and split over the cores; elsewhere it runs for all lanes of the pack at once. The last line
of a shape compares its fastest pack with the fastest products of any pack. `MFU` compares with the
maker's bfloat16 peak, where that is known.

Training and products are timed in turns, and the best repetition of each counts, for machines are
shared. `to one lane` is tokens/s of all lanes against a pack of one: on an accelerator, at 1M to
3M parameters and 2,048 tokens a lane and step, packs of 32 or more should reach 8.
"""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import shapes  # beside this file
from absl import app, flags
from jax import lax
from jax.sharding import PartitionSpec as P

from scaling import accounting, programs, tuning
from scaling.train import advice, program, sharding

_SHAPES = flags.DEFINE_list(
    'shapes', [], f'Of {", ".join(shapes.SHAPES)}, or all. Default: {", ".join(shapes.ON_CPU)} on '
    'a CPU, all elsewhere.')
_PACKS = flags.DEFINE_list(
    'packs', [], 'Lanes. Default: 1,4,16 on a CPU; elsewhere 1,2,8,32,64, of the two largest 1.')
_DTYPE = flags.DEFINE_enum('dtype', None, ['float32', 'bfloat16'], 'Of the activations. Default: '
                           'float32 on a CPU, bfloat16 elsewhere.')
_BATCH = flags.DEFINE_integer('batch', None, 'Sequences a step, in place of the shape\'s.',
                              lower_bound=1)
_CHUNK = flags.DEFINE_integer('chunk', 8, 'Steps a call.', lower_bound=1)
_CPU_DEVICES = flags.DEFINE_integer('cpu_devices', shapes.cores(), 'CPU devices.')
_REPETITIONS = flags.DEFINE_integer('repetitions', 5, 'Timings of each.', lower_bound=1)


def products(case: shapes.Case, sequences: int) -> list[tuple[int, int, int, int, int]]:
  """(how often, batch, m, k, n) of each product [batch, m, k] x [batch, k, n] in a forward pass."""
  model, L = case.model, case.length
  T, D, F = sequences * L, model.width, model.hidden
  up = 2 * F if model.activation == 'swiglu' else F
  heads, K, N = sequences * model.heads, model.head_size, model.layers
  return [(N, 1, T, D, 3 * D), (N, 1, T, D, D), (N, 1, T, D, up), (N, 1, T, F, D),
          (N, heads, L, K, L), (N, heads, L, L, K), (1, 1, T, D, case.vocabulary)]


class Rate:
  """FLOP/s of each product of a model on a mesh, each device working on its own copy.

  A device repeats a product in a loop that writes every result over the one before, as a training
  step writes its activations over those of the last: the operands stay in cache if they fit.
  `lanes` is how many lanes a device multiplies at once, each with weights of its own.
  """

  COPIES = 4  # of the left operand, so that no product is the same as the one before
  LARGE = 2**26  # elements; of larger operands there are two

  def __init__(self, case: shapes.Case, sequences: int, mesh: jax.sharding.Mesh, lanes: int = 1):
    self.devices, self.dtype = mesh.size, jnp.dtype(case.model.dtype)
    least = 2e8 if mesh.devices.flat[0].platform == 'cpu' else 2e12
    self.calls = []  # how often, FLOPs, repeats, call, operands
    for often, batch, m, k, n in products(case, sequences):
      batch *= lanes
      x, w, g = ((batch, m, k), (batch, k, n), (batch, m, n))
      for left, right, dims in ((x, w, (2, 1)), (g, w, (2, 2)), (x, g, (1, 1))):
        flops = 2 * batch * m * k * n
        copies = self.COPIES if np.prod(left) < self.LARGE else 2
        # Enough work a call that its dispatch is no part of the product.
        repeats = max(copies, min(round(least / flops), 2000))
        self.calls.append((often, flops, repeats,
                           *self._compiled(mesh, left, right, dims, repeats, copies)))
    self.best = [float('inf')] * len(self.calls)

  def _compiled(self, mesh, left, right, dims, repeats, copies):
    def local(a, b):
      batched = (((dims[0],), (dims[1],)), ((0,), (0,)))
      plain = (((dims[0] - 1,), (dims[1] - 1,)), ((), ()))

      def product(a):
        if left[0] == 1:
          return lax.dot_general(a[0], b[0], plain)
        return lax.dot_general(a, b, batched)

      def again(i, _):
        return product(a[i % copies])

      return lax.fori_loop(0, repeats, again, jnp.zeros_like(product(a[0])))[None]

    mapped = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P('run'), P()), out_specs=P('run'),
                                   check_vma=False))
    a, b = (jax.jit(lambda shape=shape: jnp.ones(shape, self.dtype),
                    out_shardings=sharding.named(mesh, spec))()
            for shape, spec in (((copies * mesh.size, *left), P('run')), (right, P())))
    jax.block_until_ready(mapped(a, b))
    return mapped, a, b

  def measure(self) -> None:
    for i, (_, _, _, call, a, b) in enumerate(self.calls):
      start = time.perf_counter()
      jax.block_until_ready(call(a, b))
      self.best[i] = min(self.best[i], time.perf_counter() - start)

  @property
  def flops(self) -> list[float]:
    """FLOP/s of each product, all devices together."""
    return [flops * repeats * self.devices / best
            for (_, flops, repeats, *_), best in zip(self.calls, self.best, strict=True)]


def fastest(rates: list[Rate]) -> float:
  """FLOP/s of all products, each at its fastest way."""
  work = [often * flops for often, flops, *_ in rates[0].calls]
  best = [max(ways) for ways in zip(*(rate.flops for rate in rates), strict=True)]
  return sum(work) / sum(w / f for w, f in zip(work, best, strict=True))


class Training:
  """A pack of equal lanes on random tokens."""

  def __init__(self, case: shapes.Case, lanes: int):
    shape = program.Shape(case.model, case.vocabulary, case.length, case.batch)
    self.advice = advice.recommended(shape, lanes, jax.devices())
    mesh = sharding.mesh(run=next(r for r in range(self.advice.run, 0, -1) if lanes % r == 0))
    self.program = program.Program(shape, lanes, _CHUNK.value, self.advice.accumulation, mesh)
    self.compile_seconds = self.program.compile()
    self.pack = self.program.init([0] * lanes)
    size = (_CHUNK.value, lanes, case.batch, case.length + 1)
    self.tokens = np.random.default_rng(0).integers(0, case.vocabulary, size, np.int32)
    self.hyper = {name: np.full(lanes, value) for name, value in tuning.NUMBERS.items()}
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


def measured(name: str, case: shapes.Case, lanes: int, alone: float | None,
             ) -> tuple[float, float]:
  """Prints the line of one pack; tokens/s and FLOP/s of the products alone."""
  training = Training(case, lanes)
  devices = training.program.mesh.size
  sequences = case.batch // training.advice.accumulation
  if jax.devices()[0].platform == 'cpu':
    rates = [Rate(case, sequences, sharding.mesh(run=run))
             for run in sorted({1, len(jax.devices())})]
  else:
    rates = [Rate(case, sequences, sharding.mesh(run=devices), lanes // devices)]
  training.measure()
  training.seconds.clear()
  for _ in range(_REPETITIONS.value):
    training.measure()
    for rate in rates:
      rate.measure()
  best = training.tokens_per_second(min(training.seconds))
  median = training.tokens_per_second(float(np.median(training.seconds)))
  flops = best * accounting.counted_flops(case.model, case.vocabulary, case.length)
  ceiling, peak = fastest(rates), programs.peak()
  print(f'{name:>6} {accounting.parameters(case.model, case.vocabulary):11,} {lanes:5} '
        f'{devices:7} {training.advice.accumulation:5} {training.compile_seconds:9.1f} '
        f'{best:15,.0f} {median:12,.0f} {flops / 1e9:9,.0f} {ceiling / 1e9:17,.0f} '
        f'{flops / ceiling:6.0%} {f"{flops / peak:.1%}" if peak else "-":>6} '
        f'{f"{best / alone:.2f}" if alone else "-":>11}', flush=True)
  return best, ceiling


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unknown argument {argv[1]}')
  jax.config.update('jax_num_cpu_devices', _CPU_DEVICES.value)
  devices = jax.devices()
  cpu = devices[0].platform == 'cpu'
  names = _SHAPES.value or (list(shapes.ON_CPU) if cpu else ['all'])
  names = list(shapes.SHAPES) if names == ['all'] else names
  if unknown := [name for name in names if name not in shapes.SHAPES]:
    raise app.UsageError(f'--shapes={unknown[0]}: allowed are {", ".join(shapes.SHAPES)}, all')
  dtype = _DTYPE.value or ('float32' if cpu else 'bfloat16')
  print(f'{len(devices)} x {devices[0].device_kind}, {dtype}, jax {jax.__version__}; '
        f'{shapes.conditions()}')
  print(' shape  parameters lanes devices parts compile s  tokens/s: best       median   GFLOP/s  '
        'products GFLOP/s  share    MFU to one lane')
  for name in names:
    case = shapes.SHAPES[name]
    case = dataclasses.replace(case, model=dataclasses.replace(case.model, dtype=dtype),
                               batch=_BATCH.value or case.batch)
    packs = [int(n) for n in _PACKS.value] or (
        [1, 4, 16] if cpu else [1, 2, 8, 32, 64] if case.length < 1024 else [1])
    found: dict[int, tuple[float, float]] = {}
    for lanes in packs:
      try:
        found[lanes] = measured(name, case, lanes, found[1][0] if 1 in found else None)
      except Exception as error:  # XLA has one kind of error for all of its trouble.
        if 'RESOURCE_EXHAUSTED' not in str(error) and not isinstance(error, MemoryError):
          raise
        print(f'{name:>6} {accounting.parameters(case.model, case.vocabulary):11,} {lanes:5} '
              'out of memory', flush=True)
    if len(found) > 1:
      best = max(found, key=lambda lanes: found[lanes][0])
      flops = found[best][0] * accounting.counted_flops(case.model, case.vocabulary, case.length)
      ceiling = max(products for _, products in found.values())
      print(f'{name:>6} best with {best} lanes: {case.batch * case.length:,} tokens a lane and '
            f'step, {flops / ceiling:.0%} of the fastest products', flush=True)
  print(shapes.conditions())


if __name__ == '__main__':
  app.run(main)
