"""Loss and task error of over-trained models: Gadre et al. 2024 (arXiv 2403.08540).

  overtraining     L(N, M) = E + a N^b + c 6^(b/2) (M N)^b,   b < 0
  error_from_loss  error = eps - k exp(-gamma L)

N parameters, M = D / N training tokens a parameter, L nats per token; error is a task's (a mean of
top-1 errors), eps that of guessing. As C = 6 N D = 6 M N^2, the first is Chinchilla with tied
exponents in other letters: alpha = beta = -b, A = a, B = c 6^(b/2). In C and M it is the paper's
E + (A 6^eta M^eta + B 6^eta M^-eta) C^-eta, eta = -b/2: at any M the loss falls with C alike, and
over-training (a large M) moves the curve without turning it. Inputs in other terms are columns:
--columns=N=params,M=tokens/params or --columns='N=(flops/(6*M))**0.5,M=ratio'.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import chinchilla
from analysis.laws.law import Law, Parameter, Values

SOURCE = 'Gadre et al. 2024, arXiv 2403.08540'


def tied(p: Values) -> dict[str, Any]:
  """Chinchilla's parameters."""
  return {'E': p['E'], 'A': p['a'], 'B': p['c'] * 6 ** (p['b'] / 2), 'alpha': -p['b'],
          'beta': -p['b']}


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  return chinchilla.equation(tied(p), {'N': x['N'], 'D': x['M'] * x['N']})


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N and M of least loss for C FLOPs; M is the same for every C."""
  best = chinchilla.optimum(tied(p), flops)
  return {'N': best['N'], 'M': best['D'] / best['N']}


def error(p: Values, x: Values) -> Any:
  """A task's error, in the unit of eps and k, of the input's shape."""
  return p['eps'] - p['k'] * jnp.exp(-p['gamma'] * x['L'])


LAWS = (
    Law(
        name='overtraining',
        formula='L = E + a N^b + c 6^(b/2) (M N)^b',
        source=SOURCE,
        inputs=('N', 'M'),
        parameters=(
            Parameter('E', start=(0.3, 0.7), units=(('loss', 1.0),)),
            Parameter('a', start=(0.05, 0.25), units=(('loss', 1.0), ('N', '-b'))),
            Parameter('c', start=(0.05, 0.25),
                      units=(('loss', 1.0), ('N', '-b'), ('M', '-b'))),
            Parameter('b', start=(-0.2, -0.5, -1.0), bounds=(-3.0, 0.0), scale='linear'),
        ),
        equation=equation,
        optimum=optimum,
        optimum_of=('N', 'M'),
        linear=('E', 'a', 'c')),
    Law(
        name='error_from_loss',
        formula='error = eps - k exp(-gamma L)',
        source=SOURCE,
        inputs=('L',),
        parameters=(
            Parameter('eps', start=(1.0, 1.5), units=(('loss', 1.0),)),
            Parameter('k', start=(0.5, 3.0, 30.0, 300.0), bounds=(1e-9, 1e12),
                      units=(('loss', 1.0),)),
            Parameter('gamma', start=(0.5, 1.5, 4.0), bounds=(1e-4, 1e3), units=(('L', -1.0),)),
        ),
        equation=error,
        output='error',
        objective=('mse', 0.0),
        linear=('eps', 'k')),
)
