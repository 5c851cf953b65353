"""L(N, D) = E + A / N^alpha + B / D^beta: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3.

N parameters, D training tokens, L nats per token; E is the loss of an infinite model on infinite
data. Which N is meant (total, non-embedding) is the user's choice; a workdir's `N` is the total.

Compute optimum under C = 6 N D: with G = (alpha A / (beta B))^(1 / (alpha + beta)),
N = G (C/6)^(beta / (alpha + beta)), D = (C/6)^(alpha / (alpha + beta)) / G.
"""

from __future__ import annotations

from typing import Any

from analysis.laws.law import Law, Parameter, Values

# The paper's 4,500 starts, in natural units (N and D counted one by one, loss in nats).
HOFFMANN_STARTS = {
    'E': (-1.0, -0.5, 0.0, 0.5, 1.0),  # ln E
    'A': (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),  # ln A
    'B': (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),  # ln B
    'alpha': (0.0, 0.5, 1.0, 1.5, 2.0),
    'beta': (0.0, 0.5, 1.0, 1.5, 2.0),
}


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  return p['E'] + p['A'] * x['N'] ** -p['alpha'] + p['B'] * x['D'] ** -p['beta']


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N and D of least loss for C FLOPs, C = 6 N D."""
  total = p['alpha'] + p['beta']
  balance = (p['alpha'] * p['A'] / (p['beta'] * p['B'])) ** (1 / total)  # G
  product = flops / 6
  return {'N': balance * product ** (p['beta'] / total),
          'D': product ** (p['alpha'] / total) / balance}


LAW = Law(
    name='chinchilla',
    formula='L = E + A / N^alpha + B / D^beta',
    source='Hoffmann et al. 2022, arXiv 2203.15556, approach 3',
    inputs=('N', 'D'),
    parameters=(
        Parameter('E', start=(0.3, 0.7), units=(('loss', 1.0),)),
        Parameter('A', start=(0.05, 0.25), units=(('loss', 1.0), ('N', 'alpha'))),
        Parameter('B', start=(0.05, 0.25), units=(('loss', 1.0), ('D', 'beta'))),
        Parameter('alpha', start=(0.2, 0.5, 1.0), bounds=(0.0, 3.0), scale='linear'),
        Parameter('beta', start=(0.2, 0.5, 1.0), bounds=(0.0, 3.0), scale='linear'),
    ),
    equation=equation,
    optimum=optimum,
    linear=('E', 'A', 'B'),
)
