"""L(N, D, U) = E + A / N'^alpha + B / D'^beta: Muennighoff et al. 2023 (arXiv 2305.16264).

D training tokens of which U are unique, R_D = D / U - 1 repetitions; N parameters, of which U_N are
worth having for U unique tokens, R_N = N / U_N - 1 times as many in excess. What is repeated or in
excess counts less the more there is of it:

  D' = U + U R_D* (1 - exp(-R_D / R_D*))          N' = U_N + U_N R_N* (1 - exp(-R_N / R_N*))
  U_N = min(N, (U G)^(beta / alpha) G), G = (alpha A / (beta B))^(1 / (alpha + beta))

U_N is at most Chinchilla's best N where its best D is U. R_D*, R_N* are written R_D_star, R_N_star.
Geometric variant: an epoch is worth 1 - delta_D of the one before it, D' = U (1 - (1 - delta_D)^(1
+ R_D)) / delta_D, and so for N with delta_N; R* = (1 - delta) / delta nearly.

Simpler variants are fixed parameters: --fix=R_N_star=1e12 has N' = N (data alone decays), with
R_D_star=1e12 too nothing decays, which is Chinchilla. The authors fit E, A, B, alpha = beta to runs
of one epoch first and keep them: --fix and --tie do that.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import chinchilla, combine
from analysis.laws.law import Parameter, Values


def effective(unique: Any, repeats: Any, star: Any) -> Any:
  """U + U R* (1 - exp(-R / R*)): what U and R repetitions of it are worth."""
  return unique * (1 - star * jnp.expm1(-repeats / star))


def geometric(unique: Any, repeats: Any, delta: Any) -> Any:
  """U (1 - (1 - delta)^(1 + R)) / delta: epoch k is worth (1 - delta)^k of the first."""
  return -unique * jnp.expm1((1 + repeats) * jnp.log1p(-delta)) / delta


def unique_and_repeats(p: Values, x: Values) -> tuple[Any, Any, Any, Any]:
  """(U_D, R_D, U_N, R_N) of runs with N, D and U; U is no more than D."""
  unique = jnp.minimum(x['U'], x['D'])
  total = p['alpha'] + p['beta']
  balance = (jnp.log(p['alpha'] * p['A']) - jnp.log(p['beta'] * p['B'])) / total  # ln G
  best = jnp.exp(p['beta'] / p['alpha'] * (jnp.log(unique) + balance) + balance)
  useful = jnp.minimum(x['N'], best)
  return unique, x['D'] / unique - 1, useful, x['N'] / useful - 1


def exponential_decay(p: Values, x: Values) -> dict[str, Any]:
  """N' and D' with R_N* and R_D*."""
  unique, repeats, useful, excess = unique_and_repeats(p, x)
  return {'N': effective(useful, excess, p['R_N_star']),
          'D': effective(unique, repeats, p['R_D_star'])}


def geometric_decay(p: Values, x: Values) -> dict[str, Any]:
  """N' and D' with delta_N and delta_D."""
  unique, repeats, useful, excess = unique_and_repeats(p, x)
  return {'N': geometric(useful, excess, p['delta_N']),
          'D': geometric(unique, repeats, p['delta_D'])}


LAW = combine.of_inputs(
    chinchilla.LAW, 'repetition', ('N', 'D', 'U'), exponential_decay,
    parameters=(Parameter('R_D_star', start=(3.0, 30.0), bounds=(1e-3, 1e12)),
                Parameter('R_N_star', start=(2.0, 20.0), bounds=(1e-3, 1e12))),
    formula="L = E + A / N'^alpha + B / D'^beta, X' = U_X + U_X R_X* (1 - exp(-R_X / R_X*))",
    source='Muennighoff et al. 2023, arXiv 2305.16264', linear=('E',))

GEOMETRIC = combine.of_inputs(
    chinchilla.LAW, 'repetition_geometric', ('N', 'D', 'U'), geometric_decay,
    parameters=(Parameter('delta_D', start=(0.03, 0.3), bounds=(1e-9, 1 - 1e-9)),
                Parameter('delta_N', start=(0.03, 0.3), bounds=(1e-9, 1 - 1e-9))),
    formula="L = E + A / N'^alpha + B / D'^beta, X' = U_X (1 - (1 - delta_X)^(1 + R_X)) / delta_X",
    source='Muennighoff et al. 2023, arXiv 2305.16264', linear=('E',))

LAWS = (LAW, GEOMETRIC)
