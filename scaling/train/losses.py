"""Losses of predicted tokens."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax


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
  vocabulary = lax.broadcasted_iota(targets_BxL.dtype, logits_BxLxV.shape, 2)
  onehot = (vocabulary == targets_BxL[..., None]).astype(wide.dtype)
  grad = (jnp.exp(wide - lse_BxL[..., None]) - onehot) * g_BxL[..., None]
  return grad.astype(logits_BxLxV.dtype), None


cross_entropy.defvjp(_forward, _backward)


def chunked(logits: Callable[[Array], Array], x_BxLxD: Array, targets_BxL: Array,
            chunks: int) -> Array:
  """cross_entropy(logits(x), targets) [B, L], in `chunks` equal parts, one after the other.

  `logits` maps [..., D] to [..., V]. They are computed again for the derivative, one more product
  of the head, and whatever `logits` holds gathers its gradient over the chunks. The last chunk is
  filled up with zeros, which have no part in the result.
  """
  B, L, D = x_BxLxD.shape
  tokens = -(-B * L // chunks)
  fill = chunks * tokens - B * L
  x_CxTxD = jnp.pad(x_BxLxD.reshape(B * L, D), ((0, fill), (0, 0))).reshape(chunks, tokens, D)
  targets_CxT = jnp.pad(targets_BxL.reshape(B * L), (0, fill)).reshape(chunks, tokens)

  @jax.checkpoint
  def one(chunk: tuple[Array, Array]) -> Array:
    x_1xTxD, targets_1xT = chunk[0][None], chunk[1][None]
    return cross_entropy(logits(x_1xTxD), targets_1xT)[0]

  return lax.map(one, (x_CxTxD, targets_CxT)).reshape(-1)[:B * L].reshape(B, L)
