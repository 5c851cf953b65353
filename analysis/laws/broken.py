"""A power law that changes its slope once: Caballero et al. 2022 (arXiv 2210.14891), n = 1.

  y = a + b x^-c0 (1 + (x / d1)^(1 / f1))^(-c1 f1)

x may be data, parameters or compute, y a loss or an error. In logarithms y - a falls with slope c0
below d1 and c0 + c1 above; the turn takes f1 decades times about two. a is the limit.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import implicit
from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """y, of the input's shape."""
  size = jnp.log(x['x'])
  turn = implicit.softplus((size - jnp.log(p['d1'])) / p['f1'])
  return p['a'] + p['b'] * jnp.exp(-p['c0'] * size - p['c1'] * p['f1'] * turn)


LAW = Law(
    name='broken_power_law',
    formula='y = a + b x^-c0 (1 + (x / d1)^(1 / f1))^(-c1 f1)',
    source='Caballero et al. 2022, arXiv 2210.14891, one break',
    inputs=('x',),
    parameters=(
        Parameter('a', start=(0.1, 0.6), units=(('loss', 1.0),)),
        Parameter('b', start=(0.2, 0.8), units=(('loss', 1.0), ('x', 'c0'))),
        Parameter('c0', start=(0.0, 0.2, 0.6), bounds=(-2.0, 4.0), scale='linear'),
        Parameter('c1', start=(-0.2, 0.3), bounds=(-4.0, 4.0), scale='linear'),
        Parameter('d1', start=(0.1, 1.0, 10.0), bounds=(1e-9, 1e9), units=(('x', 1.0),)),
        Parameter('f1', start=(0.2, 0.8), bounds=(1e-2, 1e2))),
    equation=equation,
    objective=('mse_log', 0.0),
    linear=('a', 'b'),
)
