"""Shapes: what lanes that train in one program have in common, and what they may differ in."""

from __future__ import annotations

import dataclasses
import math

from scaling.optim.optimizers import Hyper
from scaling.specs import ModelSpec, RunSpec


@dataclasses.dataclass(frozen=True)
class Shape:
  """Everything about a lane that is compiled into its program."""

  model: ModelSpec
  vocab_size: int  # V
  length: int  # L
  batch: int  # B
  optimizer: str = 'adamw'
  sparse: bool = False  # whether weights are masked: a program of its own

  @classmethod
  def of(cls, spec: RunSpec) -> Shape:
    data = spec.data
    return cls(spec.model, data.vocab_size, data.length, data.batch, spec.optim.optimizer,
               not spec.sparsity.dense)


def hyper(spec: RunSpec) -> dict[str, float]:
  """The optimizer's numbers of a run; clip_norm is inf when there is no clipping."""
  values = {name: getattr(spec.optim, name) for name in Hyper._fields}
  if values['clip_norm'] is None:
    values['clip_norm'] = math.inf
  return values
