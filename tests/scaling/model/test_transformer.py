"""The model: initial loss, causality, relative positions, and a forward pass written in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.model import attention, layers, transformer
from scaling.specs import ModelSpec

V, L = 96, 12
VARIANTS = [
    ModelSpec(layers=2, width=32, heads=2),
    ModelSpec(layers=2, width=32, heads=4, activation='gelu', tied_embeddings=False),
    ModelSpec(layers=1, width=16, heads=1, qk_norm=True, feed_forward=24),
]


def tokens(batch=2):
  return np.random.default_rng(0).integers(0, V, (batch, L)).astype(np.int32)


def logits(spec, params, tokens):
  return np.asarray(transformer.apply_fn(spec, V)(params, jnp.asarray(tokens)), np.float64)


@pytest.mark.parametrize('spec', VARIANTS)
def test_loss_starts_near_that_of_a_uniform_guess(spec):
  values = logits(spec, transformer.init(spec, V, 1), tokens(16))
  lse = np.log(np.exp(values).sum(-1))
  assert abs((lse - values.mean(-1)).mean() - np.log(V)) < 0.03


@pytest.mark.parametrize('spec', VARIANTS)
def test_a_logit_depends_on_no_later_token(spec):
  params = transformer.init(spec, V, 1)
  first = tokens()
  second = first.copy()
  second[:, 7:] = (second[:, 7:] + 1) % V
  a, b = logits(spec, params, first), logits(spec, params, second)
  np.testing.assert_allclose(a[:, :7], b[:, :7], atol=1e-6)
  assert (np.abs(a[:, 7:] - b[:, 7:]).max(axis=-1) > 1e-4).all()


@pytest.mark.parametrize('spec', VARIANTS)
def test_forward_pass_is_the_one_written_in_numpy(spec):
  params = transformer.init(spec, V, 3)
  rng = np.random.default_rng(1)  # scales and weights away from their initial values
  params = {k: v + 0.1 * rng.standard_normal(v.shape).astype(np.float32)
            for k, v in params.items()}
  expected = numpy_logits(spec, {k: np.asarray(v, np.float64) for k, v in params.items()}, tokens())
  np.testing.assert_allclose(logits(spec, params, tokens()), expected, rtol=1e-4, atol=1e-4)


def numpy_logits(spec, p, tokens):
  B, H, K = len(tokens), spec.heads, spec.head_size

  def norm(x, scale):
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)

  def turned(x_BxLxHxK):
    pairs = x_BxLxHxK[..., :K // 2] + 1j * x_BxLxHxK[..., K // 2:]
    angle = np.arange(L)[:, None] * 10_000.0 ** (-2 * np.arange(K // 2) / K)
    pairs = pairs * np.exp(1j * angle)[None, :, None]
    return np.concatenate([pairs.real, pairs.imag], -1)

  x = p['embedding'][tokens]
  for i in range(spec.layers):
    name = f'blocks.{i}.'
    qkv = norm(x, p[name + 'attention_norm.scale']) @ p[name + 'attention.qkv']
    q, k, v = (part.reshape(B, L, H, K) for part in np.split(qkv, 3, -1))
    if spec.qk_norm:
      q = norm(q, p[name + 'attention.q_norm.scale'])
      k = norm(k, p[name + 'attention.k_norm.scale'])
    q, k = turned(q), turned(k)
    out = np.zeros((B, L, H, K))
    for t in range(L):
      scores = np.einsum('bhk,bmhk->bhm', q[:, t], k[:, :t + 1]) / np.sqrt(K)
      weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
      out[:, t] = np.einsum('bhm,bmhk->bhk', weights, v[:, :t + 1])
    x = x + out.reshape(B, L, -1) @ p[name + 'attention.out']
    h = norm(x, p[name + 'feed_forward_norm.scale']) @ p[name + 'feed_forward.up']
    if spec.activation == 'swiglu':
      gate, up = np.split(h, 2, -1)
      h = gate / (1 + np.exp(-gate)) * up
    else:
      h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    x = x + h @ p[name + 'feed_forward.down']
  x = norm(x, p['norm.scale'])
  return x @ (p['embedding'].T if spec.tied_embeddings else p['head'])


def test_rotated_products_depend_on_the_distance_only():
  q, k = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
  turned = [np.asarray(attention.rotate(jnp.broadcast_to(x, (1, 20, 1, 8)), 100.0))[0, :, 0]
            for x in (q, k)]
  products = turned[0] @ turned[1].T
  for distance in (0, 3, 11):
    assert np.ptp(np.diagonal(products, -distance)) < 1e-4
  np.testing.assert_allclose(products[0, 0], q @ k, rtol=1e-5)


def test_bfloat16_computes_close_to_float32_and_keeps_float32_parameters():
  narrow = ModelSpec(layers=2, width=32, heads=2, dtype='bfloat16')
  params = transformer.init(narrow, V, 0)
  assert {leaf.dtype for leaf in params.values()} == {jnp.dtype('float32')}
  out = transformer.apply_fn(narrow, V)(params, jnp.asarray(tokens()))
  assert out.dtype == jnp.bfloat16
  wide = ModelSpec(layers=2, width=32, heads=2)
  assert np.abs(np.asarray(out, np.float64) - logits(wide, params, tokens())).max() < 0.02


def test_initial_values_hang_on_names_not_on_what_else_there_is():
  """Another head or more layers change no other part, but for the factor of the depth."""
  a = transformer.init(ModelSpec(layers=2, width=32), V, 0)
  b = transformer.init(ModelSpec(layers=4, width=32, tied_embeddings=False, qk_norm=True), V, 0)
  for name in a:
    factor = 2**0.5 if name.endswith(('attention.out', 'down')) else 1.0
    np.testing.assert_allclose(a[name], factor * b[name], rtol=1e-6)
  c = transformer.init(ModelSpec(layers=2, width=32), V, 1)
  assert not np.array_equal(a['embedding'], c['embedding'])
  assert not np.array_equal(a['blocks.0.attention.qkv'], a['blocks.1.attention.qkv'])


def test_fold_separates_names_and_numbers():
  key = jax.random.key(0, impl='threefry2x32')
  keys = [layers.fold(key, *names) for names in (('a',), ('b',), ('a', 0), ('a', 1))]
  assert len({tuple(np.asarray(jax.random.key_data(k))) for k in keys}) == 4
