"""What a lane carries from step to step."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from scaling.model import transformer
from scaling.specs import ModelSpec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PackState:
  """The state of one lane or, with a leading axis R on every leaf, of a pack."""

  params: dict[str, Array]
  mu: dict[str, Array]  # AdamW's first moment
  nu: dict[str, Array]  # and its second
  count: Array  # int32, updates done
  diverged: Array  # int32, -1, or the 1-based step that was refused


def fresh(model: ModelSpec, vocab_size: int, seed: Array | int) -> PackState:
  """One lane before its first update; depends on the seed only."""
  params = transformer.init(model, vocab_size, seed)
  zeros = jax.tree.map(jnp.zeros_like, params)
  return PackState(params, zeros, jax.tree.map(jnp.copy, zeros),
                   jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))
