"""Parts of the Transformer: normalisation, feed-forward blocks, and their initial values.

Every parameter's key is folded from (the model's key, the parameter's name), never drawn in call
order, so that adding a part changes no other part's initial values. Parameters are float32
(float64 when the model computes in float64) and are cast where they are used.

Initial values. Embeddings and an untied head: N(0, 0.02^2) (Radford et al. 2019, GPT-2): after the
last RMSNorm the logits then have standard deviation 0.02 sqrt(D), 0.1 to 0.2 at the widths used
here, so the loss starts within 0.03 of ln V. Matrices: N(0, 1 / fan_in) (LeCun et al. 1998); those
that write to the residual stream are divided by sqrt(2 layers) (GPT-2), so that the stream's
variance does not grow with depth. Normalisation scales: 1.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from scaling.specs import ModelSpec

EMBEDDING_STD = 0.02


def fold(key: Array, *names: str | int) -> Array:
  """`key` with each name folded in; a string counts as its CRC-32."""
  for name in names:
    key = jax.random.fold_in(key, zlib.crc32(name.encode()) if isinstance(name, str) else name)
  return key


def param_dtype(spec: ModelSpec) -> jnp.dtype:
  """float32, or float64 when the model computes in float64."""
  return jnp.dtype('float64' if spec.dtype == 'float64' else 'float32')


def matrix(key: Array, shape: tuple[int, int], std: float, dtype: jnp.dtype) -> nnx.Param:
  """A parameter [fan_in, fan_out] of independent N(0, std^2)."""
  return nnx.Param(std * jax.random.normal(key, shape, dtype))


@jax.custom_vjp
def linear(x: Array, w_IxO: Array) -> Array:
  """x w, for x [..., I]; the weight is cast to x's dtype.

  The derivative by w is written as x^T g. Automatic differentiation asks for (g^T x)^T, and XLA on
  a CPU then moves the activations and the result about: a quarter of a step. Its sums are in w's
  dtype, and are not rounded to a narrower one of x.
  """
  return x @ w_IxO.astype(x.dtype)


def _linear_forward(x: Array, w_IxO: Array):
  return linear(x, w_IxO), (x, w_IxO)


def _linear_backward(saved, g: Array):
  x, w_IxO = saved
  x_TxI, g_TxO = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
  grad_IxO = lax.dot_general(x_TxI, g_TxO, (((0,), (0,)), ((), ())),
                             preferred_element_type=w_IxO.dtype)
  grad_x = lax.dot_general(g, w_IxO.astype(x.dtype), (((g.ndim - 1,), (1,)), ((), ())))
  return grad_x, grad_IxO


linear.defvjp(_linear_forward, _linear_backward)


@jax.custom_vjp
def linear_transposed(x: Array, w_OxI: Array) -> Array:
  """x w^T, for x [..., I], without turning w; see `linear`."""
  return lax.dot_general(x, w_OxI.astype(x.dtype), (((x.ndim - 1,), (1,)), ((), ())))


def _transposed_forward(x: Array, w_OxI: Array):
  return linear_transposed(x, w_OxI), (x, w_OxI)


def _transposed_backward(saved, g: Array):
  x, w_OxI = saved
  x_TxI, g_TxO = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
  grad_OxI = lax.dot_general(g_TxO, x_TxI, (((0,), (0,)), ((), ())),
                             preferred_element_type=w_OxI.dtype)
  return g @ w_OxI.astype(x.dtype), grad_OxI


linear_transposed.defvjp(_transposed_forward, _transposed_backward)


class RMSNorm(nnx.Module):
  """y = scale * x / sqrt(mean(x^2) + 1e-6), the mean in at least float32 (Zhang, Sennrich 2019)."""

  def __init__(self, size: int, dtype: jnp.dtype):
    self.scale = nnx.Param(jnp.ones((size,), dtype))

  def __call__(self, x: Array) -> Array:
    return rms_norm(x, self.scale[...])


def rms_norm(x: Array, scale: Array) -> Array:
  """scale * x / sqrt(mean(x^2) + 1e-6) over the last axis, in x's dtype."""
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  inverse = lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-6)
  return (wide * inverse).astype(x.dtype) * scale.astype(x.dtype)


@jax.custom_vjp
def gated_silu(h_BxLx2F: Array) -> Array:
  """silu(gate) * up of the halves (gate, up); with s = sigmoid(gate) and the gradient g, the
  derivatives are g up s (1 + gate (1 - s)) and g gate s, written out so as to store h alone.
  """
  gate, up = jnp.split(h_BxLx2F, 2, axis=-1)
  return jax.nn.silu(gate) * up


def _gated_forward(h_BxLx2F: Array):
  return gated_silu(h_BxLx2F), h_BxLx2F


def _gated_backward(h_BxLx2F: Array, g_BxLxF: Array):
  gate, up = jnp.split(h_BxLx2F, 2, axis=-1)
  s = jax.nn.sigmoid(gate)
  by_gate = g_BxLxF * up * s * (1 + gate * (1 - s))
  return (jnp.concatenate([by_gate, g_BxLxF * gate * s], axis=-1),)


gated_silu.defvjp(_gated_forward, _gated_backward)
