"""Pruning: which weights of a lane stay, found on the device between two dispatches.

Of the weights that are left, those with the largest scores stay: |w|, or, for a random support, one
random number a weight, keyed by the run's seed and the layer's name. Exactly as many stay as asked
for; of equal scores the one with the lower index does (layers in the model's order, then rows).

Scores that are not negative are ordered as their bits are, so that no sort is needed
(`linears.largest`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from scaling import accounting
from scaling.model import layers, linears
from scaling.specs import ModelSpec, SparsitySpec
from scaling.train import step
from scaling.train.state import PackState


class Kind(NamedTuple):
  """What is compiled into a pruning; lanes with different densities share it."""

  scope: str
  group: tuple[int, int] | None
  random: bool

  @property
  def each(self) -> bool:
    """Whether every layer has a count of its own."""
    return self.scope == 'layer'

  @classmethod
  def of(cls, spec: SparsitySpec) -> Kind:
    return cls(spec.scope, spec.group, spec.schedule == 'constant')


def prune(model: ModelSpec, kind: Kind, lane: PackState, keep: Array, seed: Array) -> PackState:
  """The lane with as many weights as `keep` says, int32 [1] over all layers or [layers].

  Weights that are zero already stay so. A pattern n:m takes no notice of `keep`.
  """
  names = list(accounting.linears(model))
  if kind.random:
    key = layers.fold(jax.random.key(seed, impl='threefry2x32'), 'support')
    scores = [jax.random.bits(layers.fold(key, name), lane.masks[name].shape, jnp.uint32) >> 1
              for name in names]
  else:
    scores = [order(lane.params[name]) for name in names]
  # What has gone is below all that is left.
  scores = [jnp.where(lane.masks[name], score + 1, 0)
            for name, score in zip(names, scores, strict=True)]
  if kind.group is not None:
    n, m = kind.group
    kept = [_of_groups(score, n, m) for score in scores]
  elif kind.scope == 'layer':
    kept = [linears.largest(score.ravel(), keep[i]).reshape(score.shape)
            for i, score in enumerate(scores)]
  else:
    flat = linears.largest(jnp.concatenate([score.ravel() for score in scores]), keep[0])
    ends = [0]
    for score in scores:
      ends.append(ends[-1] + score.size)
    kept = [flat[a:b].reshape(score.shape)
            for a, b, score in zip(ends, ends[1:], scores, strict=False)]
  masks = {name: kept_here & lane.masks[name]
           for name, kept_here in zip(names, kept, strict=True)}
  return PackState(step.masked(lane.params, masks), lane.mu, lane.nu, lane.count, lane.diverged,
                   masks)


def order(w: Array) -> Array:
  """Unsigned integers that are ordered as |w|."""
  bits = jnp.uint64 if w.dtype == jnp.float64 else jnp.uint32
  return lax.bitcast_convert_type(jnp.abs(w), bits)


def _of_groups(scores: Array, n: int, m: int) -> Array:
  """The n largest of every m along the inputs [I, O], ties by index."""
  inputs, outputs = scores.shape
  grouped = scores.reshape(inputs // m, m, outputs)
  higher = grouped[:, None] > grouped[:, :, None]  # [I / m, this, other, O]
  earlier = jnp.arange(m)[None, :] < jnp.arange(m)[:, None]
  before = higher | ((grouped[:, None] == grouped[:, :, None]) & earlier[None, :, :, None])
  return (before.sum(2) < n).reshape(inputs, outputs)
