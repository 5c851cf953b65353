"""The train step of one lane, and K of them in one loop; pure functions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from scaling.model import transformer
from scaling.optim import optimizers
from scaling.optim.optimizers import Hyper
from scaling.specs import ModelSpec
from scaling.train import losses
from scaling.train.kernels import Kernels
from scaling.train.layout import ALONE, Layout, forgetful
from scaling.train.state import PackState

DEFAULT = Kernels()
DIVERGED = 5.0  # a loss above this many ln V is divergence: five times that of a uniform guess


def window_losses(model: ModelSpec, vocab_size: int, params: transformer.Params,
                  tokens_BxL1: Array, kernels: Kernels = DEFAULT, layout: Layout = ALONE) -> Array:
  """The sum of -log p over the L targets of each sequence [B], in at least float32."""
  return token_losses(model, vocab_size, params, tokens_BxL1, kernels, layout).sum(axis=1)


def partial_losses(model: ModelSpec, vocab_size: int, params: transformer.Params,
                   tokens_BxL1: Array, kernels: Kernels = DEFAULT, layout: Layout = ALONE,
                   ) -> Array:
  """window_losses of sequences that may end before L: a target of -1 counts for nothing."""
  losses_BxL = token_losses(model, vocab_size, params, jnp.maximum(tokens_BxL1, 0), kernels,
                            layout)
  return jnp.where(tokens_BxL1[:, 1:] >= 0, losses_BxL, 0).sum(axis=1)


def token_losses(model: ModelSpec, vocab_size: int, params: transformer.Params,
                 tokens_BxL1: Array, kernels: Kernels = DEFAULT, layout: Layout = ALONE) -> Array:
  """-log p of every target [B, L], in at least float32."""
  bound = transformer.bind_fn(model, vocab_size)(layout.whole(params))
  x_BxLxD = bound.hidden(tokens_BxL1[:, :-1], kernels.attend, layout.split)
  tokens = x_BxLxD.shape[0] * x_BxLxD.shape[1]
  chunks = math.ceil(tokens / (kernels.logits_tokens or tokens))
  if chunks == 1:
    return losses.cross_entropy(bound.logits(x_BxLxD), tokens_BxL1[:, 1:])
  return losses.chunked(bound.logits, x_BxLxD, tokens_BxL1[:, 1:], chunks)


def gradients(model: ModelSpec, vocab_size: int, params: transformer.Params, tokens_BxL1: Array,
              accumulation: int = 1, layout: Layout = ALONE, kernels: Kernels = DEFAULT,
              ) -> tuple[Array, transformer.Params]:
  """The mean loss over the batch's tokens, and its gradients.

  Token losses and their gradients are summed over `accumulation` equal parts of the batch, one
  after the other, then over the devices that share the batch, and divided once. Where parameters
  are stored in parts, so are their gradients.
  """
  B, L1 = tokens_BxL1.shape
  parts = tokens_BxL1.reshape(accumulation, B // accumulation, L1)

  def total(params, tokens):
    return window_losses(model, vocab_size, params, tokens, kernels, layout).sum()

  if layout.fsdp > 1:
    total = jax.checkpoint(total, policy=forgetful)
  value_and_grad = jax.value_and_grad(total)
  loss, grads = value_and_grad(params, parts[0])
  if accumulation > 1:
    def add(i, sums):
      return jax.tree.map(jnp.add, sums, value_and_grad(params, parts[i]))
    loss, grads = lax.fori_loop(1, accumulation, add, (loss, grads))
  tokens = B * (L1 - 1) * layout.batch_parts
  loss, grads = layout.sum(loss, grads)
  return loss / tokens, jax.tree.map(lambda g: g / tokens, grads)


def train_step(model: ModelSpec, vocab_size: int, lane: PackState, tokens_BxL1: Array, lr: Array,
               hyper: Hyper, accumulation: int = 1, layout: Layout = ALONE,
               kernels: Kernels = DEFAULT) -> tuple[PackState, Array, Array]:
  """One update of one lane: (lane', loss, gradient norm before clipping).

  Masked weights are zero before and after, so the forward pass needs no mask; their gradients count
  for nothing, in the norm either, and their moments stay and decay.
  When the loss or the norm is not finite, or the loss exceeds DIVERGED ln V, the arrays stay as
  they were and `diverged` becomes the 1-based number of this step.
  """
  loss, grads = gradients(model, vocab_size, lane.params, tokens_BxL1, accumulation, layout,
                          kernels)
  grads = masked(grads, lane.masks)
  norm = layout.norm(grads)
  good = jnp.isfinite(loss) & jnp.isfinite(norm) & (loss <= DIVERGED * math.log(vocab_size))
  updated = optimizers.adamw(lane.params, lane.mu, lane.nu, grads, norm, lane.count, lr, hyper)
  updated = masked(updated[0], lane.masks), *updated[1:]
  params, mu, nu = jax.tree.map(
      lambda new, old: jnp.where(good, new, old), updated, (lane.params, lane.mu, lane.nu))
  count = lane.count + good.astype(jnp.int32)
  diverged = jnp.where(good, lane.diverged, lane.count + 1)
  return PackState(params, mu, nu, count, diverged, lane.masks), loss, norm


def masked(arrays: transformer.Params, masks: transformer.Params) -> transformer.Params:
  """The arrays, exactly zero where a mask is False; masks are of some of them."""
  return {name: jnp.where(masks[name], a, 0) if name in masks else a
          for name, a in arrays.items()}


def train_steps(model: ModelSpec, vocab_size: int, lane: PackState, tokens_KxBxL1: Array,
                lr_K: Array, hyper: Hyper, active: Array, n: Array, accumulation: int = 1,
                layout: Layout = ALONE, kernels: Kernels = DEFAULT,
                ) -> tuple[PackState, Array, Array]:
  """The first n <= K steps of one lane, fewer when it diverges, none when it is not active.

  Returns (lane', losses [K], norms [K]), NaN where no step was done. Under vmap the loop runs on
  until its last lane is done and holds the arrays of the others, as JAX defines it.
  """
  K = lr_K.shape[0]
  blank = jnp.full((K,), jnp.nan, lr_K.dtype)

  def unfinished(carry):
    k, lane, _, _ = carry
    return (k < n) & active & (lane.diverged < 0)

  def body(carry):
    k, lane, losses_K, norms_K = carry
    lane, loss, norm = train_step(
        model, vocab_size, lane, tokens_KxBxL1[k], lr_K[k], hyper, accumulation, layout, kernels)
    return k + 1, lane, losses_K.at[k].set(loss), norms_K.at[k].set(norm)

  carry = (jnp.zeros((), jnp.int32), lane, blank, blank)
  _, lane, losses_K, norms_K = lax.while_loop(unfinished, body, carry)
  return lane, losses_K, norms_K
