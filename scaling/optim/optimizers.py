"""Optimizers as pure functions of one lane, every number of theirs an argument at run time.

optax bakes weight decay and the momenta into its transformation; here lanes of one program differ
in them, so the two dozen lines of AdamW are written out and tests compare them with optax.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Arrays = dict[str, Array]


class Hyper(NamedTuple):
  """The optimizer's numbers, scalars of one lane (or [R] for a pack)."""

  b1: Any
  b2: Any
  eps: Any
  weight_decay: Any
  clip_norm: Any  # inf: no clipping


def global_norm(arrays: Arrays) -> Array:
  """sqrt of the sum of squares of every element."""
  return jnp.sqrt(sum(jnp.sum(a * a) for a in jax.tree.leaves(arrays)))


def decays(param: Array) -> bool:
  """Whether weight decay acts on it: on matrices only, never on normalisation scales."""
  return param.ndim >= 2


def adamw(params: Arrays, mu: Arrays, nu: Arrays, grads: Arrays, norm: Array, count: Array,
          lr: Array, hyper: Hyper) -> tuple[Arrays, Arrays, Arrays]:
  """One update of AdamW after clipping by the global norm (Loshchilov, Hutter 2019).

  g = grads * min(1, clip_norm / norm)
  mu' = b1 mu + (1 - b1) g;  nu' = b2 nu + (1 - b2) g^2
  p' = p - lr (mu' / (1 - b1^t) / (sqrt(nu' / (1 - b2^t)) + eps) + weight_decay p)

  `norm` is `global_norm(grads)` and `count` the updates done before this one, so t = count + 1; the
  decay acts on matrices only. Returns params', mu', nu'.
  """
  t = (count + 1).astype(norm.dtype)
  scale = jnp.where(norm > hyper.clip_norm, hyper.clip_norm / norm, 1.0).astype(norm.dtype)
  correct1, correct2 = 1 / (1 - hyper.b1**t), 1 / (1 - hyper.b2**t)
  new_params, new_mu, new_nu = {}, {}, {}
  for name, p in params.items():
    g = grads[name] * scale
    new_mu[name] = m = hyper.b1 * mu[name] + (1 - hyper.b1) * g
    new_nu[name] = v = hyper.b2 * nu[name] + (1 - hyper.b2) * g * g
    step = m * correct1 / (jnp.sqrt(v * correct2) + hyper.eps)
    if decays(p):
      step = step + hyper.weight_decay * p
    new_params[name] = p - lr * step
  return new_params, new_mu, new_nu
