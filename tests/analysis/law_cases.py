"""Per law: true parameters, and inputs on its paper's kind of grid. The matrix of test_laws.py."""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis import laws
from analysis.laws import Law


@dataclasses.dataclass(frozen=True)
class Case:
  """truth {name: value}, inputs {name: [n]}.

  edges: inputs where the law must stay finite, with finite gradients (r = 0, r = 1, ...).
  scaled: inputs whose unit may change (default: all without a range of their own).
  loss_scaled: whether a factor on the output is only another set of coefficients.
  law: for a law that laws.get does not know, such as one made by a factory.
  """

  truth: dict[str, float]
  inputs: dict[str, np.ndarray]
  edges: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  scaled: tuple[str, ...] | None = None
  loss_scaled: bool = False
  law: Law | None = None

  def of(self, name: str) -> Law:
    return self.law or laws.get(name)

  def units(self, name: str) -> tuple[str, ...]:
    law = self.of(name)
    return self.scaled if self.scaled is not None else tuple(
        n for n in law.inputs if law.range(n) is None)


def grid(**axes: np.ndarray) -> dict[str, np.ndarray]:
  """Every combination of the axes' values, {name: [n]}."""
  return {k: v.ravel() for k, v in zip(axes, np.meshgrid(*axes.values(), indexing='ij'))}


CASES: dict[str, Case] = {}

# --- isoflop ---
CASES['chinchilla'] = Case(
    {'E': 1.82, 'A': 480.0, 'B': 2085.0, 'alpha': 0.348, 'beta': 0.366},
    grid(N=np.geomspace(5e7, 1e10, 7), D=np.geomspace(1e9, 3e11, 6)), loss_scaled=True)

# --- kaplan ---

# --- dcpt ---

# --- vocab ---

# --- curves ---
