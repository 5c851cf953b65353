"""A decoder-only Transformer (Flax NNX), and its split into a graph and a flat dict of arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.model import attention, layers, linears
from scaling.specs import ModelSpec

Params = dict[str, Array]  # 'blocks.0.attention.qkv' -> array


def _same(x: Array) -> Array:
  return x


class Split(NamedTuple):
  """What surrounds attention and the feed-forward block where several devices share them, each
  with its own heads and hidden units (scaling/train/layout.py); nothing on one device."""

  enter: Callable[[Array], Array] = _same
  leave: Callable[[Array], Array] = _same


UNSPLIT = Split()


class FeedForward(nnx.Module):
  """swiglu: (silu(x W_gate) * (x W_up)) W_down (Shazeer 2020); gelu: gelu(x W_up) W_down.

  W_gate and W_up are one matrix [D, 2 F], the gate first. gelu is the tanh form.
  """

  def __init__(self, spec: ModelSpec, key: Array):
    D, F, dtype = spec.width, spec.hidden, layers.param_dtype(spec)
    self.gated = spec.activation == 'swiglu'
    self.up = linears.create(spec, layers.fold(key, 'up'), (D, 2 * F if self.gated else F),
                             D**-0.5, dtype)
    self.down = linears.create(spec, layers.fold(key, 'down'), (F, D),
                               (2 * spec.layers * F) ** -0.5, dtype)

  def __call__(self, x_BxLxD: Array) -> Array:
    h_BxLxF = linears.apply(self.up, x_BxLxD)
    h_BxLxF = layers.gated_silu(h_BxLxF) if self.gated else jax.nn.gelu(h_BxLxF)
    return linears.apply(self.down, h_BxLxF)


class Block(nnx.Module):
  """x + attention(norm(x)), then x + feed_forward(norm(x))."""

  def __init__(self, spec: ModelSpec, key: Array):
    dtype = layers.param_dtype(spec)
    self.attention_norm = layers.RMSNorm(spec.width, dtype)
    self.attention = attention.Attention(spec, layers.fold(key, 'attention'))
    self.feed_forward_norm = layers.RMSNorm(spec.width, dtype)
    self.feed_forward = FeedForward(spec, layers.fold(key, 'feed_forward'))

  def __call__(self, x_BxLxD: Array, attend: attention.Attend, split: Split = UNSPLIT) -> Array:
    h_BxLxD = split.enter(self.attention_norm(x_BxLxD))
    x_BxLxD = x_BxLxD + split.leave(self.attention(h_BxLxD, attend))
    h_BxLxD = split.enter(self.feed_forward_norm(x_BxLxD))
    return x_BxLxD + split.leave(self.feed_forward(h_BxLxD))


class Transformer(nnx.Module):
  """Token embedding, blocks, a last RMSNorm, and the head (the embedding itself when tied)."""

  def __init__(self, spec: ModelSpec, vocab_size: int, key: Array):
    dtype, std = layers.param_dtype(spec), layers.EMBEDDING_STD
    self.dtype = jnp.dtype(spec.dtype)
    self.embedding = layers.matrix(
        layers.fold(key, 'embedding'), (vocab_size, spec.width), std, dtype)
    self.blocks = nnx.List(
        Block(spec, layers.fold(key, 'blocks', i)) for i in range(spec.layers))
    self.norm = layers.RMSNorm(spec.width, dtype)
    self.tied = spec.tied_embeddings
    if not self.tied:
      self.head = layers.matrix(layers.fold(key, 'head'), (spec.width, vocab_size), std, dtype)

  def __call__(self, tokens_BxL: Array, attend: attention.Attend = attention.causal) -> Array:
    """Logits [B, L, V] in the compute dtype."""
    return self.logits(self.hidden(tokens_BxL, attend))

  def hidden(self, tokens_BxL: Array, attend: attention.Attend, split: Split = UNSPLIT) -> Array:
    """What the head multiplies [B, L, D], after the last RMSNorm."""
    x_BxLxD = self.embedding[...].astype(self.dtype)[tokens_BxL]
    for block in self.blocks:
      x_BxLxD = block(x_BxLxD, attend, split)
    return self.norm(x_BxLxD)

  def logits(self, x: Array) -> Array:
    """The head's product: [..., D] -> [..., V]."""
    if self.tied:
      return layers.linear_transposed(x, self.embedding[...])
    return layers.linear(x, self.head[...])


def init(spec: ModelSpec, vocab_size: int, seed: Array | int) -> Params:
  """The initial parameters of `seed`, by name; pure, so it may be traced."""
  key = layers.fold(jax.random.key(seed, impl='threefry2x32'), 'init')
  return _flat(nnx.state(Transformer(spec, vocab_size, key), nnx.Param))


def apply_fn(spec: ModelSpec, vocab_size: int) -> Callable[..., Array]:
  """The pure function (params, tokens int [B, L], attend=attention.causal) -> logits [B, L, V]."""
  bind = bind_fn(spec, vocab_size)
  return lambda params, *arguments: bind(params)(*arguments)


@functools.lru_cache(maxsize=64)
def bind_fn(spec: ModelSpec, vocab_size: int) -> Callable[[Params], Transformer]:
  """The function params -> the Transformer that holds them."""
  model = nnx.eval_shape(
      lambda: Transformer(spec, vocab_size, jax.random.key(0, impl='threefry2x32')))
  graph, state = nnx.split(model, nnx.Param)
  paths = {_name(path): path for path, _ in state.flat_state()}
  variables = dict(state.flat_state())

  def bind(params: Params) -> Transformer:
    leaves = {path: variables[path].replace(params[name]) for name, path in paths.items()}
    return nnx.merge(graph, nnx.from_flat_state(leaves))

  return bind


def _name(path: tuple[Any, ...]) -> str:
  return '.'.join(str(part) for part in path)


def _flat(state: Any) -> Params:
  return {_name(path): variable[...] for path, variable in state.flat_state()}
