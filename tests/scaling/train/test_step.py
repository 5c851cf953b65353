"""Packs: what a lane's curve may depend on, divergence, accumulation, meshes, evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling.errors import InputError
from scaling.model import transformer
from scaling.optim.optimizers import Hyper
from scaling.specs import DataSpec, DomainSpec, ModelSpec, OptimSpec, RunSpec
from scaling.train import advice, losses, program, shape, sharding, step
from tests.scaling.train import packs
from tests.scaling.train.packs import MODEL, QUICK, SHAPE, B, K, L, V


def test_the_loss_falls():
  curve, norms, pack, _ = packs.curve(2, steps=100, peak=1e-2)
  assert abs(curve[0, 0] - np.log(V)) < 0.05
  assert (curve[-10:].mean(0) < 1.7).all()  # three next tokens are possible: ln 3 = 1.10
  assert np.isfinite(norms).all() and (np.asarray(pack.count) == 100).all()


def test_a_step_is_adamw_on_the_mean_token_loss():
  lane = packs.compiled(SHAPE, 1, K, program.lane_form('cpu')).fresh(0)
  tokens = jnp.asarray(packs.batches(0, 1)[0])

  def mean(params):
    logits = transformer.apply_fn(MODEL, V)(params, tokens[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

  quick = functools.partial(jax.jit, compiler_options=QUICK)
  loss, grads = quick(jax.value_and_grad(mean))(lane.params)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(
      1e-2, 0.9, 0.95, 1e-8, weight_decay=0.1,
      mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)))
  updates, _ = quick(optimizer.update)(grads, optimizer.init(lane.params), lane.params)
  new, our_loss, norm = quick(step.train_step, static_argnums=(0, 1))(
      MODEL, V, lane, tokens, jnp.float32(1e-2), Hyper(**packs.HYPER))
  np.testing.assert_allclose(our_loss, loss, rtol=1e-6)
  np.testing.assert_allclose(norm, optax.global_norm(grads), rtol=1e-5)
  for name, expected in optax.apply_updates(lane.params, updates).items():
    # Adam's first update is nearly the gradient's sign: rounding shows where it is almost 0.
    np.testing.assert_allclose(new.params[name], expected, atol=2e-5)


def test_cross_entropy_and_its_derivative():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(5 * rng.standard_normal((2, 3, 7)), jnp.float32)
  targets = jnp.asarray(rng.integers(0, 7, (2, 3)))
  weights = jnp.asarray(rng.standard_normal((2, 3)), jnp.float32)
  expected = optax.softmax_cross_entropy_with_integer_labels
  np.testing.assert_allclose(losses.cross_entropy(logits, targets), expected(logits, targets),
                             rtol=1e-5)
  ours, theirs = (jax.grad(lambda x, f=f: (f(x, targets) * weights).sum())(logits)
                  for f in (losses.cross_entropy, expected))
  np.testing.assert_allclose(ours, theirs, atol=1e-6)
  assert np.isfinite(losses.cross_entropy(1e4 * logits, targets)).all()


@pytest.mark.parametrize('form', ['loop', 'vmap'])
def test_bits_of_a_lane_depend_on_nothing_but_the_lane(form, monkeypatch):
  monkeypatch.setattr(program, 'lane_form', lambda platform: form)
  packs.check_lane_bits()


@pytest.mark.parametrize('form', ['loop', 'vmap'])
def test_a_lane_agrees_with_its_solo_program(form, monkeypatch):
  monkeypatch.setattr(program, 'lane_form', lambda platform: form)
  curve, *_ = packs.curve(4, own=True)
  for lane in range(4):
    solo, *_ = packs.curve(1, ids=[lane], own=True)
    np.testing.assert_allclose(solo[:, 0], curve[:, lane], rtol=1e-6)
  tokens = np.stack([packs.batches(i, 20, down=i / 5) for i in range(4)], 1)
  alike, *_ = packs.curve(4, tokens=tokens)  # What is the lanes' own shows far above rounding.
  assert (np.abs(alike[-1] / curve[-1] - 1) > 1e-4).all()


def test_in_float64_a_lane_agrees_with_its_solo_program_over_200_steps():
  packs.in_a_process('float64')


def test_meshes_give_the_losses_of_one_device():
  packs.in_a_process('meshes')


@pytest.mark.parametrize('form', ['loop', 'vmap'])
def test_a_diverging_lane_is_frozen_and_disturbs_nobody(form, monkeypatch):
  monkeypatch.setattr(program, 'lane_form', lambda platform: form)
  quiet, _, quiet_pack, made = packs.curve(4, active=[True, True, True, False])
  rates = np.full((20, 4), 3e-3) * np.minimum(1, np.arange(1, 21) / 5)[:, None]
  rates[6, 3] = 1e12  # update 7 throws the parameters away, step 8 sees it and is refused
  curve, _, pack, _ = packs.curve(4, lr=rates)
  np.testing.assert_array_equal(curve[:, :3], quiet[:, :3])
  for i in range(3):
    packs.assert_equal_lanes(made.lane(pack, i), made.lane(quiet_pack, i))
  lane = made.lane(pack, 3)
  assert lane.diverged == 8 and lane.count == 7
  assert np.isnan(curve[8:, 3]).all() and not curve[7, 3] <= 5 * np.log(V)
  assert np.asarray(pack.diverged).tolist() == [-1, -1, -1, 8]
  before, *_, kept, _ = packs.curve(4, counts=[5, 2], lr=rates)
  packs.assert_equal_lanes((lane.params, lane.mu, lane.nu),
                           (lambda x: (x.params, x.mu, x.nu))(made.lane(kept, 3)))
  assert np.isfinite(before).all()


def test_accumulation_is_rounding():
  curve, norms, _, made = packs.curve(4)
  split, their_norms, *_ = packs.curve(4, accumulation=2)
  np.testing.assert_allclose(split, curve, rtol=1e-6)
  np.testing.assert_allclose(their_norms, norms, rtol=2e-5)
  gradients = jax.jit(step.gradients, static_argnums=(0, 1, 4), compiler_options=QUICK)
  params, tokens = made.fresh(0).params, jnp.asarray(packs.batches(0, 1)[0])
  loss, grads = gradients(MODEL, V, params, tokens)
  loss4, grads4 = gradients(MODEL, V, params, tokens, 4)
  np.testing.assert_allclose(loss4, loss, rtol=1e-6)
  for name, grad in grads.items():
    np.testing.assert_allclose(grads4[name], grad, atol=1e-6)


def test_bfloat16_keeps_float32_where_it_matters_and_trains():
  model = ModelSpec(layers=1, width=16, heads=2, dtype='bfloat16')
  curve, norms, pack, _ = packs.curve(1, shape=program.Shape(model, V, L, B), steps=60, peak=1e-2)
  wide, their_norms, *_ = packs.curve(1, steps=20, peak=1e-2)
  state = {leaf.dtype for leaf in jax.tree.leaves((pack.params, pack.mu, pack.nu))}
  assert state == {np.dtype('float32')} and curve.dtype == norms.dtype == np.float32
  assert not np.array_equal(curve[:20], wide)
  np.testing.assert_allclose(curve[:20], wide, rtol=1e-2)
  np.testing.assert_allclose(norms[0], their_norms[0], rtol=1e-2)
  assert curve[-10:].mean() < curve[:5].mean() - 0.5
  tokens = jax.ShapeDtypeStruct((B, L + 1), np.int32)
  params = jax.tree.map(lambda leaf: leaf[0], pack.params)
  loss, grads = jax.eval_shape(lambda p, t: step.gradients(model, V, p, t), params, tokens)
  assert {loss.dtype, *(g.dtype for g in grads.values())} == {np.dtype('float32')}
  text = jax.jit(lambda p, t: step.gradients(model, V, p, t)).lower(params, tokens).as_text()
  assert f'-> tensor<16x{3 * model.width}xf32>' in text  # x^T g is not rounded to bfloat16
  wide_only = [line for line in text.splitlines()
               if 'rsqrt' in line or ('exponential' in line and f'x{model.hidden}x' not in line)]
  shapes = ' '.join(wide_only)
  assert 'rsqrt' in shapes and f'x{L}x{L}xf32' in shapes and f'x{L}x{V}xf32' in shapes
  assert 'bf16' not in shapes  # normalisation, attention's softmax, loss; not the gate's sigmoid


def test_training_transfers_nothing_by_itself():
  made = packs.compiled(SHAPE, 2, K, program.lane_form('cpu'))
  pack = made.init([0, 1])
  made.compile()
  tokens = np.stack([packs.batches(i, K) for i in range(2)], 1)
  with jax.transfer_guard('disallow'):
    for n in (K, 1, 3):
      pack, metrics = made.train(pack, tokens, np.full((K, 2), 1e-3), packs.hyper(2),
                                 np.ones(2, bool), n)
    sums = made.evaluate(pack, tokens[0, 0])
  assert np.asarray(pack.count).tolist() == [K + 4] * 2
  assert np.isnan(metrics['loss'][3:]).all() and np.isfinite(metrics['loss'][:3]).all()
  assert made.compilations == 2 and sums.dtype == jnp.float32


def test_the_pack_is_donated():
  made = packs.compiled(SHAPE, 1, K, program.lane_form('cpu'))
  pack = made.init([0])
  made.train(pack, packs.batches(0, K)[:, None], np.zeros((K, 1)), packs.hyper(1), [True], K)
  assert pack.params['embedding'].is_deleted()


def test_evaluation_sums_the_targets_of_each_window():
  made = program.Program(SHAPE, 2, K)  # One of its own: what it compiles is counted.
  pack = made.init([0, 5])
  apply = jax.jit(transformer.apply_fn(MODEL, V), compiler_options=QUICK)
  for count in (1, B, 2 * B + 3):
    windows = packs.batches(1, 1, count)[0]
    sums = np.asarray(made.evaluate(pack, windows))
    assert sums.shape == (2, count) and sums.dtype == np.float32
    for i, seed in enumerate((0, 5)):
      logits = apply(made.fresh(seed).params, jnp.asarray(windows[:, :-1]))
      expected = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).sum(1)
      np.testing.assert_allclose(sums[i], expected, rtol=1e-5)
  assert made.compilations == 1


def test_lanes_move_between_packs_of_any_size():
  _, _, pack, made = packs.curve(4)
  lane = made.lane(pack, 1)
  other = packs.compiled(SHAPE, 2, K, program.lane_form('cpu'))
  packs.assert_equal_lanes(other.lane(other.init([4, 5]), 1), other.fresh(5))
  loaded = other.load(other.init([4, 5]), 1, lane)
  packs.assert_equal_lanes(other.lane(loaded, 1), lane)
  packs.assert_equal_lanes(other.lane(loaded, 0), other.fresh(4))
  packs.assert_equal_lanes(other.lane(other.stack([lane, lane]), 0), lane)


def test_shapes_and_hyperparameters_of_a_run():
  spec = RunSpec(model=MODEL, optim=OptimSpec(clip_norm=None, b2=0.99),
                 data=DataSpec({'a': DomainSpec()}, vocab_size=V, length=L, batch=B))
  assert program.Shape.of(spec) == SHAPE
  assert shape.hyper(spec) == {'b1': 0.9, 'b2': 0.99, 'eps': 1e-8, 'weight_decay': 0.1,
                               'clip_norm': np.inf}


@pytest.mark.parametrize('queue, lanes, run', [(1, 1, 1), (2, 2, 2), (3, 4, 2), (12, 8, 2)])
def test_recommended_packs_can_be_made(queue, lanes, run):
  found = advice.recommended(program.Shape(MODEL, V, 128, 12), queue, 2 * jax.devices()[:1])
  assert found == (lanes, run, 1, 3)  # parts of 4 sequences: 512 tokens
  assert advice.recommended(program.Shape(MODEL, V, 16, 7), 1, jax.devices()).accumulation == 1


def test_bad_sizes_are_refused():
  with pytest.raises(InputError, match=r'data\.batch: 4 .* = 3 must divide it'):
    program.Program(SHAPE, 1, K, accumulation=3)
  with pytest.raises(InputError, match='lanes: 0'):
    program.Program(SHAPE, 0, K)
  with pytest.raises(InputError, match='jax_enable_x64'):
    program.Program(program.Shape(ModelSpec(dtype='float64'), V, L, B), 1, K)
  with pytest.raises(InputError, match=r'optim\.optimizer'):
    program.Program(program.Shape(MODEL, V, L, B, 'sgd'), 1, K)
  with pytest.raises(InputError, match=r'mesh: .run=999, .*the product must lie in'):
    sharding.mesh(run=999)
  asked = sharding.Axes.parse('data=2,fsdp=4')
  assert asked == sharding.Axes(None, 2, 4, 1) and str(asked) == 'data=2,fsdp=4'
  asked.check(16)
  for axes, says in ((asked, '8 must divide the number of devices, 12'),
                     (sharding.Axes(run=4, tensor=2), '8 must be the number of devices, 12')):
    with pytest.raises(InputError, match=says):
      axes.check(12)
  for text in ('data', 'data=0', 'rows=2', 'data=2,data=2'):
    with pytest.raises(InputError, match=f"--mesh: '{text}'"):
      sharding.Axes.parse(text)
  with pytest.raises(InputError, match='n: 6'):
    made = packs.compiled(SHAPE, 1, K, program.lane_form('cpu'))
    made.train(made.init([0]), np.zeros((K, 1, B, L + 1), np.int32), np.zeros((K, 1)),
               packs.hyper(1), [True], 6)
