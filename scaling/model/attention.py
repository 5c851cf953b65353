"""Causal self-attention with rotary positions and, if asked, normalised queries and keys."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from scaling.model import layers
from scaling.specs import ModelSpec


class Attention(nnx.Module):
  """softmax(q k^T / sqrt(K) + causal mask) v W_out, heads side by side (Vaswani et al. 2017).

  Queries, keys and values come from one matrix [D, 3 D]. With `qk_norm`, q and k are RMS-normalised
  over the head before they are rotated (Henry et al. 2020; Dehghani et al. 2023).
  """

  def __init__(self, spec: ModelSpec, key: Array):
    D, dtype = spec.width, layers.param_dtype(spec)
    self.heads, self.head_size, self.rope_base = spec.heads, spec.head_size, spec.rope_base
    self.qkv = layers.matrix(layers.fold(key, 'qkv'), (D, 3 * D), D**-0.5, dtype)
    self.out = layers.matrix(layers.fold(key, 'out'), (D, D), (2 * spec.layers * D) ** -0.5, dtype)
    self.qk_norm = spec.qk_norm
    if spec.qk_norm:
      self.q_norm = layers.RMSNorm(spec.head_size, dtype)
      self.k_norm = layers.RMSNorm(spec.head_size, dtype)

  def __call__(self, x_BxLxD: Array) -> Array:
    B, L, D = x_BxLxD.shape
    dtype = x_BxLxD.dtype
    qkv = (x_BxLxD @ self.qkv[...].astype(dtype)).reshape(B, L, 3, self.heads, self.head_size)
    q_BxLxHxK, k_BxLxHxK, v_BxLxHxK = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    if self.qk_norm:
      q_BxLxHxK, k_BxLxHxK = self.q_norm(q_BxLxHxK), self.k_norm(k_BxLxHxK)
    q_BxLxHxK = rotate(q_BxLxHxK, self.rope_base)
    k_BxLxHxK = rotate(k_BxLxHxK, self.rope_base)
    out_BxLxHxK = causal(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    return out_BxLxHxK.reshape(B, L, D) @ self.out[...].astype(dtype)


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


def causal(q_BxLxHxK: Array, k_BxLxHxK: Array, v_BxLxHxK: Array) -> Array:
  """softmax over the keys at or before each query, computed in at least float32."""
  L, K = q_BxLxHxK.shape[1], q_BxLxHxK.shape[3]
  scores_BxHxLxL = jnp.einsum('blhk,bmhk->bhlm', q_BxLxHxK * K**-0.5, k_BxLxHxK)
  scores_BxHxLxL = scores_BxHxLxL.astype(jnp.promote_types(q_BxLxHxK.dtype, jnp.float32))
  mask = np.tril(np.ones((L, L), bool))
  scores_BxHxLxL = jnp.where(mask, scores_BxHxLxL, -jnp.inf)
  weights_BxHxLxL = jax.nn.softmax(scores_BxHxLxL, axis=-1).astype(q_BxLxHxK.dtype)
  return jnp.einsum('bhlm,bmhk->blhk', weights_BxHxLxL, v_BxLxHxK)
