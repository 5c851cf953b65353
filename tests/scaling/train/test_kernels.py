"""Kernels: how they are chosen, that a record is kept to, chunks of logits, precision of products.
"""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling import programs
from scaling.errors import InputError
from scaling.model import attention, flash, layers, transformer
from scaling.specs import ModelSpec
from scaling.train import kernels, losses, program, step
from scaling.train.kernels import Kernels
from tests.scaling.train import packs
from tests.scaling.train.packs import MODEL, SHAPE, B, L, V

BFLOAT16 = ModelSpec(layers=1, width=16, heads=2, dtype='bfloat16')


def device(platform, memory=2**30):
  return types.SimpleNamespace(platform=platform, memory_stats=lambda: {'bytes_limit': memory})


def test_a_cpu_keeps_to_the_plain_form():
  assert Kernels.of(BFLOAT16, 50_000, 1024, 8, jax.devices()[0]) == Kernels()
  assert program.Program(SHAPE, 1, 2).kernels == Kernels()


def test_a_gpu_takes_cudnn_only_where_it_fits_and_passes(monkeypatch):
  monkeypatch.setattr(flash, 'fault', lambda *_: None)
  gpu = device('gpu')
  assert Kernels.of(BFLOAT16, V, L, 1, gpu).attention == 'cudnn'
  assert Kernels.of(MODEL, V, L, 1, gpu).attention == 'xla'  # float32
  assert Kernels.of(BFLOAT16, V, L, 1, device('tpu')).attention == 'xla'
  monkeypatch.setattr(flash, 'fault', lambda *_: 'the value is off by 1')
  with pytest.warns(UserWarning, match=r'not used for heads of 8: its test fails \(the value is'):
    assert Kernels.of(BFLOAT16, V, L, 1, gpu).attention == 'xla'


def test_logits_take_a_sixteenth_of_the_memory_of_a_device():
  one = Kernels.of(MODEL, 1024, L, 1, device('tpu')).logits_tokens
  assert one == 2**30 // 16 // (4 * 1024)
  assert Kernels.of(MODEL, 1024, L, 4, device('tpu')).logits_tokens == one // 4


def test_a_workdir_keeps_its_kernels(tmp_path, monkeypatch):
  shape = program.Shape(BFLOAT16, V, L, B)
  chosen, record = programs.settle(str(tmp_path), shape, 1)
  assert chosen.kernels == Kernels() and record['settings']['attention'] == 'xla'
  path, = tmp_path.glob('programs/*.json')
  record['settings'] |= {'attention': 'cudnn', 'logits_tokens': 7}
  path.write_text(json.dumps(record))
  with pytest.raises(InputError, match='it records cuDNN attention, whose test fails now'):
    programs.settle(str(tmp_path), shape, 1)
  monkeypatch.setattr(flash, 'fault', lambda *_: None)
  settings, _ = programs.settle(str(tmp_path), shape, 1)
  assert settings.kernels == Kernels('cudnn', 7)
  monkeypatch.setattr(flash, 'cudnn', lambda: attention.causal)
  assert programs.build(shape, settings).kernels == Kernels('cudnn', 7)
  del record['settings']['attention'], record['settings']['logits_tokens']
  path.write_text(json.dumps(record))  # as written before there was a choice
  assert programs.settle(str(tmp_path), shape, 1)[0].kernels == Kernels()


def test_the_attention_of_a_program_is_the_chosen_one(monkeypatch):
  def mean(q, k, v):  # Nothing like attention: all positions alike.
    return jnp.broadcast_to(v.mean(1, keepdims=True), v.shape)
  monkeypatch.setattr(flash, 'cudnn', lambda: mean)
  params = transformer.init(BFLOAT16, V, 0)
  tokens = jnp.asarray(packs.batches(0, 1)[0])

  @jax.jit
  def both(params, tokens):
    logits = transformer.apply_fn(BFLOAT16, V)(params, tokens[:, :-1], mean).astype(jnp.float32)
    return (step.window_losses(BFLOAT16, V, params, tokens, Kernels('cudnn')),
            step.window_losses(BFLOAT16, V, params, tokens), jax.nn.log_softmax(logits))

  ours, plain, logp = jax.device_get(both(params, tokens))
  picked = np.take_along_axis(logp, np.asarray(tokens)[:, 1:, None], -1)[..., 0]
  np.testing.assert_allclose(ours, -picked.sum(1), rtol=1e-5)
  assert (np.abs(ours - plain) > 1e-3).any()


@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize('chunks', [3, 5])  # of 12 tokens: equal ones, and a last one to fill up
def test_chunks_of_logits_are_exact_and_never_whole(tied, chunks):
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    x_BxLxD, head = jnp.asarray(rng.standard_normal((3, 4, 5))), jnp.asarray(
        rng.standard_normal((V, 5) if tied else (5, V)))
    targets_BxL = jnp.asarray(rng.integers(0, V, (3, 4)))
    weights_BxL = jnp.asarray(rng.standard_normal((3, 4)))

    def total(x, head, chunked):
      product = layers.linear_transposed if tied else layers.linear

      def logits(x):
        return product(x, head)
      found = losses.chunked(logits, x, targets_BxL, chunks) if chunked else \
          losses.cross_entropy(logits(x), targets_BxL)
      return (found * weights_BxL).sum(), found

    gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True), static_argnums=2)
    ours, theirs = (gradients(x_BxLxD, head, chunked) for chunked in (True, False))
    text = gradients.lower(x_BxLxD, head, True).as_text()
  assert f'x{V}xf64' in text and f'3x4x{V}xf64' not in text and f'12x{V}xf64' not in text
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), ours, theirs)
  assert ours[1][1].dtype == np.float64


def test_a_step_with_chunked_logits_is_the_same_step():
  lane = program.Program(SHAPE, 1, 2).fresh(0)
  tokens = jnp.asarray(packs.batches(0, 1)[0])
  gradients = jax.jit(step.gradients, static_argnames=('model', 'vocab_size', 'kernels'))
  for count in (None, 10):
    text = gradients.lower(MODEL, V, lane.params, tokens, kernels=Kernels('xla', count)).as_text()
    assert (f'{B}x{L}x{V}xf32' in text) == (count is None)
  whole, parts = (gradients(MODEL, V, lane.params, tokens, kernels=k)
                  for k in (Kernels(), Kernels(logits_tokens=10)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), parts, whole)


def test_float32_products_are_float32_on_every_platform():
  x = jnp.ones((2, 2))
  for platform, model, said in (('gpu', MODEL, 'HIGHEST'), ('tpu', MODEL, 'HIGHEST'),
                                ('cpu', MODEL, 'DEFAULT'), ('gpu', BFLOAT16, 'DEFAULT')):
    with kernels.precision(model, platform):
      assert said in jax.jit(lambda x: x @ x).lower(x).as_text(), platform
