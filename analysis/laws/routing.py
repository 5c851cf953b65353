"""L(N, experts) of routed language models: Clark et al. 2022 (arXiv 2202.01169).

  log10 L = a log10 N + b log10 Ehat + c log10 N log10 Ehat + d
  1 / Ehat = 1 / (experts - 1 + 1 / (1/Es - 1/Em)) + 1 / Em

N is the parameter count of the dense model that is routed, `experts` the number of experts a routed
layer chooses from, 1 for the dense model itself; L nats per token at the end of training on a fixed
number of tokens. Ehat is `experts`, saturated: it starts at Es for a dense model and never
exceeds Em. c > 0: routing helps larger models less. The paper fits least squares of log L.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws.law import Law, Parameter, Values


def saturated(p: Values, experts: Any) -> Any:
  """Ehat, between Es at one expert and Em at infinitely many."""
  offset = 1 / (1 / p['Es'] - 1 / p['Em'])
  return 1 / (1 / (experts - 1 + offset) + 1 / p['Em'])


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  n, e = jnp.log10(x['N']), jnp.log10(saturated(p, x['experts']))
  return 10 ** (p['a'] * n + p['b'] * e + p['c'] * n * e + p['d'])


def effective_parameters(p: Values, n: Any, experts: Any) -> Any:
  """The N of the dense model that would have the same loss (arXiv 2202.01169).

  L(N_eff, 1) = L(N, experts) solved for N_eff:
  log10 N_eff = (log10 L(N, experts) - d - b log10 Es) / (a + c log10 Es).
  Beyond the N where a + c log10 Em turns positive the law says that size hurts, and N_eff means
  nothing.
  """
  n, e, start = jnp.log10(n), jnp.log10(saturated(p, experts)), jnp.log10(p['Es'])
  return 10 ** ((p['a'] * n + p['b'] * (e - start) + p['c'] * n * e) / (p['a'] + p['c'] * start))


def cutoff(p: Values) -> Any:
  """The dense N at which more experts stop helping: b + c log10 N = 0, log10 N = -b / c."""
  return 10 ** (-p['b'] / p['c'])


LAW = Law(
    name='routing',
    formula='log10 L = a log10 N + b log10 Ehat + c log10 N log10 Ehat + d',
    source='Clark et al. 2022, arXiv 2202.01169',
    inputs=('N', 'experts'),
    # A change of the unit of N moves b and d, of the loss d, by sums, not by factors: they carry no
    # units here, and the law is so nearly linear in its logarithm that the starts hardly matter.
    parameters=(
        Parameter('a', start=(-0.1,), bounds=(-2.0, 1.0), scale='linear'),
        Parameter('b', start=(-0.15,), bounds=(-10.0, 10.0), scale='linear'),
        Parameter('c', start=(0.01,), bounds=(-1.0, 1.0), scale='linear'),
        Parameter('d', start=(1.0,), bounds=(-20.0, 20.0), scale='linear'),
        Parameter('Es', start=(0.5, 2.0, 5.0), bounds=(1e-2, 1e2)),
        Parameter('Em', start=(100.0, 300.0, 1000.0), bounds=(2.0, 1e7)),
    ),
    equation=equation,
    objective=('mse_log', 0.0),
    ranges=(('experts', (1.0, float('inf'))),),
)
