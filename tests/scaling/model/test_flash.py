"""Fused attention: folding over lanes and gradients, its test on a device, what cuDNN is asked for.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.model import attention, flash
from scaling.specs import ModelSpec

B, L, H, K = 2, 6, 2, 8
MODEL = ModelSpec(width=16, heads=2, dtype='bfloat16')


def xla(seen=None, scale=1.0, causal=attention.causal):
  """The XLA form as two kernels; `seen` gathers the shapes of their operands."""
  def forward(q, k, v):
    if seen is not None:
      seen.append(('forward', {x.shape for x in (q, k, v)}))
    return causal(q, k, v) * scale, jnp.zeros((len(q), H, L))

  def backward(q, k, v, out, saved, gradient):
    if seen is not None:
      seen.append(('backward', {x.shape for x in (q, k, v, out, gradient)}))
    return jax.vjp(causal, q, k, v)[1](gradient * scale)

  return flash.attend(forward, backward)


def arrays(*shape, count=4):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(count)]


def test_lanes_are_folded_into_the_batch_forward_and_backward():
  seen = []
  fused = xla(seen)
  *qkv, w = arrays(3, B, L, H, K)

  def loss(attend):
    return jax.vmap(jax.value_and_grad(lambda q, k, v, w: (attend(q, k, v) * w).sum(), (0, 1, 2)))

  ours, theirs = loss(fused)(*qkv, w), loss(attention.causal)(*qkv, w)
  folded = {(3 * B, L, H, K)}
  # Tracing sees the unfolded shape before the map; what is left to run is folded.
  assert ('forward', folded) in seen and ('backward', folded) in seen
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


def test_operands_that_are_not_mapped_are_repeated():
  """The gradient of a plain sum is one number: where jax's own rule for cuDNN raises."""
  fused = xla()
  q, k, v = arrays(3, B, L, H, K, count=3)

  def grads(attend):
    return jax.vmap(jax.grad(lambda q, k, v: attend(q, k, v).sum(), (0, 1, 2)), (0, None, 0))

  for a, b in zip(grads(fused)(q, k[0], v), grads(attention.causal)(q, k[0], v), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
  two = jax.vmap(jax.vmap(fused))(*(x[:, None] for x in (q, k, v)))
  np.testing.assert_allclose(two[:, 0], jax.vmap(attention.causal)(q, k, v), rtol=1e-5, atol=1e-5)


def full(q, k, v):
  """No mask."""
  weights = jax.nn.softmax(jnp.einsum('blhk,bmhk->bhlm', q, k) * K**-0.5)
  return jnp.einsum('bhlm,bmhk->blhk', weights, v)


def early(q, k, v):
  """The values of one position before."""
  return attention.causal(q, k, jnp.roll(v, 1, axis=1))


def fault(make):
  return flash._fault(make, H, K, 32, jax.devices()[0])


def test_a_kernel_that_agrees_in_bfloat16_passes():
  assert fault(xla) is None


@pytest.mark.parametrize('make, said', [
    (lambda: xla(scale=1.1), 'the value is off by 0.1'),
    (lambda: xla(causal=full), 'the value is off'),
    (lambda: xla(causal=early), 'the value is off'),
    (lambda: xla(scale=float('nan')), 'the value is off by nan'),
    (lambda: 1 / 0, 'ZeroDivisionError: division by zero')])
def test_a_kernel_that_is_wrong_or_raises_is_described(make, said):
  assert fault(make).startswith(said)


def test_a_wrong_gradient_is_found():
  def make():
    return flash.attend(
        lambda q, k, v: (attention.causal(q, k, v), jnp.zeros((len(q), H, L))),
        lambda q, k, v, out, saved, g: jax.vjp(attention.causal, q, k, v)[1](g)[:2] + (g,))
  assert fault(make).startswith('the gradient of v')


def test_cudnn_fails_its_test_where_there_is_none():
  assert 'cuDNN is not detected' in flash.fault(MODEL, L, jax.devices()[0])


def test_a_length_that_does_not_compile_is_refused(monkeypatch):
  long = flash.TESTED_LENGTH + 44

  def refuses(q, k, v):  # XLA knows no such call: lowering passes, the compiler does not.
    if q.shape[1] > flash.TESTED_LENGTH:
      q = jax.ffi.ffi_call('no_such_kernel', jax.ShapeDtypeStruct(q.shape, q.dtype))(q)
    return attention.causal(q, k, v)

  monkeypatch.setattr(flash, 'cudnn', lambda: refuses)
  assert flash.fault(MODEL, flash.TESTED_LENGTH, jax.devices()[0]) is None
  assert flash.fault(MODEL, long, jax.devices()[0]).startswith(f'at length {long}: ')
  monkeypatch.setattr(flash, 'cudnn', lambda: attention.causal)
  assert flash.fault(MODEL, long, jax.devices()[0]) is None


def test_what_cudnn_takes():
  assert flash.fits(MODEL)
  assert not flash.fits(ModelSpec(width=16, heads=2))
  assert not flash.fits(ModelSpec(width=24, heads=2, dtype='bfloat16'))
  assert not flash.fits(ModelSpec(width=512, heads=2, dtype='bfloat16'))


def test_what_cudnn_is_asked_for(monkeypatch):
  """Lowered for CUDA: one call each way, lanes in the batch, a causal mask, the scale."""
  fused = pytest.importorskip('jax._src.cudnn.fused_attention_stablehlo')
  monkeypatch.setattr(fused, 'check_cudnn_version', lambda: 91_000)
  q = jax.ShapeDtypeStruct((3, B, 16, H, K), jnp.bfloat16)
  grads = jax.vmap(jax.grad(lambda *qkv: flash.cudnn()(*qkv).astype(jnp.float32).sum(), (0, 1, 2)))
  text = jax.jit(grads).trace(q, q, q).lower(lowering_platforms=('cuda',)).as_text()
  calls = [line for line in text.splitlines() if 'custom_call' in line]
  assert [name in line for name, line in zip(
      ('fmhaSoftmax(', 'fmhaSoftmaxBackward('), calls, strict=True)] == [True, True]
  for line in calls:
    assert line.count('tensor<6x16x2x8xbf16>') >= 3
    assert 'CAUSAL' in line and '0.35355339' in line  # 8^-1/2
