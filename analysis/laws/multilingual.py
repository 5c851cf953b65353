"""One direction of a multilingual translation model, L(N, p) = beta (f(p) N)^-alpha + L_inf.

Fernandes et al. 2023 (arXiv 2302.09650). N is the number of non-embedding parameters, p in (0, 1]
the weight of this direction in the training mixture, L its loss in nats per token. f(p) N is the
effective number of parameters: a model with f(p) N parameters that is trained on this direction
alone does as well. f(1) = 1.

  f(p) = p + c1 p^c2 (1 - p)^c3

is recalled (60 to 80 % sure), the paper was not at hand; no coefficients of it are known. Each
direction is a fit of its own.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws.law import Law, Parameter, Values


def effective_fraction(p: Values, weight: Any) -> Any:
  """f(weight), of the weight's shape; finite derivatives at weight = 1."""
  rest = 1 - weight
  below = rest > 0
  others = jnp.where(below, jnp.exp(p['c3'] * jnp.log(jnp.where(below, rest, 1.0))), 0.0)
  return weight + p['c1'] * weight ** p['c2'] * others


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  effective = effective_fraction(p, x['p']) * x['N']
  return p['L_inf'] + p['beta'] * effective ** -p['alpha']


LAW = Law(
    name='multilingual',
    formula='L = beta (f(p) N)^-alpha + L_inf, f(p) = p + c1 p^c2 (1 - p)^c3',
    source='Fernandes et al. 2023, arXiv 2302.09650 (f recalled)',
    inputs=('N', 'p'),
    ranges=(('p', (1e-9, 1.0)),),
    parameters=(
        Parameter('beta', start=(0.1, 0.5), units=(('loss', 1.0), ('N', 'alpha'))),
        Parameter('alpha', start=(0.15, 0.4, 1.0), bounds=(0.0, 3.0), scale='linear'),
        Parameter('L_inf', start=(0.3, 0.7), units=(('loss', 1.0),)),
        Parameter('c1', start=(0.05, 0.5)),
        Parameter('c2', start=(0.3, 1.0), bounds=(0.01, 10.0), scale='linear'),
        Parameter('c3', start=(0.5, 2.0), bounds=(0.01, 10.0), scale='linear'),
    ),
    equation=equation,
    linear=('beta', 'L_inf'),
)
