"""One lane on several devices: what each holds, gathers and sums inside a program.

All of this runs inside jax.shard_map, on the device's own part. With T the tensor axis, a device
computes as a model of H / T heads and F / T hidden units would, on whole parameters otherwise;
collectives and their derivatives are written out, so that nothing depends on how automatic
differentiation treats a value that several devices hold.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from scaling.model.transformer import UNSPLIT, Params, Split
from scaling.optim import optimizers
from scaling.specs import ModelSpec
from scaling.train import sharding

GROUPS = {'qkv': 3, 'up': 2}  # equal parts of a column dimension, each split over `tensor`


@dataclasses.dataclass(frozen=True)
class Layout:
  """The sizes of the mesh axes that share a lane; all 1: a device a lane, and no collective."""

  data: int = 1
  fsdp: int = 1
  tensor: int = 1
  gated: bool = True  # whether `up` is two matrices

  @classmethod
  def of(cls, mesh: Mesh, model: ModelSpec) -> Layout:
    return cls(mesh.shape['data'], mesh.shape['fsdp'], mesh.shape['tensor'],
               model.activation == 'swiglu')

  @property
  def split(self) -> Split:
    """What surrounds attention and the feed-forward block in the model."""
    return Split(_enter, _leave) if self.tensor > 1 else UNSPLIT

  @property
  def batch_parts(self) -> int:
    return self.data * self.fsdp

  def whole(self, params: Params) -> Params:
    """What this device computes with, from what it stores; gradients come back as stored, summed
    over `fsdp` where they are stored over it."""
    if self.fsdp == self.tensor == 1:
      return params
    return {name: self._whole(name, leaf) for name, leaf in params.items()}

  def _whole(self, name: str, leaf: Array) -> Array:
    kinds = sharding.logical(name)
    for dimension, axes in enumerate(sharding.stored(name)):
      if 'tensor' in axes and kinds[dimension] == 'embed' and self.tensor > 1:
        groups = 1 if kinds[-1] == 'up' and not self.gated else GROUPS.get(kinds[-1])
        leaf = _columns(leaf, groups, self.tensor) if groups else _copies(leaf, dimension)
      if 'fsdp' in axes and self.fsdp > 1:
        leaf = lax.all_gather(leaf, 'fsdp', axis=dimension, tiled=True)
    if kinds == ('head_size',) and self.tensor > 1:
      leaf = _enter(leaf)  # Every device has it for its own heads only.
    return leaf

  def sum(self, loss: Array, grads: Params) -> tuple[Array, Params]:
    """Sums over the devices that share the batch; the loss over all that share the lane, so that
    they agree on it to the bit, and divided by `tensor`."""
    if self.tensor > 1:
      loss = lax.psum(loss, 'tensor') / self.tensor
    if self.fsdp > 1:
      here = {name: g for name, g in grads.items() if 'fsdp' not in _axes(name)}
      loss, here = lax.psum((loss, here), 'fsdp')
      grads = {**grads, **here}
    if self.data > 1:
      loss, grads = lax.psum((loss, grads), 'data')
    return loss, grads

  def norm(self, grads: Params) -> Array:
    """sqrt of the sum of squares of every element, over all parts."""
    if self.fsdp == self.tensor == 1:
      return optimizers.global_norm(grads)
    sums: dict[tuple[str, ...], Any] = {}
    for name, g in grads.items():
      axes = tuple(a for a in _axes(name) if getattr(self, a) > 1)
      sums[axes] = sums.get(axes, 0) + jnp.sum(g * g)
    return jnp.sqrt(sum(lax.psum(value, axes) if axes else value for axes, value in sums.items()))


ALONE = Layout()


def _axes(name: str) -> tuple[str, ...]:
  return tuple(sorted(axis for axes in sharding.stored(name) for axis in axes))


def _columns(w_DxC: Array, groups: int, tensor: int) -> Array:
  """Rows of all columns [D / T, G C] -> this device's columns of every group [D, G C / T]."""
  D, C = w_DxC.shape
  parts = w_DxC.reshape(D, groups, tensor, C // groups // tensor)
  parts = lax.all_to_all(parts, 'tensor', split_axis=2, concat_axis=0, tiled=True)
  return parts.reshape(D * tensor, C // tensor)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _copies(leaf: Array, dimension: int) -> Array:
  """A parameter that all devices of `tensor` use whole and store in parts. They compute the same
  gradient, of which each keeps its part."""
  return lax.all_gather(leaf, 'tensor', axis=dimension, tiled=True)


def _copies_forward(leaf: Array, dimension: int):
  return _copies(leaf, dimension), None


def _copies_backward(dimension: int, saved: None, g: Array):
  size = g.shape[dimension] // lax.axis_size('tensor')
  return (lax.dynamic_slice_in_dim(g, lax.axis_index('tensor') * size, size, dimension),)


_copies.defvjp(_copies_forward, _copies_backward)


@jax.custom_vjp
def _enter(x: Array) -> Array:
  """Before what is split over `tensor`: the value as it is, gradients summed (Megatron's f)."""
  return x


_enter.defvjp(lambda x: (x, None), lambda _, g: (lax.psum(g, 'tensor'),))


@jax.custom_vjp
def _leave(x: Array) -> Array:
  """After it: values summed, the gradient as it is (Megatron's g)."""
  return lax.psum(x, 'tensor')


_leave.defvjp(lambda x: (_leave(x), None), lambda _, g: (g,))


def forgetful(prim: Any, *_: Any, **__: Any) -> bool:
  """Policy of jax.checkpoint: what gathering gave is gathered again for the derivative, everything
  else is kept. So a compiler that schedules for memory need not hold all parameters whole; that of
  a CPU does so all the same (34 MB of temporaries against 36 at 6M parameters and fsdp = 8)."""
  return prim.name not in ('all_gather', 'all_to_all', 'convert_element_type', 'reshape')
