"""L(N_average, D) = E + A / N_average^alpha + B / D^beta: Jin et al. 2025 (arXiv 2501.12486).

N_average is the mean over training tokens of the count of parameters that are not zero: for a dense
run N, for one that is pruned while it trains something between its first and its last N, given by
its density schedule (scaling/sparsity.py). C = 6 N_average D. Chinchilla with another N: dense and
sparse runs lie on one law. The paper's fitted coefficients are not public.

weighted_parameters leaves open when in the run parameters count, L(N_w, D), 0 <= w < 1:

  N_w = N_final + (N_initial - N_final) phi^(w / (1 - w)),
  phi = (N_average - N_final) / (N_initial - N_final)

w = 0 is the initial count, 1/2 the average, 1 the final one, and dense runs have N_w = N at any w.
phi is the share of the tokens before the pruning if all of it happens at once; then N_w is the mean
of N over tokens with the weight of the token at t going as (t / D)^(w / (1 - w) - 1), and w is that
weight's mean place t / D. A ramp is taken as the sudden pruning of the same three counts.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from analysis.laws import chinchilla, combine
from analysis.laws.law import Parameter, Values

TINY = 1e-9  # phi of a run that is pruned before its first token


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N_average and D of least loss at C = 6 N_average D."""
  best = chinchilla.optimum(p, flops)
  return {'N_average': best['N'], 'D': best['D']}


def weighted(w: Any, initial: Any, average: Any, final: Any) -> Any:
  """N_w, of the counts' shape; their order is initial >= average >= final."""
  span = initial - final
  pruned = span > TINY * initial
  phi = jnp.where(pruned, (average - final) / jnp.where(pruned, span, 1.0), 0.5)
  phi = jnp.clip(phi, TINY, 1 - TINY)
  return final + span * jnp.exp(w / (1 - w) * jnp.log(phi))


LAW = combine.of_inputs(
    chinchilla.LAW, 'average_parameters', ('N_average', 'D'),
    lambda p, x: {'N': x['N_average'], 'D': x['D']}, units={'N': 'N_average'},
    formula='L = E + A / N_average^alpha + B / D^beta',
    source='Jin et al. 2025, arXiv 2501.12486', optimum=optimum, optimum_of=('N_average', 'D'))

WEIGHTED = combine.of_inputs(
    chinchilla.LAW, 'weighted_parameters', ('N_initial', 'N_average', 'N_final', 'D'),
    lambda p, x: {'N': weighted(p['w'], x['N_initial'], x['N_average'], x['N_final']),
                  'D': x['D']},
    # From .99 on N_w is the final count for all that a loss can tell.
    parameters=(Parameter('w', start=(0.1, 0.5, 0.9), bounds=(0.0, 0.99), scale='linear'),),
    units={'N': 'N_average'},
    columns=(('N_initial', 'N_nonembedding'), ('N_average', 'N_average_nonembedding'),
             ('N_final', 'N_nonzero')),
    formula='L = E + A / N_w^alpha + B / D^beta, N_w = N_final + (N_initial - N_final) '
            'phi^(w / (1 - w)), phi = (N_average - N_final) / (N_initial - N_final)',
    source='Jin et al. 2025, arXiv 2501.12486, whose case is w = 1/2')

LAWS = (LAW, WEIGHTED)
