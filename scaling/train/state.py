"""What a lane carries from step to step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scaling import accounting
from scaling.model import linears, transformer
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
  masks: dict[str, Array] = dataclasses.field(default_factory=dict)
  # bool, of the parameters with weights fixed at zero: False there; none in a dense program


def fresh(model: ModelSpec, vocab_size: int, seed: Array | int, sparse: bool = False) -> PackState:
  """One lane before its first update; depends on the seed only."""
  params = transformer.init(model, vocab_size, seed)
  masks = {name: params[name] != 0 for name in params if linears.has_support(model, name)}
  if sparse:
    masks = {name: jnp.ones(shape, bool) for name, shape in accounting.linears(model).items()}
  zeros = jax.tree.map(jnp.zeros_like, params)
  return PackState(params, zeros, jax.tree.map(jnp.copy, zeros),
                   jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32), masks)


def of_arrays(arrays: Mapping[str, Any], model: ModelSpec, sparse: bool) -> PackState:
  """A lane from its checkpoint, or its parent's.

  A dense run that goes on from a sparse one has no masks, so its zeros revive; a sparse one that
  goes on from a dense one begins with all of its weights.
  """
  masks = dict(arrays.get('masks') or {})
  if model.linear == 'dense' and not sparse:
    masks = {}
  elif sparse and not masks:
    masks = {name: np.ones(shape, bool) for name, shape in accounting.linears(model).items()}
  return PackState(**{**arrays, 'masks': masks})
