"""What a law is: a pure function of parameters and inputs, and the facts that fitting it needs.

A law file holds one `LAW = Law(...)`. Everything about units is declared, not coded: a parameter
says which powers of which inputs it carries (A of A/N^alpha carries loss * N^alpha), and the fit
then works in coordinates where neither the unit of N nor that of the loss can be seen. Starting
values and bounds of such a parameter are given in those coordinates too, that is as its value when
every input is measured in units of its geometric mean and the loss in units of its median: for A
that is the share of the loss which the term explains at the centre of the data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from scaling.errors import InputError, bad

Values = Mapping[str, Any]

# Inputs that may be zero; all others must be positive. (low, high), both allowed.
RANGES = {'r': (0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class Parameter:
  """One parameter: its scale, its units, and where to look for it.

  units: (input or 'loss', power) pairs; a power is a number or the name of a linear parameter.
  start, bounds: natural values for a parameter without units, values at the data's centre (see
    above) for one with them.
  weak: the law's own data identify it badly; recovery is then judged by predictions.
  """

  name: str
  start: tuple[float, ...]
  bounds: tuple[float, float] = (1e-6, 1e6)
  scale: str = 'log'  # or 'linear'
  units: tuple[tuple[str, str | float], ...] = ()
  weak: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Law:
  """A law: `equation(params, inputs)` in jax.numpy, and its declaration.

  columns: (input, column) pairs where the column of a workdir's table is not the input's name.
  optimum: (params, C) -> {'N', 'D'}, the inputs of least loss under C = 6 N D, when there is one.
  """

  name: str
  formula: str
  source: str
  inputs: tuple[str, ...]
  parameters: tuple[Parameter, ...]
  equation: Callable[[Values, Values], Any]
  columns: tuple[tuple[str, str], ...] = ()
  optimum: Callable[[Values, Any], dict[str, Any]] | None = None

  @property
  def names(self) -> tuple[str, ...]:
    return tuple(p.name for p in self.parameters)

  def predict(self, params: Values, inputs: Values) -> np.ndarray:
    """The law's output for inputs of any one shape, in float64.

    Raises InputError when a parameter or input is missing or outside the law's domain.
    """
    for name in self.names:
      if name not in params:
        raise InputError(f'{self.name}: parameter {name} is missing; it needs {_list(self.names)}')
    x = check_inputs(self, inputs)
    with jax.enable_x64(True):
      theta = {name: np.asarray(params[name], np.float64) for name in self.names}
      return np.asarray(_evaluate(self.equation, theta, x))

  def best(self, params: Values, flops: Any) -> dict[str, np.ndarray]:
    """The inputs of least loss for a budget of C = 6 N D FLOPs. InputError if it has no optimum."""
    if self.optimum is None:
      raise InputError(f'{self.name}: this law has no compute optimum; give its inputs instead')
    with jax.enable_x64(True):
      theta = {name: np.asarray(params[name], np.float64) for name in self.names}
      found = _evaluate(self.optimum, theta, np.asarray(flops, np.float64))
      return {name: np.asarray(value) for name, value in found.items()}


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(function: Callable[..., Any], params: Values, x: Any) -> Any:
  return function(params, x)


def in_range(name: str, values: np.ndarray) -> np.ndarray:
  """Which values an input may take."""
  if name in RANGES:
    low, high = RANGES[name]
    return (values >= low) & (values <= high)
  return np.isfinite(values) & (values > 0)


def check_inputs(law: Law, inputs: Values) -> dict[str, np.ndarray]:
  """The law's inputs as float64 arrays broadcast to one shape, or an InputError."""
  found = {}
  for name in law.inputs:
    if name not in inputs:
      raise InputError(f'{law.name}: input {name} is missing; it needs {_list(law.inputs)}')
    try:
      values = np.asarray(inputs[name], np.float64)
    except (TypeError, ValueError):
      raise bad(name, inputs[name], 'it must be a number or numbers') from None
    if not np.all(in_range(name, values)):
      wanted = f'in {list(RANGES[name])}' if name in RANGES else 'positive and finite'
      wrong = np.atleast_1d(values)[~np.atleast_1d(in_range(name, values))][0]
      raise bad(name, float(wrong), f'it must be {wanted}')
    found[name] = values
  try:
    arrays = np.broadcast_arrays(*found.values())
  except ValueError:
    shapes = ', '.join(f'{k} {v.shape}' for k, v in found.items())
    raise InputError(f'{law.name}: inputs of different lengths: {shapes}') from None
  return dict(zip(found, arrays))


def _list(names: tuple[str, ...]) -> str:
  return ', '.join(names)
