"""The critical batch size, and what a batch below or above it costs.

  critical_batch   B_crit(L) = B_star / L^(1 / alpha_B)                     tokens
  batch_contour    S(B) = S_min + E_min / B, the updates that reach one loss at batch B

The second is (S / S_min - 1) (E / E_min - 1) = 1 with E = B S, solved for S: multiplied out that
says S_min / S + E_min / E = 1. S counts updates, E and B tokens, B_crit = E_min / S_min.

McCandlish et al. 2018 (arXiv 1812.06162); Kaplan et al. 2020 (arXiv 2001.08361), sections 5 and 6
and appendix B, whose constants are B_star 2.1e8 tokens, alpha_B .21.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.laws.kaplan import SOURCE
from analysis.laws.law import Law, Parameter, Values


def batch(p: Values, loss: Any) -> Any:
  """B_crit in tokens at a loss in nats per token."""
  return p['B_star'] * loss ** (-1 / p['alpha_B'])


def least_steps(steps: Any, size: Any, critical: Any) -> Any:
  """S_min = S / (1 + B_crit / B): updates at a batch far above the critical one."""
  return steps / (1 + critical / size)


def least_tokens(tokens: Any, size: Any, critical: Any) -> Any:
  """E_min = E / (1 + B / B_crit): tokens at a batch far below the critical one."""
  return tokens / (1 + size / critical)


def least_compute(flops: Any, size: Any, critical: Any) -> Any:
  """C_min = C / (1 + B / B_crit): FLOPs at a batch far below the critical one."""
  return flops / (1 + size / critical)


def alpha_c(p: Values) -> Any:
  """The exponent of L(C_min): 1 / (1 / alpha_S + 1 / alpha_B + 1 / alpha_N) (eq 6.3)."""
  return 1 / (1 / p['alpha_S'] + 1 / p['alpha_B'] + 1 / p['alpha_N'])


def compute_exponents(p: Values) -> dict[str, Any]:
  """Powers of C_min with which the best N, B, S_min and D = B S_min grow; N, B, S's sum to one."""
  c = alpha_c(p)
  powers = {name: c / p[f'alpha_{name}'] for name in ('N', 'B', 'S')}
  return powers | {'D': powers['B'] + powers['S']}


def compute_optimal(p: Values, flops: Any) -> dict[str, Any]:
  """The least loss of C_min = 6 N B_crit(L) S_min FLOPs, and the way to it (appendix B).

  Gives N, S_min, B (= B_crit), D = B S_min and loss. At a given L the product N S_min is least
  where alpha_N (N_c / N)^alpha_N = alpha_S (S_c / S_min)^alpha_S: the run stops at a loss
  1 + alpha_N / alpha_S times that of its size at convergence. All are powers of N, hence of C.
  """
  ratio = p['alpha_N'] / p['alpha_S']

  def of(log_n: Any) -> dict[str, Any]:
    floor = p['alpha_N'] * (np.log(p['N_c']) - log_n)
    loss = np.log1p(ratio) + floor
    steps = np.log(p['S_c']) - (np.log(ratio) + floor) / p['alpha_S']
    return {'N': log_n, 'S_min': steps, 'B': np.log(p['B_star']) - loss / p['alpha_B'],
            'loss': loss}

  def cost(point: dict[str, Any]) -> Any:
    return np.log(6.0) + point['N'] + point['B'] + point['S_min']

  slope = p['alpha_N'] / alpha_c(p)  # d ln C / d ln N
  best = of((np.log(flops) - cost(of(0.0))) / slope)
  found = {name: np.exp(value) for name, value in best.items()}
  return found | {'D': found['B'] * found['S_min']}


LAWS = (
    Law(name='critical_batch', formula='B_crit = B_star / L^(1 / alpha_B)',
        source=f'{SOURCE}, eq 1.4', inputs=('L',),
        parameters=(
            Parameter('B_star', start=(1.0,), units=(('loss', 1.0), ('L', '1/alpha_B'))),
            Parameter('alpha_B', start=(0.1, 0.3, 1.0), bounds=(0.02, 10.0), scale='linear')),
        equation=lambda p, x: batch(p, x['L']), output='B_crit', objective=('mse_log', 0.0)),
    Law(name='batch_contour', formula='S = S_min + E_min / B',
        source=f'{SOURCE}, eq 5.1; McCandlish et al. 2018, arXiv 1812.06162', inputs=('B',),
        parameters=(
            Parameter('S_min', start=(0.1, 0.5), units=(('loss', 1.0),)),
            Parameter('E_min', start=(0.1, 0.5), units=(('loss', 1.0), ('B', 1.0)))),
        equation=lambda p, x: p['S_min'] + p['E_min'] / x['B'], output='S',
        objective=('mse_log', 0.0), linear=('S_min', 'E_min')),
)
