"""Small packs for the tests of the trainer, and the checks that need a process of their own."""

from __future__ import annotations

import functools
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from scaling.errors import InputError
from scaling.specs import ModelSpec
from scaling.train import program, sharding

V, L, B, K = 24, 12, 4, 5
MODEL = ModelSpec(layers=1, width=16, heads=2)
SHAPE = program.Shape(MODEL, V, L, B)
# Options of a reference that runs a few times: it compiles for longer than it computes.
QUICK = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}
HYPER = {'b1': 0.9, 'b2': 0.95, 'eps': 1e-8, 'weight_decay': 0.1, 'clip_norm': 1.0}


def in_a_process(check: str) -> None:
  """One of the checks below, where jax can be configured for it."""
  root = pathlib.Path(__file__).resolve().parents[3]
  made = subprocess.run([sys.executable, '-m', 'tests.scaling.train.packs', check], cwd=root,
                        capture_output=True, text=True)
  assert made.returncode == 0, made.stderr


def compile_quickly() -> None:
  """For programs that are compared to within rounding: they compile for longer than they run."""
  jax.config.update('jax_disable_most_optimizations', True)


def hyper(lanes):
  return {name: np.full(lanes, value) for name, value in HYPER.items()}


def own_hyper(ids):
  """Numbers of the optimizer that no two of five successive ids share: one does not clip."""
  k = np.array(ids) % 5
  return {'b1': 0.8 + 0.03 * k, 'b2': 0.99 - 0.02 * k, 'eps': 1e-8 * (1 + k),
          'weight_decay': 0.05 * k, 'clip_norm': np.where(k == 2, np.inf, 0.2 + 0.3 * k)}


def own_rates(ids, steps):
  """[steps, lanes]: a peak, a warmup and a decay of its own for every id."""
  k, t = np.array(ids) % 5, np.arange(1, steps + 1)[:, None]
  return 1e-3 * (1 + k) * np.minimum(1, t / (3 + k)) * (1 - 0.1 * k * t / steps)


def batches(lane, steps, batch=B, down=0.0):
  """Tokens int32 [steps, B, L + 1] of a lane: a noisy walk round the vocabulary; `down` is the
  share of sequences from another domain, where the walk goes backwards."""
  rng = np.random.default_rng(lane)
  walks = np.cumsum(rng.integers(0, 3, (steps, batch, L + 1)), axis=2)
  back = rng.random((steps, batch, 1)) < down
  return (np.where(back, -walks, walks) % V).astype(np.int32)


@functools.cache
def compiled(shape, lanes, chunk, form, **options):
  """One program for all the tests that ask for it; `form` is there to tell patched ones apart."""
  made = program.Program(shape, lanes, chunk, **options)
  assert made.form == form
  return made


def curve(lanes=1, ids=None, steps=20, shape=SHAPE, chunk=K, counts=None, active=None, peak=3e-3,
          lr=None, tokens=None, own=False, **options):
  """Trains lanes `ids` for `steps`, n steps a call as in `counts`: (losses, norms, pack, program).

  own: every id has its own learning rates, numbers of the optimizer and mixture of two domains.
  """
  ids = list(range(lanes)) if ids is None else ids
  numbers = own_hyper(ids) if own else hyper(lanes)
  made = compiled(shape, lanes, chunk, program.lane_form('cpu'), **options)
  pack = made.init(ids)
  if own:
    lr = own_rates(ids, steps)
  tokens = np.stack([batches(i, steps, shape.batch, i % 5 / 5 if own else 0.0) for i in ids],
                    1) if tokens is None else tokens
  lr = np.full((steps, lanes), peak) * np.minimum(1, np.arange(1, steps + 1) / 5)[:, None] \
      if lr is None else lr
  active = np.ones(lanes, bool) if active is None else np.asarray(active)
  losses, norms, done = [], [], 0
  for n in counts or [chunk] * (steps // chunk):
    block = np.full((chunk, *tokens.shape[1:]), -1, np.int32)  # rows past n must not matter
    block[:n] = tokens[done:done + n]
    rates = np.full((chunk, lanes), np.nan)
    rates[:n] = lr[done:done + n]
    pack, metrics = made.train(pack, block, rates, numbers, active, n)
    losses.append(np.asarray(metrics['loss'])[:n])
    norms.append(np.asarray(metrics['grad_norm'])[:n])
    done += n
  return np.concatenate(losses), np.concatenate(norms), pack, made


def meshes() -> None:
  """Packs on eight devices, split in every way, against one device."""
  jax.config.update('jax_num_cpu_devices', 8)
  check_lane_bits(chunks=(), mesh=sharding.mesh(run=4))
  compile_quickly()
  model = ModelSpec(layers=1, width=16, heads=2, qk_norm=True)
  shape, windows = program.Shape(model, V, L, B), batches(9, 1, 10)[0]
  expected, _, pack, made = curve(4, shape=shape, own=True)
  values = np.asarray(made.evaluate(pack, windows))
  lane, size = made.lane(pack, 1), stored(pack)
  for sizes in ((4, 2, 1, 1), (2, 1, 4, 1), (4, 1, 1, 2), (1, 2, 2, 2)):
    run, data, fsdp, tensor = sizes
    losses, _, pack, made = curve(4, shape=shape, own=True, mesh=sharding.mesh(*sizes))
    np.testing.assert_allclose(losses, expected, rtol=1e-6, err_msg=str(sizes))
    assert len(pack.count.sharding.device_set) == run * data * fsdp * tensor == 8
    # Each device stores its part; the two scales of a head, 16 numbers of 2,592, lie everywhere.
    share = stored(pack) / (size / run)
    assert 1 <= share * fsdp * tensor < 1.06, sizes
    text = made._train.as_text()
    assert ('all-gather' in text, 'reduce-scatter' in text) == (fsdp > 1 or tensor > 1, fsdp > 1)
  np.testing.assert_allclose(made.evaluate(pack, windows), values, rtol=1e-5)
  pack = made.load(pack, 2, lane)  # A lane goes to another mesh and back as it is.
  assert_equal_lanes(made.lane(pack, 2), lane)
  text = program.Program(shape, 8, K, mesh=sharding.mesh(run=8))._train.as_text()
  for collective in ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective',
                     'channel_id'):
    assert collective not in text, collective
  for sizes, wrong in (((1, 8, 1, 1), 'data.batch: 4'), ((1, 1, 1, 8), 'model.heads: 2'),
                       ((1, 1, 4, 2), 'model.width: 20')):
    with pytest.raises(InputError, match=wrong):
      wide = ModelSpec(layers=1, width=20, heads=2) if 'width' in wrong else MODEL
      program.Program(program.Shape(wide, V, L, B), 1, K, mesh=sharding.mesh(*sizes))


def stored(pack) -> int:
  """Bytes of one device."""
  return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(pack))


def check_lane_bits(chunks=(10,), **options) -> None:
  """A lane's bits at R = 4, every lane with its own hyperparameters, rates and mixture: other
  neighbours, other positions, idle lanes, other chunks."""
  options['own'] = True
  losses, norms, pack, made = curve(4, **options)
  for case in ({'ids': [3, 7, 8, 0]}, {'active': [True, False, False, True]},
               {'counts': [1, 4, 5, 2, 3, 5]}, *({'chunk': chunk} for chunk in chunks)):
    others, their_norms, their_pack, theirs = curve(4, **{**options, **case})
    ids = case.get('ids', [0, 1, 2, 3])
    for lane in (0, 3):
      there = ids.index(lane)
      np.testing.assert_array_equal(others[:, there], losses[:, lane], err_msg=str(case))
      np.testing.assert_array_equal(their_norms[:, there], norms[:, lane])
      assert_equal_lanes(theirs.lane(their_pack, there), made.lane(pack, lane))


def assert_equal_lanes(a, b) -> None:
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def float64() -> None:
  """Over 200 steps in float64 each of three unlike lanes agrees with its solo program to 1e-9, and
  so does one with masks that leave everything."""
  jax.config.update('jax_enable_x64', True)
  compile_quickly()
  model = ModelSpec(layers=1, width=16, heads=2, dtype='float64')
  shape = program.Shape(model, V, L, B)
  losses, _, pack, _ = curve(3, steps=200, shape=shape, chunk=20, own=True)
  assert losses.dtype == np.float64 and pack.params['embedding'].dtype == np.float64
  assert losses[-20:].mean() < losses[:5].mean() - 0.5
  for lane in range(3):
    solo, *_ = curve(1, ids=[lane], steps=200, shape=shape, chunk=20, own=True)
    np.testing.assert_allclose(solo[:, 0], losses[:, lane], rtol=1e-9)
  masked, *_ = curve(1, ids=[0], steps=200, shape=program.Shape(model, V, L, B, sparse=True),
                     chunk=20, own=True)
  np.testing.assert_allclose(masked[:, 0], losses[:, 0], rtol=1e-9)


if __name__ == '__main__':
  {'meshes': meshes, 'float64': float64}[sys.argv[1]]()
