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
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from scaling.errors import InputError, bad

Values = Mapping[str, Any]

# The range of an input, (low, high), both allowed, where no law says otherwise; all others must be
# positive and finite.
RANGES = {'r': (0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class Parameter:
  """One parameter: its scale, its units, and where to look for it.

  scale: 'log' for what is positive, 'linear', or 'ln' for what is the logarithm of a quantity with
    the units given.
  units: (input or 'loss', power) pairs; a power is a number, or a linear parameter by its name:
    'alpha', '-alpha', '1/alpha' (N_c of (N_c / N)^alpha carries N and loss^(1/alpha)), 'alpha*k'.
  start, bounds: natural values for a parameter without units, values at the data's centre (see
    above) for one with them.
  """

  name: str
  start: tuple[float, ...]
  bounds: tuple[float, float] = (1e-6, 1e6)
  scale: str = 'log'
  units: tuple[tuple[str, str | float], ...] = ()

  def check(self, value: float, verb: str) -> None:
    """Raises InputError for a value that no fit could give it: of the wrong sign, or, without
    units, outside its bounds (those of a parameter with units move with the data)."""
    if not math.isfinite(value) or (self.scale == 'log' and value <= 0):
      raise bad(f'{verb} {self.name}', value,
                'it must be finite' + (' and positive' if self.scale == 'log' else ''))
    low, high = self.bounds
    if not (self.units or low <= value <= high):
      raise bad(f'{verb} {self.name}', value, f'it must be in [{low:g}, {high:g}]')


def powers_of(power: str) -> tuple[str, ...]:
  """The parameters that a power names."""
  return tuple(f for f in power.removeprefix('-').removeprefix('1/').split('*') if f.isidentifier())


def power(of: str | float, values: Values) -> Any:
  """A power of a unit, given the linear parameters."""
  if not isinstance(of, str):
    return of
  value: Any = 1.0
  for factor in of.removeprefix('-').removeprefix('1/').split('*'):
    value = value * (values[factor] if factor.isidentifier() else float(factor))
  value = 1 / value if '1/' in of else value
  return -value if of.startswith('-') else value


@dataclasses.dataclass(frozen=True, eq=False)
class Law:
  """A law: `equation(params, inputs)` in jax.numpy, and its declaration.

  columns: (input, column) pairs where the column of a workdir's table is not the input's name.
  optimum: (params, C) -> {name: value for name in optimum_of}, the inputs of least loss at C FLOPs
    (C = 6 N D where the law does not say otherwise), when there is one.
  output: what the law predicts, 'loss' (nats per token), 'loss_unigram', 'accuracy', 'error', ...;
    in `Parameter.units` it is called 'loss' whatever it is.
  objective: (name, Huber delta) used where none is asked for; an output that can be zero or less
    needs one without a logarithm.
  ranges: (input, (low, high)) of inputs that are not just positive; ends are allowed.
  linear: parameters on a log scale in which the equation is linear, the others given. The search
    solves for them at every start.
  check: (params, inputs) -> what such a law should do and does not at these inputs, a sentence
    each; fits say it as warnings.
  fixed, tied: what `combine.fix` and `combine.tie` have done to the law of that name.
  """

  name: str
  formula: str
  source: str
  inputs: tuple[str, ...]
  parameters: tuple[Parameter, ...]
  equation: Callable[[Values, Values], Any]
  columns: tuple[tuple[str, str], ...] = ()
  optimum: Callable[[Values, Any], dict[str, Any]] | None = None
  optimum_of: tuple[str, ...] = ('N', 'D')
  output: str = 'loss'
  objective: tuple[str, float] = ('huber_log', 1e-3)
  ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
  linear: tuple[str, ...] = ()
  check: Callable[[Values, Values], list[str] | None] | None = None
  fixed: tuple[tuple[str, float], ...] = ()
  tied: tuple[tuple[str, str], ...] = ()

  @property
  def names(self) -> tuple[str, ...]:
    """The names of the free parameters."""
    return tuple(p.name for p in self.parameters)

  def range(self, name: str) -> tuple[float, float] | None:
    """The values an input may take, ends included; None: positive and finite."""
    return dict(self.ranges).get(name, RANGES.get(name))

  def allows(self, name: str, values: np.ndarray) -> np.ndarray:
    """Which values an input may take; bool, of the values' shape."""
    limits = self.range(name)
    if limits is None:
      return np.isfinite(values) & (values > 0)
    return np.isfinite(values) & (values >= limits[0]) & (values <= limits[1])

  def allowed(self, name: str) -> str:
    """The same in words: 'positive and finite', 'in [0, 1]', 'at least 1'."""
    limits = self.range(name)
    if limits is None:
      return 'positive and finite'
    low, high = limits
    return f'in [{low:g}, {high:g}]' if np.isfinite(high) else f'at least {low:g}'

  def broken(self, params: Values, inputs: Values) -> list[str]:
    """What `check` says of these parameters; [] for a law without one."""
    return [] if self.check is None else self.check(params, check_inputs(self, inputs)) or []

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
    if not np.all(law.allows(name, values)):
      wrong = np.atleast_1d(values)[~np.atleast_1d(law.allows(name, values))][0]
      raise bad(name, float(wrong), f'it must be {law.allowed(name)}')
    found[name] = values
  try:
    arrays = np.broadcast_arrays(*found.values())
  except ValueError:
    shapes = ', '.join(f'{k} {v.shape}' for k, v in found.items())
    raise InputError(f'{law.name}: inputs of different lengths: {shapes}') from None
  return dict(zip(found, arrays))


def _list(names: tuple[str, ...]) -> str:
  return ', '.join(names)
