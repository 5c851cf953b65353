"""Causal self-attention with rotary positions and, if asked, normalised queries and keys."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from scaling.model import layers, linears
from scaling.specs import ModelSpec

Attend = Callable[[Array, Array, Array], Array]  # q, k, v [B, L, H, K] -> out [B, L, H, K]


class Attention(nnx.Module):
  """softmax(q k^T / sqrt(K) + causal mask) v W_out, heads side by side (Vaswani et al. 2017).

  Queries, keys and values come from one matrix [D, 3 D]. With `qk_norm`, q and k are RMS-normalised
  over the head before they are rotated (Henry et al. 2020; Dehghani et al. 2023).
  """

  def __init__(self, spec: ModelSpec, key: Array):
    D, dtype = spec.width, layers.param_dtype(spec)
    self.head_size, self.rope_base = spec.head_size, spec.rope_base
    self.qkv = linears.create(spec, layers.fold(key, 'qkv'), (D, 3 * D), D**-0.5, dtype)
    self.out = linears.create(spec, layers.fold(key, 'out'), (D, D),
                              (2 * spec.layers * D) ** -0.5, dtype)
    self.qk_norm = spec.qk_norm
    if spec.qk_norm:
      self.q_norm = layers.RMSNorm(spec.head_size, dtype)
      self.k_norm = layers.RMSNorm(spec.head_size, dtype)

  def __call__(self, x_BxLxD: Array, attend: Attend) -> Array:
    B, L, _ = x_BxLxD.shape  # The heads are those of the matrices: all, or this device's.
    qkv = linears.apply(self.qkv, x_BxLxD).reshape(B, L, 3, -1, self.head_size)
    q_BxLxHxK, k_BxLxHxK, v_BxLxHxK = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    if self.qk_norm:
      q_BxLxHxK, k_BxLxHxK = self.q_norm(q_BxLxHxK), self.k_norm(k_BxLxHxK)
    q_BxLxHxK = rotate(q_BxLxHxK, self.rope_base)
    k_BxLxHxK = rotate(k_BxLxHxK, self.rope_base)
    out_BxLxHxK = attend(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    return linears.apply(self.out, out_BxLxHxK.reshape(B, L, -1))


def rotate(x_BxLxHxK: Array, base: float) -> Array:
  """Rotary positions (Su et al. 2021): component i and i + K/2 turn by position * base^(-2 i / K).

  The angles are computed in float64 when traced, so a program holds them as constants.
  """
  L, K = x_BxLxHxK.shape[1], x_BxLxHxK.shape[3]
  angles = np.arange(L)[:, None] * base ** (-2 * np.arange(K // 2) / K)
  cos = jnp.asarray(np.cos(angles)[None, :, None], x_BxLxHxK.dtype)
  sin = jnp.asarray(np.sin(angles)[None, :, None], x_BxLxHxK.dtype)
  a, b = jnp.split(x_BxLxHxK, 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@jax.custom_vjp
def causal(q_BxLxHxK: Array, k_BxLxHxK: Array, v_BxLxHxK: Array) -> Array:
  """softmax(q k^T / sqrt(K)) v over the keys at or before each query.

  The softmax is computed in at least float32. With weights P, output O and its gradient G, the
  derivative by the scores is P * (G V^T - rowsum(G * O)) (Dao et al. 2022): the row sum runs over K
  numbers in place of L, and nothing of the mask or the maximum is differentiated.
  """
  return _causal_forward(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)[0]


def _causal_forward(q_BxLxHxK: Array, k_BxLxHxK: Array, v_BxLxHxK: Array):
  L, K = q_BxLxHxK.shape[1], q_BxLxHxK.shape[3]
  dtype = q_BxLxHxK.dtype
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_BxLxHxK * K**-0.5, k_BxLxHxK, v_BxLxHxK))
  scores_BxHxLxL = jnp.einsum('bhlk,bhmk->bhlm', q, k,
                              preferred_element_type=jnp.promote_types(dtype, jnp.float32))
  scores_BxHxLxL = jnp.where(np.tril(np.ones((L, L), bool)), scores_BxHxLxL, -jnp.inf)
  weights_BxHxLxL = jax.nn.softmax(scores_BxHxLxL, axis=-1).astype(dtype)
  out = jnp.einsum('bhlm,bhmk->bhlk', weights_BxHxLxL, v)
  return jnp.swapaxes(out, 1, 2), (q, k, v, weights_BxHxLxL, out)


def _causal_backward(saved, g_BxLxHxK: Array):
  q, k, v, weights_BxHxLxL, out = saved
  g, K = jnp.swapaxes(g_BxLxHxK, 1, 2), q.shape[3]
  wide = jnp.promote_types(q.dtype, jnp.float32)
  row_BxHxLx1 = (g.astype(wide) * out.astype(wide)).sum(-1, keepdims=True)
  grad_v = jnp.einsum('bhlm,bhlk->bhmk', weights_BxHxLxL, g)
  grad_BxHxLxL = jnp.einsum('bhlk,bhmk->bhlm', g, v, preferred_element_type=wide)
  grad_BxHxLxL = (weights_BxHxLxL.astype(wide) * (grad_BxHxLxL - row_BxHxLx1)).astype(q.dtype)
  grad_q = jnp.einsum('bhlm,bhmk->bhlk', grad_BxHxLxL, k) * K**-0.5
  grad_k = jnp.einsum('bhlm,bhlk->bhmk', grad_BxHxLxL, q)
  return tuple(jnp.swapaxes(x, 1, 2) for x in (grad_q, grad_k, grad_v))


causal.defvjp(_causal_forward, _causal_backward)
