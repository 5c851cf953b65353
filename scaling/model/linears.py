"""The linear layers of the blocks: a matrix, two thin ones, or these and a sparse one.

  dense      y = x W
  low_rank   y = (alpha / rank) (x A) B, A [I, rank], B [rank, O]
  sltrain    y = x ((alpha / rank) A B + S), S [I, O] with a random, fixed support of
             round(support I O) entries; everywhere else it is zero (Han et al. 2024, arXiv
             2406.02214, who write B A for what is A B here)

Initial values: A is N(0, 1 / I), B is such that the product's entries have the variance of the
dense matrix, and so have the entries of S on its support: training starts with activations of the
same size. (The paper starts with B = 0, which relies on S for the first gradients of A.)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from scaling import accounting
from scaling.model import layers
from scaling.specs import ModelSpec

SUPPORT = 'S'


class LowRank(nnx.Module):
  """A linear layer of two thin matrices and, for sltrain, a sparse one."""

  def __init__(self, spec: ModelSpec, key: Array, shape: tuple[int, int], std: float,
               dtype: jnp.dtype):
    inputs, outputs = shape
    rank = spec.rank or 0
    self.scale = (spec.alpha or rank) / rank
    self.A = layers.matrix(layers.fold(key, 'A'), (inputs, rank), inputs**-0.5, dtype)
    self.B = layers.matrix(layers.fold(key, 'B'), (rank, outputs),
                           std * (inputs / rank) ** 0.5 / self.scale, dtype)
    self.sparse = spec.linear == 'sltrain'
    if self.sparse:
      self.S = nnx.Param(_support(spec, layers.fold(key, SUPPORT), shape, std, dtype))

  def __call__(self, x: Array) -> Array:
    if not self.sparse:
      return layers.linear(layers.linear(x, self.A[...]), self.B[...]) * self.scale
    return layers.linear(x, self.scale * self.A[...] @ self.B[...] + self.S[...])


def create(spec: ModelSpec, key: Array, shape: tuple[int, int], std: float, dtype: jnp.dtype,
           ) -> nnx.Param | LowRank:
  """A linear layer [inputs, outputs] whose weights have the standard deviation `std` at first."""
  if spec.linear == 'dense':
    return layers.matrix(key, shape, std, dtype)
  return LowRank(spec, key, shape, std, dtype)


def apply(layer: Any, x: Array) -> Array:
  """x through a layer that `create` made."""
  return layer(x) if isinstance(layer, LowRank) else layers.linear(x, layer[...])


def has_support(spec: ModelSpec, name: str) -> bool:
  """Whether a parameter is zero off a fixed support."""
  return spec.linear == 'sltrain' and name.rpartition('.')[2] == SUPPORT


def _support(spec: ModelSpec, key: Array, shape: tuple[int, int], std: float,
             dtype: jnp.dtype) -> Array:
  """S: nowhere zero on its support, so that it tells what that is."""
  bits = jax.random.bits(layers.fold(key, 'support'), (shape[0] * shape[1],), jnp.uint32)
  count = jnp.int32(accounting.support(spec, *shape))
  values = jax.random.normal(key, shape, dtype)
  values = std * jnp.where(values == 0, 1, values)
  return jnp.where(largest(bits, count).reshape(shape), values, 0)


def largest(scores: Array, k: Array) -> Array:
  """Of unsigned integers [n], whether each is one of the k largest, ties by index.

  There is no sort: the k-th largest is found bit by bit from the top, each bit a count of what is
  not below.
  """
  bits = jnp.iinfo(scores.dtype).bits

  def refine(i, threshold):
    trial = threshold | (jnp.ones((), scores.dtype) << (bits - 1 - i).astype(scores.dtype))
    return jnp.where((scores >= trial).sum(dtype=jnp.int32) >= k, trial, threshold)

  # The largest threshold that at least k reach.
  threshold = lax.fori_loop(0, bits, refine, jnp.zeros((), scores.dtype))
  above, equal = scores > threshold, scores == threshold
  room = k - above.sum(dtype=jnp.int32)
  return above | (equal & (jnp.cumsum(equal, dtype=jnp.int32) <= room))
