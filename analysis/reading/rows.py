"""Which rows of a user's arrays a fit can use, and why it cannot use the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.laws.law import Law
from scaling.errors import InputError, bad


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows of one length n: inputs {name: [n]}, loss, groups, weights; and how many are not here."""

  inputs: dict[str, np.ndarray]
  loss: np.ndarray
  groups: np.ndarray
  weights: np.ndarray
  dropped: dict[str, int]
  kept: np.ndarray  # bool [rows given]


def usable(law: Law, inputs: Mapping[str, Any], loss: Any, groups: Any, weights: Any, log: bool,
           ) -> Rows:
  """The rows that a fit can use; the others are counted by reason.

  groups default to a group a row (rows that are the same share one), weights to one. Raises
  InputError for a missing input, what is not a number, arrays of different lengths, or weights that
  are negative.
  """
  try:
    y = np.asarray(loss, np.float64)
    x = {name: np.asarray(inputs[name], np.float64) for name in law.inputs}
    weight = np.ones(y.shape) if weights is None else np.asarray(weights, np.float64)
  except KeyError as error:
    raise InputError(f'{law.name}: input {error.args[0]} is missing; it needs '
                     f'{", ".join(law.inputs)} and {law.output}') from None
  except (TypeError, ValueError):
    raise InputError(f'{law.name}: inputs, weights and {law.output} must be numbers') from None
  group = np.arange(y.size) if groups is None else np.asarray(groups)
  for name, values in [*x.items(), ('groups', group), ('weights', weight)]:
    if values.shape != y.shape or y.ndim != 1:
      raise InputError(f'{law.name}: {name} has shape {values.shape}, {law.output} {y.shape}; they '
                       'must be rows of one length')
  if groups is None:
    group = alike(x, y)
  if np.any(weight < 0) or np.any(np.isinf(weight)):
    raise bad('weights', float(weight[(weight < 0) | np.isinf(weight)][0]),
              'they must be >= 0 and finite')
  keep = np.ones(y.shape, bool)
  dropped: dict[str, int] = {}

  def drop(wrong: np.ndarray, reason: str) -> None:
    nonlocal keep
    count = int(np.sum(wrong & keep))
    if count:
      dropped[reason] = count
      keep = keep & ~wrong

  for name, values in [*x.items(), (law.output, y), ('weight', weight)]:
    drop(np.isnan(values), f'{name} missing')
    drop(np.isinf(values), f'{name} infinite')
  for name, values in x.items():
    limits = law.range(name)
    drop(~law.allows(name, values), f'{name} not positive' if limits is None
         else f'{name} not {law.allowed(name)}')
  if log:
    drop(y <= 0, f'{law.output} not positive')
  drop(weight == 0, 'weight zero')
  return Rows({k: v[keep] for k, v in x.items()}, y[keep], group[keep], weight[keep], dropped, keep)


def alike(inputs: Mapping[str, np.ndarray], loss: np.ndarray, *others: np.ndarray) -> np.ndarray:
  """For every row the number of the first that is the same: a copy is no second measurement."""
  codes = [np.unique(v, return_inverse=True)[1] for v in (*inputs.values(), loss, *others)]
  _, first, member = np.unique(np.stack(codes, 1), axis=0, return_index=True, return_inverse=True)
  return first[member.ravel()]


def said(dropped: Mapping[str, int]) -> str:
  """'N missing: 1, loss not positive: 2'."""
  return ', '.join(f'{reason}: {count}' for reason, count in dropped.items())
