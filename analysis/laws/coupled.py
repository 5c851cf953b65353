"""L(N, D) = E + A (N^-alpha + R D^-beta)^k: Videau et al. 2026, size and data in one power.

N parameters, D training tokens, L nats per token. alpha and beta are inner exponents: with endless
data the loss falls as N^-(alpha k). k = 1 is Chinchilla with B = A R. E = 0 and beta = 1 is Kaplan
et al.'s L(N, D), eq 1.5: k = alpha_D, alpha = alpha_N / alpha_D, A = N_c^alpha_N and
R = D_c / N_c^(alpha_N / alpha_D); hold them with --fix=E=0,beta=1.

The compute optimum is that of the bracket, whatever k: Chinchilla's with A = 1 and B = R.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import chinchilla
from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  bracket = jnp.logaddexp(-p['alpha'] * jnp.log(x['N']),
                          jnp.log(p['R']) - p['beta'] * jnp.log(x['D']))
  return p['E'] + p['A'] * jnp.exp(p['k'] * bracket)


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N and D of least loss for C FLOPs, C = 6 N D."""
  return chinchilla.optimum({'A': 1.0, 'B': p['R'], 'alpha': p['alpha'], 'beta': p['beta']}, flops)


LAW = Law(
    name='coupled',
    formula='L = E + A (N^-alpha + R D^-beta)^k',
    source='Videau et al. 2026',
    inputs=('N', 'D'),
    parameters=(
        # Linear: E = 0, Kaplan's case, is a value it may take.
        Parameter('E', start=(0.1, 0.6), bounds=(0.0, 1e6), scale='linear',
                  units=(('loss', 1.0),)),
        Parameter('A', start=(0.15, 0.6), units=(('loss', 1.0), ('N', 'alpha*k'))),
        Parameter('R', start=(0.3, 2.0), units=(('N', '-alpha'), ('D', 'beta'))),
        Parameter('alpha', start=(0.3, 0.8, 2.0), bounds=(0.0, 10.0), scale='linear'),
        Parameter('beta', start=(0.3, 0.8, 2.0), bounds=(0.0, 10.0), scale='linear'),
        Parameter('k', start=(0.15, 0.5, 1.0, 2.0), bounds=(0.01, 20.0), scale='linear'),
    ),
    equation=equation,
    optimum=optimum,
    linear=('A',),
)
