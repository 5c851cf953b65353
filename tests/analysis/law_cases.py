"""Per law: true parameters, and inputs on its paper's kind of grid. The matrix of test_laws.py."""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis import laws
from analysis.laws import Law, mixing, vocabulary


@dataclasses.dataclass(frozen=True)
class Case:
  """truth {name: value}, inputs {name: [n]}.

  edges: inputs where the law must stay finite, with finite gradients (r = 0, r = 1, ...).
  edge_truth: parameters that have other values there (shifts of zero).
  scaled: inputs whose unit may change (default: all without a range of their own).
  loss_scaled: whether a factor on the output is only another set of coefficients.
  law: for a law that laws.get does not know, such as one made by a factory.
  """

  truth: dict[str, float]
  inputs: dict[str, np.ndarray]
  edges: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  edge_truth: dict[str, float] = dataclasses.field(default_factory=dict)
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
CASES['coupled'] = Case(
    {'E': 1.7, 'A': 60.0, 'R': 20.0, 'alpha': 0.55, 'beta': 0.68, 'k': 0.6},
    grid(N=np.geomspace(5e7, 1e10, 7), D=np.geomspace(1e9, 3e11, 6)), loss_scaled=True)
CASES['shifted'] = Case(
    {'E': 1.82, 'A': 480.0, 'B': 2085.0, 'alpha': 0.348, 'beta': 0.366, 's_N': 4e6, 's_D': 3e8},
    grid(N=np.geomspace(5e5, 1e9, 8), D=np.geomspace(5e7, 1e11, 8)), loss_scaled=True,
    edges={'N': np.array([5e5, 1e9]), 'D': np.array([5e7, 1e11])},
    edge_truth={'s_N': 0.0, 's_D': 0.0})
CASES['overtraining'] = Case(
    {'E': 1.8, 'a': 480.0, 'c': 1200.0, 'b': -0.35},
    grid(N=np.geomspace(1.1e7, 6.9e9, 6), M=np.array([5.0, 10, 20, 40, 80, 160, 320, 640])),
    loss_scaled=True)
CASES['error_from_loss'] = Case(
    {'eps': 0.86, 'k': 2.2, 'gamma': 0.75}, {'L': np.linspace(2.0, 4.5, 12)})

# --- kaplan ---
_SIZES = np.geomspace(1e6, 1e9, 6)
CASES['kaplan'] = Case(
    {'N_c': 6.4e13, 'D_c': 1.8e13, 'alpha_N': 0.076, 'alpha_D': 0.103},
    grid(N=np.geomspace(4e5, 7e8, 7), D=np.geomspace(2e7, 2e10, 7)), loss_scaled=True)
CASES['kaplan_n'] = Case({'N_c': 8.8e13, 'alpha_N': 0.076}, {'N': np.geomspace(1e3, 1e9, 12)},
                         loss_scaled=True)
CASES['kaplan_d'] = Case({'D_c': 5.4e13, 'alpha_D': 0.095}, {'D': np.geomspace(2e7, 2e10, 10)},
                         loss_scaled=True)
CASES['kaplan_c'] = Case({'C_c': 1.6e7 * 8.64e19, 'alpha_C': 0.057},
                         {'C': np.geomspace(1e12, 1e20, 12)}, loss_scaled=True)
_STEPS = {'N_c': 6.5e13, 'S_c': 2.1e3, 'alpha_N': 0.077, 'alpha_S': 0.76}
CASES['kaplan_steps'] = Case(_STEPS, grid(N=_SIZES, S_min=np.geomspace(3e2, 1e5, 8)),
                             loss_scaled=True)
CASES['trajectory'] = Case(
    {**_STEPS, 'B_star': 2.1e8, 'alpha_B': 0.21},
    grid(N=_SIZES[:4], S=np.geomspace(3e2, 3e5, 6), B=np.geomspace(2e4, 5e6, 4)),
    edges={'N': np.array([1e3, 1e13, 1e3, 1e13]), 'S': np.array([1.0, 1e9, 1e9, 1.0]),
           'B': np.array([1.0, 1e12, 1.0, 1e12])}, loss_scaled=True)
CASES['critical_batch'] = Case({'B_star': 2.1e8, 'alpha_B': 0.21}, {'L': np.linspace(2.0, 5.0, 8)},
                               loss_scaled=True)
CASES['batch_contour'] = Case({'S_min': 8e3, 'E_min': 9e9}, {'B': np.geomspace(3e4, 3e7, 6)},
                              loss_scaled=True)
CASES['hestness'] = Case({'alpha': 3.0, 'beta_g': -0.128, 'gamma': 0.4},
                         {'D': np.geomspace(1e5, 1e9, 14)}, loss_scaled=True)
CASES['model_size'] = Case({'sigma': 2e-3, 'beta_p': 0.68}, {'D': np.geomspace(1e5, 1e9, 10)},
                           loss_scaled=True)
_EXAMPLES = {'x': np.geomspace(1e4, 1e10, 25)}
CASES['m1'] = Case({'b': 9.0, 'c': -0.12}, _EXAMPLES, loss_scaled=True)
CASES['m2'] = Case({'e': 0.6, 'b': 30.0, 'c': -0.28}, _EXAMPLES, loss_scaled=True)
CASES['m3'] = Case({'b': 60.0, 'g': 3e-8, 'c': 0.3}, _EXAMPLES, loss_scaled=True)
CASES['m4'] = Case({'e': 0.6, 'e0': 6.0, 'b': 40.0, 'c': -0.3, 'a': 0.7}, _EXAMPLES,
                   edges={'x': np.array([1e-9, 1e30])}, loss_scaled=True)
CASES['broken_power_law'] = Case(
    {'a': 0.5, 'b': 5.0, 'c0': 0.06, 'c1': 0.25, 'd1': 3e6, 'f1': 0.4},
    {'x': np.geomspace(1e3, 1e11, 50)}, edges={'x': np.array([1e-20, 1e40])}, loss_scaled=True)


# --- dcpt ---
_MIXTURES = grid(N=np.array([0.5e9, 1.8e9, 4e9]),
                 r=np.array([0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1.0]),
                 D=np.geomspace(1.3e9, 2.6e10, 4))
_EDGES = {'N': np.full(3, 1e9), 'D': np.full(3, 1e10), 'r': np.array([0.0, 1e-12, 1.0])}
_DCPT = {'E': 0.9, 'A': 160.0, 'B': 900.0, 'alpha': 0.3, 'beta': 0.34}
_RATIO = {'C': 0.2, 'gamma': 0.6, 'eps': 0.08}
CASES['dcpt'] = Case({**_DCPT, **_RATIO, 'eta': 1.3}, _MIXTURES, edges=_EDGES, loss_scaled=True)
CASES['dcpt_monotone'] = dataclasses.replace(CASES['dcpt'])
CASES['dcpt_l1'] = Case({**_DCPT, **_RATIO}, _MIXTURES, edges=_EDGES, loss_scaled=True)
CASES['dcpt_l4'] = Case({**_DCPT, 'C': 0.5, 'b': 1.7, 'c': 4.0}, _MIXTURES, edges=_EDGES,
                        loss_scaled=True)
CASES['dcpt_l5'] = Case({**_DCPT, 'sigma': 0.2}, _MIXTURES, edges=_EDGES, loss_scaled=True)
# Four domains of different learnability, each on a coarser grid.
_DOMAINS = [(2.9, 4e-10), (2.2, 9e-10), (1.6, 2e-10), (3.4, 6e-10)]
_CROSS = {k: np.concatenate([v] * 4) for k, v in grid(
    N=np.array([0.5e9, 1.8e9, 4e9]), r=np.array([0.0, 0.1, 0.4, 1.0]),
    D=np.geomspace(1.3e9, 2.6e10, 3)).items()}
_CROSS |= {k: np.repeat(np.array(v), _CROSS['N'].size // 4)
           for k, v in zip(('k1', 'k2'), zip(*_DOMAINS))}
for _name, _inputs, _more in (('dcpt_cross', ('k1', 'k2'), {'F': 0.3, 'w': 5e8, 'mu': 0.9}),
                              ('dcpt_cross_k1', ('k1',), {'F': 0.3, 'mu': 0.9}),
                              ('dcpt_cross_k2', ('k2',), {'F': -7.5e-7, 'mu': 0.6})):
  CASES[_name] = Case({**_DCPT, **_RATIO, 'eta': 1.3, **_more},
                      {k: _CROSS[k] for k in ('N', 'D', 'r', *_inputs)}, loss_scaled=True,
                      edges={**_EDGES, **{k: np.full(3, _CROSS[k][0]) for k in _inputs}})
CASES['mixing'] = Case({'c': 1.3, 'k': -2.4, 'b': -0.6}, {'r': np.linspace(0, 1, 9)},
                       edges={'r': np.array([0.0, 1.0])})
_RATIOS = np.random.default_rng(3).dirichlet(np.ones(3), size=24)
CASES['mixing(a,b,c)'] = Case(
    {'c': 1.3, 'k': 0.9, 't_a': -2.4, 't_b': 0.7}, {'r_a': _RATIOS[:, 0], 'r_b': _RATIOS[:, 1]},
    edges={'r_a': np.array([0.0, 1.0]), 'r_b': np.array([1.0, 0.0])},
    law=mixing.of(('a', 'b', 'c')))
_LAYERS = np.array([2e7, 4e7, 8e7, 1.6e8, 3.2e8])
CASES['nmt'] = Case({'alpha': 150.0, 'p_e': 0.12, 'p_d': 0.2, 'L_inf': 1.1},
                    grid(N_e=_LAYERS, N_d=_LAYERS), loss_scaled=True)
CASES['multilingual'] = Case(
    {'beta': 90.0, 'alpha': 0.24, 'L_inf': 1.0, 'c1': 0.25, 'c2': 0.7, 'c3': 1.4},
    grid(N=np.geomspace(2e7, 1e9, 6), p=np.array([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])),
    edges={'N': np.full(2, 1e8), 'p': np.array([1e-9, 1.0])}, loss_scaled=True)

# --- vocab ---
CASES['average_parameters'] = Case(
    {'E': 1.8, 'A': 420.0, 'B': 1900.0, 'alpha': 0.34, 'beta': 0.36},
    grid(N_average=np.geomspace(3e7, 1.2e9, 7), D=np.geomspace(1e9, 1e11, 5)), loss_scaled=True)
_RUN = grid(N_initial=np.geomspace(3e7, 1.2e9, 5), share=np.array([0.0, 0.4, 0.8]),
            phi=np.array([0.4, 0.7]), D=np.geomspace(1e9, 1e11, 4))
CASES['weighted_parameters'] = Case(
    {'E': 1.8, 'A': 420.0, 'B': 1900.0, 'alpha': 0.34, 'beta': 0.36, 'w': 0.3},
    {'N_initial': _RUN['N_initial'], 'N_final': _RUN['N_initial'] * (1 - _RUN['share']),
     'N_average': _RUN['N_initial'] * (1 - _RUN['share'] * (1 - _RUN['phi'])), 'D': _RUN['D']},
    edges={'N_initial': np.full(4, 1e8), 'N_average': np.array([1e8, 1e8, 2e7, 6e7]),
           'N_final': np.array([1e8, 2e7, 2e7, 2e7]), 'D': np.full(4, 1e10)}, loss_scaled=True)

_N_NV = np.array([33e6, 85e6, 151e6, 316e6, 632e6, 1130e6])
_VOCABULARY = grid(N_nv=_N_NV, V=np.array([4096, 8192, 16384, 32768, 65536, 98304.]),
                   H=np.geomspace(2e9, 2e11, 4))
_VOCABULARY['N_v'] = _VOCABULARY['V'] * vocabulary.width(_VOCABULARY['N_nv'])
_VOCABULARY_TRUTH = {'E': 5.54, 'A1': 880.0, 'A2': 1.4e4, 'B': 2.1e4, 'alpha1': 0.45,
                     'alpha2': 0.68, 'beta': 0.44}
_BITS = grid(N_nv=np.geomspace(1e4, 1e6, 5), V=np.geomspace(300, 1e4, 6),
             H=np.geomspace(1e6, 1e8, 5))
CASES['vocabulary_characters'] = Case(  # f is flat from 200,000 words on
    _VOCABULARY_TRUTH, _VOCABULARY, scaled=('N_nv', 'N_v', 'H'),
    edges={'N_nv': np.full(3, 1e9), 'N_v': np.array([1e8, 4e8, 2e9]), 'H': np.full(3, 1e11),
           'V': np.array([2.0, 2e5, 1e6])})
CASES['vocabulary_bits'] = Case(
    {'E': 0.7, 'A1': 30.0, 'A2': 90.0, 'B': 900.0, 'alpha1': 0.5, 'alpha2': 0.6, 'beta': 0.5},
    {'N_nv': _BITS['N_nv'], 'N_v': _BITS['V'] * 0.03 * _BITS['N_nv']**0.5, 'H': _BITS['H']},
    loss_scaled=True)
CASES['vocabulary_bits_rows'] = Case(
    {'E': 0.7, 'A1': 30.0, 'A2': 20.0, 'B': 900.0, 'alpha1': 0.5, 'alpha2': 0.6, 'beta': 0.5,
     'kappa': 0.6}, _BITS, scaled=('N_nv', 'H'))
CASES['vocabulary_rows'] = Case(
    {'E': 2.9, 'A1': 28.0, 'A2': 20.0, 'B': 200.0, 'alpha1': 0.4, 'alpha2': 0.6, 'beta': 0.4,
     'kappa': 0.6}, {'N_nv': _BITS['N_nv'], 'V': _BITS['V'], 'D': _BITS['H']}, scaled=('N_nv', 'D'))
CASES['vocabulary'] = Case(
    _VOCABULARY_TRUTH,
    {'N_nv': _VOCABULARY['N_nv'], 'N_v': _VOCABULARY['N_v'],
     'D': vocabulary.tokens_from_chars(_VOCABULARY['H'], _VOCABULARY['V'])})

_EPOCHS = grid(N=np.geomspace(2e7, 8e9, 6), U=np.geomspace(1e8, 1e11, 4),
               epochs=np.array([1.0, 4, 10, 30, 100]))
_EPOCHS['D'] = _EPOCHS['U'] * _EPOCHS.pop('epochs')
_REPEATED = {'E': 1.87, 'A': 520.0, 'B': 1490.0, 'alpha': 0.35, 'beta': 0.36}
# No repetition and no excess: N is what is worth having for the D that is best with it.
_BEST = laws.get('chinchilla').best(_REPEATED, 6e18)
_UNREPEATED = {'N': _BEST['N'] * np.array([0.5, 1.0, 1.0, 2.0]),
               'D': _BEST['D'] * np.array([1.0, 1.0, 3.0, 1.0]), 'U': np.full(4, _BEST['D'])}
CASES['repetition'] = Case({**_REPEATED, 'R_D_star': 15.4, 'R_N_star': 5.3}, _EPOCHS,
                           edges=_UNREPEATED, loss_scaled=True)
# The geometric N' has a corner at U_N, by its formula; it is left out.
CASES['repetition_geometric'] = Case({**_REPEATED, 'delta_D': 0.06, 'delta_N': 0.16}, _EPOCHS,
                                     edges={k: v[::3] for k, v in _UNREPEATED.items()},
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
