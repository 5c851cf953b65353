"""Kaplan et al. 2020 (arXiv 2001.08361): loss as a power law, and as two of them at once.

  kaplan        L(N, D) = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D        (eq 1.5)
  kaplan_n      L(N)    = (N_c / N)^alpha_N      trained to convergence, endless data (eq 1.1)
  kaplan_d      L(D)    = (D_c / D)^alpha_D      large models, stopped early          (eq 1.2)
  kaplan_c      L(C)    = (C_c / C)^alpha_C      the best size for each budget        (eq 1.3)
  kaplan_steps  L(N, S_min) = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S               (eq 1.6)

N counts parameters without embeddings, D tokens, C FLOPs, S_min the updates that a batch far above
the critical size would have needed (analysis/laws/critical_batch.py converts), L nats per token.
N_c, D_c, C_c, S_c are counted like what they divide; a term is one nat where its ratio is one.
Their joint fit on WebText2: alpha_N .076, alpha_D .103, N_c 6.4e13, D_c 1.8e13.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws.law import Law, Parameter, Values

SOURCE = 'Kaplan et al. 2020, arXiv 2001.08361'
EXPONENTS = (0.005, 3.0)  # above zero: N_c carries a unit of loss^(1 / alpha_N)


def term(p: Values, x: Values, of: str) -> Any:
  """ln of (X_c / X)^alpha_X, X = `of`."""
  return p[f'alpha_{of[0]}'] * (jnp.log(p[f'{of[0]}_c']) - jnp.log(x[of]))


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  size = term(p, x, 'N') / p['alpha_D']
  return jnp.exp(p['alpha_D'] * jnp.logaddexp(size, jnp.log(p['D_c']) - jnp.log(x['D'])))


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N and D of least loss for C FLOPs, C = 6 N D.

  With k = alpha_N / alpha_D the bracket is (N_c / N)^k + 6 D_c N / C; its derivative in N vanishes
  at N^(k + 1) = k N_c^k C / (6 D_c).
  """
  k = p['alpha_N'] / p['alpha_D']
  log_n = (jnp.log(k) + k * jnp.log(p['N_c']) + jnp.log(flops / 6) - jnp.log(p['D_c'])) / (k + 1)
  n = jnp.exp(log_n)
  return {'N': n, 'D': flops / 6 / n}


def scale(of: str, start: tuple[float, ...]) -> Parameter:
  """X_c: its unit is that of X times loss^(1 / alpha_X)."""
  return Parameter(f'{of[0]}_c', start=start, bounds=(1e-20, 1e9),
                   units=((of, 1.0), ('loss', f'1/alpha_{of[0]}')))


def exponent(of: str, start: tuple[float, ...]) -> Parameter:
  return Parameter(f'alpha_{of}', start=start, bounds=EXPONENTS, scale='linear')


def _single(name: str, of: str, columns: tuple[tuple[str, str], ...] = ()) -> Law:
  return Law(name=name, formula=f'L = ({of}_c / {of})^alpha_{of}', source=SOURCE, inputs=(of,),
             parameters=(scale(of, (1.0,)), exponent(of, (0.05, 0.2, 0.5))),
             equation=lambda p, x: jnp.exp(term(p, x, of)), columns=columns)


NONEMBEDDING = (('N', 'N_nonembedding'),)

LAWS = (
    Law(name='kaplan', formula='L = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D',
        source=SOURCE, inputs=('N', 'D'),
        parameters=(scale('N', (0.05, 0.5)), scale('D', (0.1, 0.5)),
                    exponent('N', (0.05, 0.2, 0.6)), exponent('D', (0.05, 0.2, 0.6))),
        equation=equation, columns=NONEMBEDDING, optimum=optimum),
    _single('kaplan_n', 'N', NONEMBEDDING),
    _single('kaplan_d', 'D'),
    _single('kaplan_c', 'C'),
    Law(name='kaplan_steps', formula='L = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S',
        source=SOURCE, inputs=('N', 'S_min'),
        parameters=(scale('N', (0.01, 0.3, 0.9)), scale('S_min', (0.01, 0.3)),
                    exponent('N', (0.07, 0.3)), exponent('S', (0.3, 0.8))),
        equation=lambda p, x: jnp.exp(term(p, x, 'N')) + jnp.exp(term(p, x, 'S_min')),
        columns=NONEMBEDDING),
)
