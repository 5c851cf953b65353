"""Per law: true parameters, and inputs on its paper's kind of grid. The matrix of test_laws.py."""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis import laws
from analysis.laws import Law, vocabulary


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
CASES['average_parameters'] = Case(
    {'E': 1.8, 'A': 420.0, 'B': 1900.0, 'alpha': 0.34, 'beta': 0.36},
    grid(N_average=np.geomspace(3e7, 1.2e9, 7), D=np.geomspace(1e9, 1e11, 5)), loss_scaled=True)

_N_NV = np.array([33e6, 85e6, 151e6, 316e6, 632e6, 1130e6])
_VOCABULARY = grid(N_nv=_N_NV, V=np.array([4096, 8192, 16384, 32768, 65536, 98304.]),
                   H=np.geomspace(2e9, 2e11, 4))
_VOCABULARY['N_v'] = _VOCABULARY['V'] * vocabulary.width(_VOCABULARY['N_nv'])
_VOCABULARY_TRUTH = {'E': 5.54, 'A1': 880.0, 'A2': 1.4e4, 'B': 2.1e4, 'alpha1': 0.45,
                     'alpha2': 0.68, 'beta': 0.44}
CASES['vocabulary_characters'] = Case(_VOCABULARY_TRUTH, _VOCABULARY,
                                      scaled=('N_nv', 'N_v', 'H'))
CASES['vocabulary'] = Case(
    _VOCABULARY_TRUTH,
    {'N_nv': _VOCABULARY['N_nv'], 'N_v': _VOCABULARY['N_v'],
     'D': vocabulary.tokens_from_chars(_VOCABULARY['H'], _VOCABULARY['V'])})

_EPOCHS = grid(N=np.geomspace(2e7, 8e9, 7), U=np.geomspace(1e8, 1e11, 5),
               epochs=np.array([1.0, 2, 4, 10, 30, 100]))
_EPOCHS['D'] = _EPOCHS['U'] * _EPOCHS.pop('epochs')
_REPEATED = {'E': 1.87, 'A': 520.0, 'B': 1490.0, 'alpha': 0.35, 'beta': 0.36}
CASES['repetition'] = Case({**_REPEATED, 'R_D_star': 15.4, 'R_N_star': 5.3}, _EPOCHS,
                           loss_scaled=True)
CASES['repetition_geometric'] = Case({**_REPEATED, 'delta_D': 0.06, 'delta_N': 0.16}, _EPOCHS,
                                     loss_scaled=True)

# --- curves ---
# A change of the unit of N moves b and d of the routing law by sums: test_routing.py has that.
CASES['routing'] = Case(
    {'a': -0.082, 'b': -0.118, 'c': 0.0101, 'd': 1.1, 'Es': 1.8, 'Em': 280.0},
    grid(N=np.array([1.65e7, 2.73e7, 5.74e7, 1.32e8, 3.68e8, 1.31e9]),
         experts=2.0 ** np.arange(10)), edges={'N': np.full(2, 1e8),
                                               'experts': np.array([1.0, 1e6])}, scaled=())
CASES['sigmoid_accuracy'] = Case(
    {'a': -0.65, 'b': 0.92, 'k': 4.5, 'x0': 0.85}, {'task_loss': np.linspace(0.3, 1.9, 20)})
