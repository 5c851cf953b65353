"""Where fits happen: parameters as numbers near one, whatever the units of the data.

For a parameter theta with units prod_k x_k^(power_k), and x_k's reference value (geometric mean of
an input, median of the loss), log scale has u = ln theta - sum_k power_k ln ref_k and linear scale
u = theta / prod_k ref_k^power_k; ln scale, for a parameter that is itself the logarithm of a
quantity with those units, has u = theta - sum_k power_k ln ref_k. A change of units in the data
leaves every u as it was, and ln A and alpha, which a raw fit must move together along a narrow
valley, become nearly independent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.laws.law import Law, power


@dataclasses.dataclass(frozen=True, eq=False)
class Coordinates:
  """The map between a law's natural parameters and u, for the references of one data set."""

  law: Law
  reference: Mapping[str, Any]  # of every input and of 'loss': ln of its reference value

  @classmethod
  def of(cls, law: Law, inputs: Mapping[str, np.ndarray], loss: np.ndarray) -> Coordinates:
    logs = {'loss': float(np.log(np.median(np.abs(loss)) or 1.0))}
    for name in law.inputs:
      positive = inputs[name][inputs[name] > 0]
      logs[name] = float(np.mean(np.log(positive))) if positive.size else 0.0
    return cls(law, logs)

  def offsets(self, linear: Mapping[str, Any]) -> dict[str, Any]:
    """ln of each parameter's unit, given the natural values of the linear parameters."""
    return {p.name: sum(power(of, linear) * self.reference[name] for name, of in p.units)
            for p in self.law.parameters}

  def natural(self, u: Any) -> dict[str, Any]:
    """u [..., P] -> natural parameters {name: [...]}; numpy in, numpy out, jax in, jax out."""
    xp = np if isinstance(u, np.ndarray) else jnp
    columns = {p.name: u[..., i] for i, p in enumerate(self.law.parameters)}
    fixed = {p.name: columns[p.name] for p in self.law.parameters
             if p.scale == 'linear' and not p.units}
    offsets = self.offsets(fixed)
    return {p.name: xp.exp(columns[p.name] + offsets[p.name]) if p.scale == 'log'
            else columns[p.name] + offsets[p.name] if p.scale == 'ln'
            else columns[p.name] * xp.exp(offsets[p.name]) for p in self.law.parameters}

  def internal(self, params: Mapping[str, Any]) -> np.ndarray:
    """Natural parameters {name: [...]} -> u [..., P]."""
    values = {name: np.asarray(params[name], np.float64) for name in self.law.names}
    offsets = self.offsets(values)
    with np.errstate(divide='ignore'):
      return np.stack(np.broadcast_arrays(*(
          np.log(values[p.name]) - offsets[p.name] if p.scale == 'log'
          else values[p.name] - offsets[p.name] if p.scale == 'ln'
          else values[p.name] / np.exp(offsets[p.name]) for p in self.law.parameters)), -1)

  def bounds(self) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper bounds of u."""
    pairs = [[np.log(b) if p.scale == 'log' else b for b in p.bounds] for p in self.law.parameters]
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])

  def starts(self) -> np.ndarray:
    """The law's starting grid, u [S, P]."""
    columns = [[np.log(s) if p.scale == 'log' else s for s in p.start]
               for p in self.law.parameters]
    return np.array(list(itertools.product(*columns)))

  def natural_starts(self, grid: Mapping[str, Sequence[float]]) -> np.ndarray:
    """A grid in natural units (logarithms for parameters on a log scale), as u [S, P]."""
    points = np.array(list(itertools.product(*(grid[name] for name in self.law.names))))
    values = {p.name: points[:, i] for i, p in enumerate(self.law.parameters)}
    offsets = self.offsets(values)
    return np.stack([values[p.name] - offsets[p.name] if p.scale in ('log', 'ln')
                     else values[p.name] / np.exp(offsets[p.name])
                     for p in self.law.parameters], -1)
