"""Every law at numbers chosen so that its value can be worked out by hand from its formula."""

import math

import numpy as np
import pytest

from analysis import laws
from tests.analysis.law_cases import CASES

LN2, LN3 = math.log(2), math.log(3)
_SUM = {'E': 2, 'A': 10, 'B': 100, 'alpha': 0.5, 'beta': 0.25}  # 1 at N = 100, 10 at D = 1e4
_MIX = {**_SUM, 'E': 1, 'C': 0.6, 'gamma': 1, 'eps': 0.1}
_L3 = {**_MIX, 'eta': 2}
_AT = {'N': 100, 'D': 1e4, 'r': 0.5}  # L3 is 1 + 1 + 100/4/10 + .6/.6 = 5.5 here
_SINGLE = [({'of': 25}, 2), ({'of': 1}, 10)]  # (100 / x)^.5
_EPOCHS = {'E': 1, 'A': 10, 'B': 10, 'alpha': 0.5, 'beta': 0.5}  # G = 1: U_N is U
_VOCABULARY = {'E': 5, 'A1': 10, 'alpha1': 0.5, 'A2': 8, 'alpha2': 1 / 3, 'B': 100, 'beta': 0.25}
_ROWS = {'E': 1, 'A1': 10, 'alpha1': 0.5, 'A2': 4000, 'alpha2': 1, 'B': 10, 'beta': 0.5,
         'kappa': 1}
_F = [a * math.log(v)**2 + b * math.log(v) + c  # tokens a character of 10,000 and 200,000 words
      for a, b, c in [(0.00639222, -0.15811069, 1.20470122)] for v in (1e4, 2e5)]
_ROUTED = {'a': -0.1, 'b': -0.2, 'c': 0.01, 'd': 1.5, 'Es': 10, 'Em': 100}


def _single(of):
  return {f'{of}_c': 100, f'alpha_{of}': 0.5}, [({of: x['of']}, y) for x, y in _SINGLE]


def _epochs(n, d):
  return 1 + 10 / math.sqrt(n) + 10 / math.sqrt(d)


# name: parameters, [(inputs, value)]
VALUES = {
    'chinchilla': (_SUM, [({'N': 100, 'D': 1e4}, 13), ({'N': 1e4, 'D': 1e8}, 3.1)]),
    'average_parameters': (_SUM, [({'N_average': 100, 'D': 1e4}, 13),
                                  ({'N_average': 1e4, 'D': 1e8}, 3.1)]),
    'weighted_parameters': ({**_SUM, 'w': 0.75}, [  # phi = 1/2, N_w = 75 + 200 phi^3 = 100
        ({'N_initial': 275, 'N_average': 175, 'N_final': 75, 'D': 1e4}, 13),
        ({'N_initial': 100, 'N_average': 100, 'N_final': 100, 'D': 1e4}, 13)]),
    'shifted': ({**_SUM, 's_N': 36, 's_D': 9999}, [({'N': 64, 'D': 1}, 13),
                                                   ({'N': 364, 'D': 150001}, 7.5)]),
    'coupled': ({'E': 1, 'A': 2, 'R': 3, 'alpha': 0.5, 'beta': 1, 'k': 2},
                [({'N': 4, 'D': 6}, 3), ({'N': 16, 'D': 12}, 1.5)]),
    'overtraining': ({'E': 1, 'a': 10, 'c': 20 * 6**0.25, 'b': -0.5},
                     [({'N': 100, 'M': 4}, 3), ({'N': 400, 'M': 1}, 2.5)]),
    'error_from_loss': ({'eps': 0.9, 'k': 2, 'gamma': LN2}, [({'L': 2}, 0.4), ({'L': 3}, 0.65)]),
    'kaplan': ({'N_c': 8, 'D_c': 6, 'alpha_N': 1, 'alpha_D': 0.5},
               [({'N': 4, 'D': 1.2}, 3), ({'N': 8, 'D': 2}, 2)]),
    'kaplan_n': _single('N'),
    'kaplan_d': _single('D'),
    'kaplan_c': _single('C'),
    'kaplan_steps': ({'N_c': 100, 'S_c': 8, 'alpha_N': 0.5, 'alpha_S': 1 / 3},
                     [({'N': 25, 'S_min': 1}, 4), ({'N': 4, 'S_min': 8}, 6)]),
    # Both losses solve the equation: 2 = 1 + 5/10 (1 + 4/2^2), 3 = 2 + 5/10 (1 + 4/(4/9 3^2)).
    'trajectory': ({'N_c': 10, 'S_c': 5, 'B_star': 4, 'alpha_N': 0.5, 'alpha_S': 1,
                    'alpha_B': 0.5},
                   [({'N': 10, 'S': 10, 'B': 1}, 2), ({'N': 2.5, 'S': 10, 'B': 4 / 9}, 3)]),
    'critical_batch': ({'B_star': 800, 'alpha_B': 0.5}, [({'L': 2}, 200), ({'L': 4}, 50)]),
    'batch_contour': ({'S_min': 10, 'E_min': 200}, [({'B': 20}, 20), ({'B': 4}, 60)]),
    'hestness': ({'alpha': 6, 'beta_g': -0.5, 'gamma': 0.5}, [({'D': 9}, 2.5), ({'D': 36}, 1.5)]),
    'model_size': ({'sigma': 2, 'beta_p': 0.5}, [({'D': 9}, 6), ({'D': 100}, 20)]),
    'm1': ({'b': 6, 'c': -0.5}, [({'x': 9}, 2), ({'x': 36}, 1)]),
    'm2': ({'e': 0.5, 'b': 6, 'c': -0.5}, [({'x': 9}, 2.5), ({'x': 36}, 1.5)]),
    'm3': ({'b': 2, 'g': 1, 'c': 2}, [({'x': 1}, 8), ({'x': 0.5}, 18)]),
    # 3 / 1^.5 = 6 / 4^.5 and 1.75 / 2.25^.5 = 7 / 6.
    'm4': ({'e': 1, 'e0': 5, 'b': 6, 'c': -0.5, 'a': 0.5},
           [({'x': 4}, 4), ({'x': (36 / 7)**2}, 2.75)]),
    'broken_power_law': ({'a': 1, 'b': 8, 'c0': 0.5, 'c1': 2, 'd1': 4, 'f1': 0.5},
                         [({'x': 4}, 3), ({'x': 16}, 1 + 2 / 17)]),
    'dcpt': (_L3, [(_AT, 5.5), ({**_AT, 'r': 0}, 8), ({**_AT, 'r': 1}, 12 + 0.6 / 1.1)]),
    'dcpt_monotone': ({**_L3, 'eta': 1.0},
                      [({**_AT, 'r': 0}, 8), ({**_AT, 'r': 1}, 12 + 0.6 / 1.1)]),
    'dcpt_l1': (_MIX, [(_AT, 13), ({**_AT, 'r': 0}, 18), ({**_AT, 'r': 1}, 12 + 0.6 / 1.1)]),
    'dcpt_l4': ({**_SUM, 'E': 1, 'C': 0.6, 'b': 4, 'c': 9},
                [(_AT, 22.2), ({**_AT, 'r': 0}, 12.6), ({**_AT, 'r': 1}, 42 + 0.6 / 9)]),
    'dcpt_l5': ({**_SUM, 'E': 1, 'sigma': 0.2},
                [({**_AT, 'D': 1e4 / 0.6}, 12), ({**_AT, 'D': 5e4, 'r': 0}, 12),
                 ({**_AT, 'r': 1}, 12)]),
    'dcpt_cross': ({**_L3, 'F': 0.5, 'mu': 0.5, 'w': 100},
                   [({**_AT, 'k1': 4, 'k2': 0.0075}, 6), ({**_AT, 'k1': 4, 'k2': 0.0375}, 5.75)]),
    'dcpt_cross_k1': ({**_L3, 'F': 0.5, 'mu': 0.5},
                      [({**_AT, 'k1': 4}, 6.5), ({**_AT, 'k1': 1}, 6)]),
    'dcpt_cross_k2': ({**_L3, 'F': 0.5, 'mu': 0.5},
                      [({**_AT, 'k2': 0.25}, 6.5), ({**_AT, 'k2': 4}, 5.75)]),
    'mixing': ({'c': 1, 'k': -2 * LN2, 'b': 2 * LN2},
               [({'r': 0}, 5), ({'r': 0.5}, 3), ({'r': 1}, 2)]),
    'mixing(a,b,c)': ({'c': 1, 'k': 4, 't_a': -2 * LN2, 't_b': 2 * LN3},
                      [({'r_a': 0.5, 'r_b': 0.5}, 7), ({'r_a': 0, 'r_b': 0}, 5),
                       ({'r_a': 1, 'r_b': 0}, 2)]),
    'nmt': ({'alpha': 100, 'p_e': 0.5, 'p_d': 0.25, 'L_inf': 1},
            [({'N_e': 100, 'N_d': 16}, 6), ({'N_e': 25, 'N_d': 1}, 21)]),
    'multilingual': ({'beta': 10, 'alpha': 0.5, 'L_inf': 1, 'c1': 1, 'c2': 0.5, 'c3': 1},
                     [({'N': 160, 'p': 0.25}, 2), ({'N': 100, 'p': 1}, 2)]),
    'vocabulary': (_VOCABULARY, [({'N_nv': 100, 'N_v': 64, 'D': 1e4}, 8),
                                 ({'N_nv': 25, 'N_v': 8, 'D': 1e8}, 2)]),
    'vocabulary_bits': ({'E': 1, 'A1': 10, 'alpha1': 0.5, 'A2': 4, 'alpha2': 0.5, 'B': 10,
                         'beta': 0.5}, [({'N_nv': 100, 'N_v': 64, 'H': 1e4}, 2.6)]),
    # At V = 4,000 and kappa = 1 data count a quarter: 40,000 as 10,000.
    'vocabulary_bits_rows': (_ROWS, [({'N_nv': 100, 'V': 4000, 'H': 4e4}, 3.1),
                                     ({'N_nv': 100, 'V': 1000, 'H': 1e4}, 6.1)]),
    'vocabulary_rows': (_ROWS, [({'N_nv': 100, 'V': 4000, 'D': 4e4}, 1.1),
                                ({'N_nv': 100, 'V': 1000, 'D': 1e4}, 4.1)]),
    'vocabulary_characters': (_VOCABULARY, [
        ({'N_nv': 100, 'N_v': 64, 'V': v, 'H': 1e4 / f}, 8)
        for v, f in ((1e4, _F[0]), (2e5, _F[1]), (1e6, _F[1]))]),
    # Three epochs of 100 tokens, R_D = 2; 50 parameters are no excess for them, 200 have R_N = 1.
    'repetition': ({**_EPOCHS, 'R_D_star': 2 / LN2, 'R_N_star': 1 / LN2}, [
        ({'N': 50, 'D': 100, 'U': 100}, _epochs(50, 100)),
        ({'N': 50, 'D': 300, 'U': 100}, _epochs(50, 100 * (1 + 1 / LN2))),
        ({'N': 200, 'D': 300, 'U': 100}, _epochs(100 * (1 + 0.5 / LN2), 100 * (1 + 1 / LN2)))]),
    'repetition_geometric': ({**_EPOCHS, 'delta_D': 0.5, 'delta_N': 0.5}, [
        ({'N': 50, 'D': 100, 'U': 100}, _epochs(50, 100)),
        ({'N': 50, 'D': 300, 'U': 100}, _epochs(50, 175)),
        ({'N': 200, 'D': 300, 'U': 100}, _epochs(150, 175))]),
    # One expert: Ehat = Es; 1 / .09 more than 89.9 - 1 is 100: Ehat = 50.
    'routing': (_ROUTED, [
        ({'N': 1e8, 'experts': 1}, 10**0.58),
        ({'N': 1e8, 'experts': 101 - 1 / 0.09}, 10**(0.7 - 0.12 * math.log10(50)))]),
    'sigmoid_accuracy': ({'a': -0.6, 'b': 0.9, 'k': 2, 'x0': 1},
                         [({'task_loss': 1}, 0.6), ({'task_loss': 1 + LN3 / 2}, 0.45)]),
}


def test_every_law_has_values():
  assert set(VALUES) == set(CASES) >= set(laws.names())


@pytest.mark.parametrize('name', sorted(VALUES))
def test_values_worked_out_by_hand(name):
  params, points = VALUES[name]
  law = CASES[name].of(name)
  inputs = {key: np.array([x[key] for x, _ in points], float) for key in law.inputs}
  np.testing.assert_allclose(law.predict(params, inputs), [y for _, y in points], rtol=1e-12)
