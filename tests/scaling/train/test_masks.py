"""Pruning on the device, and sweeps of pruned runs in one process."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling import accounting, grid, leases, prefixes, pruning, specs, study
from scaling.data import token_store
from scaling.errors import InputError
from scaling.model import linears
from scaling.optim.optimizers import Hyper, global_norm
from scaling.runs import Run
from scaling.segments import Queue
from scaling.specs import ModelSpec, SparsitySpec
from scaling.train import checkpoint, limits, masks, state, step
from scaling.train.loop import Loop
from scaling.train.pack import Options, Pack
from scaling.train.program import Program, Shape
from tests.scaling import sparse
from tests.scaling.train import packs

MODEL = ModelSpec(layers=2, width=16, heads=2)


def lane(**changes):
  """One lane with many equal weights."""
  made = state.fresh(MODEL, 24, 0, sparse=True)
  params = {name: jnp.round(w, 1) if name in made.masks else w for name, w in made.params.items()}
  return dataclasses.replace(made, params=params, **changes)


def reference(scores, k):
  """The k largest, ties by index."""
  found = np.zeros(scores.size, bool)
  found[np.lexsort((np.arange(scores.size), -scores.ravel()))[:k]] = True
  return found.reshape(scores.shape)


@pytest.mark.parametrize('scope', ['global', 'layer'])
def test_exactly_as_many_stay_as_asked_for_and_ties_go_by_index(scope):
  spec, here, names = SparsitySpec(0.9, scope=scope), lane(), list(accounting.linears(MODEL))
  prune, kind, before = jax.jit(masks.prune, static_argnums=(0, 1)), masks.Kind.of(spec), here
  for density in (0.93, 0.5001, 0.1):
    keep = pruning.keep(spec, MODEL, density)
    after = prune(MODEL, kind, before, jnp.array(keep), 0)
    scores = {name: np.where(before.masks[name], abs(np.asarray(before.params[name])), -1)
              for name in names}
    if scope == 'layer':
      expected = {name: reference(scores[name], k) for name, k in zip(names, keep, strict=True)}
    else:
      flat = reference(np.concatenate([scores[name].ravel() for name in names]), keep[0])
      parts = np.split(flat, np.cumsum([scores[name].size for name in names])[:-1])
      expected = {name: part.reshape(scores[name].shape)
                  for name, part in zip(names, parts, strict=True)}
    for name in names:
      np.testing.assert_array_equal(after.masks[name], expected[name])
      assert not np.any(np.asarray(after.params[name])[~expected[name]])
    assert sum(int(m.sum()) for m in after.masks.values()) == sum(keep)
    before = after


def test_two_of_four_and_random_supports():
  here = lane()
  kind = masks.Kind.of(SparsitySpec(0.5, 'one_shot', pattern='2:4'))
  prune = jax.jit(masks.prune, static_argnums=(0, 1))
  after = prune(MODEL, kind, here, jnp.array([0]), 0)
  for name, mask in after.masks.items():
    groups = np.asarray(mask).reshape(-1, 4, mask.shape[1])
    assert (groups.sum(1) == 2).all()
    w = abs(np.asarray(here.params[name])).reshape(groups.shape)
    assert (np.where(groups, w, np.inf).min(1) >= np.where(groups, -np.inf, w).max(1)).all()
  spec = SparsitySpec(0.75, 'constant', scope='layer')
  keep = jnp.array(pruning.keep(spec, MODEL, 0.25))
  one, same, other = (prune(MODEL, masks.Kind.of(spec), here, keep, seed)
                      for seed in (1, 1, 2))
  assert [int(one.masks[name].sum()) for name in accounting.linears(MODEL)] == keep.tolist()
  for name, mask in one.masks.items():
    np.testing.assert_array_equal(mask, same.masks[name])
    assert (mask != other.masks[name]).any()
  again = prune(MODEL, masks.Kind.of(spec), one, keep, 5)
  packs.assert_equal_lanes(one.masks, again.masks)  # What is zero stays so.


def test_a_masked_weight_stays_zero_without_a_gradient_and_keeps_its_moments():
  """A step with momentum that would move it: moments only decay, the norm is of the others."""
  here = lane()
  masks_here = {name: here.params[name] > 0 for name in here.masks}
  full = {name: jnp.full_like(w, 0.1) for name, w in here.params.items()}
  here = dataclasses.replace(here, params=step.masked(here.params, masks_here), mu=full, nu=full,
                             masks=masks_here, count=jnp.int32(3))
  tokens, numbers = packs.batches(0, 1)[0], Hyper(**packs.HYPER)
  update = jax.jit(lambda lane: (step.gradients(MODEL, packs.V, lane.params, tokens)[1],
                                 *step.train_step(MODEL, packs.V, lane, tokens, 1e-2, numbers)))
  grads, after, _, norm = update(here)
  assert float(norm) == pytest.approx(float(global_norm(step.masked(grads, masks_here))), rel=1e-5)
  assert float(norm) < 0.999 * float(global_norm(grads))
  for name, mask in masks_here.items():
    gone = ~np.asarray(mask)
    assert gone.any() and np.asarray(grads[name])[gone].any()
    assert not np.asarray(after.params[name])[gone].any()
    assert (np.asarray(after.params[name]) != np.asarray(here.params[name]))[~gone].all()
    for moments, decay in ((after.mu, numbers.b1), (after.nu, numbers.b2)):
      np.testing.assert_allclose(np.asarray(moments[name])[gone], 0.1 * decay, rtol=1e-6)
    np.testing.assert_array_equal(after.masks[name], mask)


def test_a_dense_lane_in_a_sparse_program_matches_the_dense_program():
  shape = dataclasses.replace(packs.SHAPE, sparse=True)
  dense, norms, _, _ = packs.curve(2)
  losses, theirs, pack, _ = packs.curve(2, shape=shape)
  np.testing.assert_allclose(losses, dense, rtol=1e-6)
  np.testing.assert_allclose(theirs, norms, rtol=1e-4)
  assert all(np.asarray(m).all() for m in pack.masks.values())


@pytest.fixture(scope='module')
def trained(tmp_path_factory, markov_store):
  """The study of tests/scaling/sparse.py whole, and stopped in the middle of its ramps."""
  def stores(spec):
    del spec
    return {'markov': token_store.TokenStore.open(
        token_store.folder(markov_store, 'symbols', 64, (), 'markov'))}

  planned = study.build(sparse.get_config(), {}, stores)
  forest = prefixes.forest(((r.run_id, r.spec) for r in planned.runs), share=False)
  program = Program(Shape.of(planned.runs[0].spec), 2, 16)
  found = types.SimpleNamespace(specs={r.run_id: r.spec for r in planned.runs}, curves=[],
                                stops=[])
  for stops in ((10**6,), (3, 5, 10**6)):
    workdir = str(tmp_path_factory.mktemp('sparse'))
    for r in planned.runs:
      Run(workdir, r.run_id).prepare(r.spec)
    for turns in stops:
      worker = leases.Worker(workdir)
      worker.start()
      queue, left = Queue(workdir, worker, forest), [turns]

      def stopping(left=left):
        return left[0] <= 0

      def watch(pack, left=left):
        left[0] -= 1

      Loop(Pack(program, Options(workdir, worker, stores, stopping, lambda _: None,
                                 watch=watch)), queue.take).train()
      worker.stop()
      saved = {run: checkpoint.newest(Run(workdir, run), print) for run in found.specs}
      found.stops += [(run, *there) for run, there in saved.items() if there is not None]
    found.curves.append({run: Run(workdir, run).curve() for run in found.specs})
    found.ends = {run: checkpoint.newest(Run(workdir, run), print)[0] for run in found.specs}
  return found


def test_a_run_stopped_in_its_ramp_goes_on_bit_for_bit(trained):
  whole, stopped = trained.curves
  assert json.dumps(whole) == json.dumps(stopped)
  assert all(len(curve) == 4 for curve in whole.values())
  halfway = set()
  for run, arrays, position in trained.stops:
    spec = trained.specs[run]
    counts = pruning.counts(spec.sparsity, spec.model, spec.steps)
    assert sum(int(mask.sum()) for mask in arrays['masks'].values()) == counts.at(position.step)
    if counts.final < counts.at(position.step) < counts.whole:
      halfway.add(spec.sparsity.schedule)
  assert halfway == {'geometric', 'cubic'}


def test_runs_that_share_what_lies_before_their_prunings_are_those_trained_alone(
    tmp_path, markov_store):
  config = sparse.get_config()
  config.axes = grid.axis('base.sparsity', ({'sparsity': 0.6}, {'sparsity': 0.8}))
  config.base.steps, config.base.evaluation.points = 24, 3
  there = token_store.TokenStore.open(
      token_store.folder(markov_store, 'symbols', 64, (), 'markov'))

  def stores(spec):
    del spec
    return {'markov': there}

  runs = [(r.run_id, r.spec) for r in study.build(config, {}, stores).runs]
  program, curves = Program(Shape.of(runs[0][1]), 2, 8), []
  for share in (True, False):
    forest, workdir = prefixes.forest(runs, share=share), str(tmp_path / f'{share}')
    assert any(s.shared for s in forest.values()) == share
    for name, s in forest.items():
      extent = {'first': s.first, 'last': s.last, 'parent': s.parent, 'history': s.history}
      Run(workdir, name).prepare(s.spec, extent if s.shared else None)
    worker = leases.Worker(workdir)
    worker.start()
    Loop(Pack(program, Options(workdir, worker, stores, lambda: False, lambda _: None)),
         Queue(workdir, worker, forest).take).train()
    worker.stop()
    curves.append([Run(workdir, run).curve() for run, _ in runs])
  assert json.dumps(curves[0]) == json.dumps(curves[1])
  assert [len(curve) for curve in curves[0]] == [3, 3]
  assert curves[0][0][-1]['density'] > curves[0][1][-1]['density']


def test_lines_and_checkpoints_tell_what_is_left(trained):
  for run, spec in trained.specs.items():
    arrays, lines = trained.ends[run], trained.curves[0][run]
    kept = {name: int(mask.sum()) for name, mask in arrays['masks'].items()}
    counts = pruning.counts(spec.sparsity, spec.model, spec.steps)
    assert sum(kept.values()) == counts.final
    rest = accounting.non_embedding(spec.model) - counts.whole
    for name, mask in arrays['masks'].items():
      assert not arrays['params'][name][~mask].any() and arrays['params'][name][mask].all()
      assert arrays['mu'][name].any()
    for line in lines:
      density = pruning.densities(spec)[:line['step']]
      assert line['N_nonzero'] == rest + counts.at(line['step'])
      assert line['N_final'] == rest + counts.final
      assert line['N_average_nonembedding'] == pytest.approx(
          rest + density.mean() * counts.whole, rel=2e-3)
      embedding = 64 * spec.model.width
      assert line['N_average'] == line['N_average_nonembedding'] + embedding
      assert line['C'] == pytest.approx(6 * line['N_average'] * line['D'])
      pruned = counts.whole * (1 - density.mean())
      assert line['C_counted'] == pytest.approx(line['D'] * (accounting.counted_flops(
          spec.model, 64, 32) - 6 * pruned), rel=2e-3)
  ramp = next(run for run, spec in trained.specs.items() if spec.sparsity.schedule == 'geometric')
  assert 0.4 < trained.curves[0][ramp][1]['density'] < 1  # The middle of a ramp was seen.


@pytest.mark.parametrize('linear', ['low_rank', 'sltrain'])
def test_low_rank_layers_train_and_their_zeros_stay(linear):
  model = dataclasses.replace(packs.MODEL, linear=linear, rank=4, alpha=2.0,
                              support=0.1 if linear == 'sltrain' else None)
  shape = dataclasses.replace(packs.SHAPE, model=model)
  losses, _, pack, made = packs.curve(1, shape=shape, steps=60, peak=1e-2)
  assert losses[-5:].mean() < losses[:5].mean() - 0.1
  one = made.lane(pack, 0)
  assert sum(leaf.size for leaf in one.params.values()) - sum(
      (~mask).sum() for mask in one.masks.values()) == accounting.parameters(model, packs.V)
  assert len(one.masks) == (4 if linear == 'sltrain' else 0)
  for name, mask in one.masks.items():
    assert int(mask.sum()) == round(0.1 * mask.size)
    np.testing.assert_array_equal(one.params[name] != 0, mask)
  spec = dataclasses.replace(model, width=64)
  layer = linears.create(spec, jax.random.key(0), (64, 256), 0.125, jnp.dtype('float32'))
  W = layer.scale * layer.A[...] @ layer.B[...] + (layer.S[...] if linear == 'sltrain' else 0)
  x = jax.random.normal(jax.random.key(1), (3, 64))
  np.testing.assert_allclose(linears.apply(layer, x), x @ W, rtol=1e-3, atol=1e-5)
  assert np.std(W) == pytest.approx(0.125, rel=0.15)


def test_masks_are_not_split_over_devices():
  for axes in ({'fsdp': 2}, {'tensor': 2}):
    mesh = types.SimpleNamespace(shape={'run': 1, 'data': 1, 'fsdp': 1, 'tensor': 1} | axes)
    for shape in (dataclasses.replace(packs.SHAPE, sparse=True), dataclasses.replace(
        packs.SHAPE, model=dataclasses.replace(packs.MODEL, linear='low_rank', rank=4))):
      with pytest.raises(InputError, match=r'--mesh: .*a sparse or low-rank model is not split'):
        limits.check(shape, 1, packs.K, 1, mesh)
    limits.check(packs.SHAPE, 1, packs.K, 1, mesh)


def test_a_dense_stage_revives_and_a_sparse_one_begins_whole():
  here = lane()
  here = dataclasses.replace(here, masks={name: w > 0 for name, w in here.params.items()
                                          if name in here.masks})
  arrays = {name: getattr(here, name) for name in ('params', 'mu', 'nu', 'count', 'diverged')}
  assert state.of_arrays({**arrays, 'masks': here.masks}, MODEL, False).masks == {}
  assert all(m.all() for m in state.of_arrays(arrays, MODEL, True).masks.values())
  kept = state.of_arrays({**arrays, 'masks': here.masks}, MODEL, True).masks
  packs.assert_equal_lanes(kept, here.masks)
  assert specs.canonical(SparsitySpec()) == {}
