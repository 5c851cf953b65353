"""Which rows of a user's arrays a fit can use, and why it cannot use the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.laws.law import Law, in_range
from scaling.errors import InputError


def usable(law: Law, inputs: Mapping[str, Any], loss: Any, groups: Any, log: bool,
           ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, dict[str, int]]:
  """Inputs, loss and groups of the rows a fit can use, and how many others there are, and why.

  Raises InputError for a missing input, what is not a number, or arrays of different lengths.
  """
  try:
    y = np.asarray(loss, np.float64)
    x = {name: np.asarray(inputs[name], np.float64) for name in law.inputs}
  except KeyError as error:
    raise InputError(f'{law.name}: input {error.args[0]} is missing; it needs '
                     f'{", ".join(law.inputs)} and loss') from None
  except (TypeError, ValueError):
    raise InputError(f'{law.name}: inputs and loss must be numbers') from None
  group = np.arange(y.size) if groups is None else np.asarray(groups)
  for name, values in [*x.items(), ('groups', group)]:
    if values.shape != y.shape or y.ndim != 1:
      raise InputError(f'{law.name}: {name} has shape {values.shape}, loss {y.shape}; they must be '
                       'rows of one length')
  keep = np.ones(y.shape, bool)
  dropped: dict[str, int] = {}

  def drop(wrong: np.ndarray, reason: str) -> None:
    nonlocal keep
    count = int(np.sum(wrong & keep))
    if count:
      dropped[reason] = count
      keep = keep & ~wrong

  for name, values in [*x.items(), ('loss', y)]:
    drop(np.isnan(values), f'{name} missing')
    drop(np.isinf(values), f'{name} infinite')
  for name, values in x.items():
    drop(~in_range(name, values), f'{name} outside [0, 1]' if name == 'r' else
         f'{name} not positive')
  if log:
    drop(y <= 0, 'loss not positive')
  return {k: v[keep] for k, v in x.items()}, y[keep], group[keep], dropped


def said(dropped: Mapping[str, int]) -> str:
  """'N missing: 1, loss not positive: 2'."""
  return ', '.join(f'{reason}: {count}' for reason, count in dropped.items())
