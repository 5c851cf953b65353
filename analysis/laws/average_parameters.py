"""L(N_average, D) = E + A / N_average^alpha + B / D^beta: Jin et al. 2025 (arXiv 2501.12486).

N_average is the mean over training tokens of the count of parameters that are not zero: for a dense
run N, for one that is pruned while it trains something between its first and its last N, given by
its density schedule (scaling/sparsity.py). C = 6 N_average D. Chinchilla with another N: dense and
sparse runs lie on one law. The paper's fitted coefficients are not public.
"""

from __future__ import annotations

from typing import Any

from analysis.laws import chinchilla, combine
from analysis.laws.law import Values


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N_average and D of least loss at C = 6 N_average D."""
  best = chinchilla.optimum(p, flops)
  return {'N_average': best['N'], 'D': best['D']}


LAW = combine.of_inputs(
    chinchilla.LAW, 'average_parameters', ('N_average', 'D'),
    lambda p, x: {'N': x['N_average'], 'D': x['D']}, units={'N': 'N_average'},
    formula='L = E + A / N_average^alpha + B / D^beta',
    source='Jin et al. 2025, arXiv 2501.12486', optimum=optimum, optimum_of=('N_average', 'D'))
