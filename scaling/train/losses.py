"""Losses of predicted tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_vjp
def cross_entropy(logits_BxLxV: Array, targets_BxL: Array) -> Array:
  """-log softmax(logits)[target] of every token [B, L], in at least float32.

  The derivative, softmax(logits) - onehot(target), is written out: the one-hot is a comparison
  that fuses with the softmax, where automatic differentiation would scatter.
  """
  return _forward(logits_BxLxV, targets_BxL)[0]


def _forward(logits_BxLxV: Array, targets_BxL: Array):
  wide = logits_BxLxV.astype(jnp.promote_types(logits_BxLxV.dtype, jnp.float32))
  lse_BxL = jax.nn.logsumexp(wide, axis=-1)
  picked_BxL = jnp.take_along_axis(wide, targets_BxL[..., None], axis=-1)[..., 0]
  return lse_BxL - picked_BxL, (logits_BxLxV, targets_BxL, lse_BxL)


def _backward(saved, g_BxL: Array):
  logits_BxLxV, targets_BxL, lse_BxL = saved
  wide = logits_BxLxV.astype(lse_BxL.dtype)
  vocabulary = jax.lax.broadcasted_iota(targets_BxL.dtype, logits_BxLxV.shape, 2)
  onehot = (vocabulary == targets_BxL[..., None]).astype(wide.dtype)
  grad = (jnp.exp(wide - lse_BxL[..., None]) - onehot) * g_BxL[..., None]
  return grad.astype(logits_BxLxV.dtype), None


cross_entropy.defvjp(_forward, _backward)
