"""A whole training run: L(N, S, B), which holds the loss on both sides.

  L = (N_c / N)^alpha_N + (S_c / S)^alpha_S (1 + B_star / (B L^(1 / alpha_B)))^alpha_S

Kaplan et al. 2020 (arXiv 2001.08361) eq 1.6 with S_min = S / (1 + B_crit(L) / B), as Su et al. 2024
(arXiv 2403.06563) use it to predict curves. N parameters without embeddings, S updates, B tokens an
update, L nats per token, for a learning rate that stays the same after its warm-up.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import implicit, kaplan
from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape.

  In z = ln L it is f(z) = z - ln(a + b (1 + k e^(-q z))^s), increasing and concave, a and b the
  terms of size and steps, k = B_star / B, q = 1 / alpha_B, s = alpha_S. f is not above zero at
  ln(a + b), nor where the batch's term stands alone; Newton's method starts from the larger.
  """
  given = {'a': kaplan.term(p, x, 'N'), 'b': kaplan.term(p, x, 'S'),
           'k': jnp.log(p['B_star']) - jnp.log(x['B']), 'q': 1 / p['alpha_B'], 's': p['alpha_S']}
  plain = jnp.logaddexp(given['a'], given['b'])
  alone = (given['b'] + given['s'] * given['k']) / (1 + given['s'] * given['q'])
  return jnp.exp(implicit.root(_excess, jnp.maximum(plain, alone), given))


def _excess(z: Any, g: Values) -> tuple[Any, Any]:
  """f and df/dz."""
  waste = g['k'] - g['q'] * z  # ln(B_crit / B)
  steps = g['b'] + g['s'] * implicit.softplus(waste)
  total = jnp.logaddexp(g['a'], steps)
  slope = 1 + implicit.sigmoid(steps - g['a']) * g['s'] * g['q'] * implicit.sigmoid(waste)
  return z - total, slope


LAW = Law(
    name='trajectory',
    formula='L = (N_c/N)^alpha_N + (S_c/S)^alpha_S (1 + B_star / (B L^(1/alpha_B)))^alpha_S',
    source='Kaplan et al. 2020, arXiv 2001.08361, eq 1.6; Su et al. 2024, arXiv 2403.06563',
    inputs=('N', 'S', 'B'),
    parameters=(
        kaplan.scale('N', (0.1, 0.7)), kaplan.scale('S', (0.01, 0.2)),
        Parameter('B_star', start=(0.1, 3.0), bounds=(1e-9, 1e9),
                  units=(('B', 1.0), ('loss', '1/alpha_B'))),
        kaplan.exponent('N', (0.07, 0.3)), kaplan.exponent('S', (0.3, 0.8)),
        Parameter('alpha_B', start=(0.15, 0.5), bounds=(0.02, 10.0), scale='linear')),
    equation=equation,
    columns=(('N', 'N_nonembedding'), ('S', 'step')),
)
