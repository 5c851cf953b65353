"""Estimators of a learning curve, M1 to M4 of Alabdulmohsin et al. 2022 (arXiv 2209.06640).

  m1   y = b x^c                            c < 0
  m2   y = e + b x^c                        c < 0, e the limit of endless data
  m3   y = b (1 / x + g)^c                  c > 0, the limit is b g^c
  m4   (y - e) / (e0 - y)^a = b x^c         c < 0, e0 the error of guessing; y stands on both sides

x is the size of the training set, y a loss or an error. The objective is the paper's measure, the
root mean square of ln y: ordinary least squares in the logarithms. With it m1 extrapolates to the
errors that the paper prints, which no other objective of ours does. (The authors' own programs for
m2 and m4 fit the logarithms of both sides of the equation as written above, where e stands on the
left: that weighs the points next to the limit most.)
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import implicit
from analysis.laws.law import Law, Parameter, Values

SOURCE = 'Alabdulmohsin et al. 2022, arXiv 2209.06640'
LEAST_SQUARES = ('mse_log', 0.0)


def m4(p: Values, x: Values) -> Any:
  """y of (y - e) / (e0 - y)^a = b x^c, between e and e0.

  With y = e + (e0 - e) sigma(t), sigma the logistic function, it is G(t) = a ln(1 + e^t)
  - ln(1 + e^-t) = ln(b x^c) - (1 - a) ln(e0 - e). G increases, with slopes between 1 and a; it is
  concave for a < 1 and convex for a > 1, and lies within ln 2 of t for t < 0, a t for t > 0.
  """
  a, width = p['a'], p['e0'] - p['e']
  target = jnp.log(p['b']) + p['c'] * jnp.log(x['x']) - (1 - a) * jnp.log(width)
  aim = target - jnp.where(a < 1, a, -1.0) * jnp.log(2.0)  # on the side from which Newton goes
  start = jnp.where(aim < 0, aim, aim / a)

  def excess(t: Any, given: tuple[Any, Any]) -> tuple[Any, Any]:
    power, goal = given
    value = power * implicit.softplus(t) - implicit.softplus(-t) - goal
    return value, power * implicit.sigmoid(t) + implicit.sigmoid(-t)

  return p['e'] + width * implicit.sigmoid(implicit.root(excess, start, (a, target)))


def _coefficient(power: str) -> Parameter:
  return Parameter('b', start=(0.1, 0.5, 0.9), units=(('loss', 1.0), ('x', power)))


_LIMIT = Parameter('e', start=(0.1, 0.5, 0.9), units=(('loss', 1.0),))
_FALL = Parameter('c', start=(-0.1, -0.3, -1.0), bounds=(-5.0, 0.0), scale='linear')

LAWS = (
    Law(name='m1', formula='y = b x^c', source=SOURCE, inputs=('x',),
        parameters=(_coefficient('-c'), _FALL), equation=lambda p, x: p['b'] * x['x'] ** p['c'],
        objective=LEAST_SQUARES, linear=('b',)),
    Law(name='m2', formula='y = e + b x^c', source=SOURCE, inputs=('x',),
        parameters=(_LIMIT, _coefficient('-c'), _FALL),
        equation=lambda p, x: p['e'] + p['b'] * x['x'] ** p['c'],
        objective=LEAST_SQUARES, linear=('e', 'b')),
    Law(name='m3', formula='y = b (1 / x + g)^c', source=SOURCE, inputs=('x',),
        parameters=(
            _coefficient('c'),
            Parameter('g', start=(0.01, 0.3, 3.0), bounds=(1e-9, 1e6), units=(('x', -1.0),)),
            Parameter('c', start=(0.1, 0.3, 1.0), bounds=(0.0, 5.0), scale='linear')),
        equation=lambda p, x: p['b'] * (1 / x['x'] + p['g']) ** p['c'],
        objective=LEAST_SQUARES, linear=('b',)),
    Law(name='m4', formula='(y - e) / (e0 - y)^a = b x^c', source=SOURCE, inputs=('x',),
        parameters=(
            _LIMIT, Parameter('e0', start=(1.5, 5.0), units=(('loss', 1.0),)),
            Parameter('b', start=(0.1, 0.5), bounds=(1e-30, 1e30),  # e0^-a, with a of up to ten
                      units=(('loss', 1.0), ('loss', '-a'), ('x', '-c'))),
            _FALL, Parameter('a', start=(0.3, 1.0), bounds=(1e-3, 10.0), scale='linear')),
        equation=m4, objective=LEAST_SQUARES),
)
