"""Limits: which sizes of a program go together."""

from __future__ import annotations

import jax
from jax.sharding import Mesh

from scaling.errors import bad
from scaling.specs import OPTIMIZERS
from scaling.train.shape import Shape


def check(shape: Shape, lanes: int, chunk: int, accumulation: int, mesh: Mesh) -> None:
  """Raises InputError for what cannot be compiled: sizes that do not divide, above all."""
  if shape.optimizer not in OPTIMIZERS:
    raise bad('optim.optimizer', shape.optimizer, f'allowed are {", ".join(OPTIMIZERS)}')
  for name, size in (('chunk', chunk), ('lanes', lanes), ('accumulation', accumulation)):
    if size < 1:
      raise bad(name, size, 'it must be >= 1')
  if lanes % mesh.shape['run']:
    raise bad('lanes', lanes, f'the run axis, {mesh.shape["run"]}, must divide it')
  fsdp, tensor, model = mesh.shape['fsdp'], mesh.shape['tensor'], shape.model
  if fsdp * tensor > 1 and (shape.sparse or model.linear != 'dense'):
    raise bad('--mesh', f'fsdp * tensor = {fsdp * tensor}', 'a sparse or low-rank model is not '
              'split over devices: its lanes have one each, or share a batch (data)')
  parts = accumulation * mesh.shape['data'] * fsdp
  if shape.batch % parts:
    axes = 'the data axis' if fsdp == 1 else 'data * fsdp'
    raise bad('data.batch', shape.batch, f'accumulation * {axes} = {parts} must divide it')
  for name, value in (('heads', model.heads), ('hidden', model.hidden)):
    if value % tensor:
      raise bad(f'model.{name}', value, f'the tensor axis, {tensor}, must divide it')
  if model.width % (fsdp * tensor):
    raise bad('model.width', model.width, f'fsdp * tensor = {fsdp * tensor} must divide it')
  if model.dtype == 'float64' and jax.dtypes.canonicalize_dtype(float) != 'float64':
    raise bad('model.dtype', 'float64', 'it needs jax_enable_x64')
