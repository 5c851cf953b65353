"""Translation models, L(N_e, N_d) = alpha (Nbar_e/N_e)^p_e (Nbar_d/N_d)^p_d + L_inf.

Ghorbani et al. 2021 (arXiv 2109.07740), the form as recalled (the paper was not at hand). N_e and
N_d are the non-embedding parameters of encoder and decoder, L nats per token. The reference sizes
Nbar only set the unit of alpha, so they are one parameter here: alpha is the reducible loss at
N_e = N_d = 1, and `alpha_at` gives it at a reference size of choice.
"""

from __future__ import annotations

from typing import Any

from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """Nats per token, of the inputs' shape."""
  return p['L_inf'] + p['alpha'] * x['N_e'] ** -p['p_e'] * x['N_d'] ** -p['p_d']


def alpha_at(p: Values, encoder: Any, decoder: Any) -> Any:
  """The paper's alpha for reference sizes Nbar_e, Nbar_d: the reducible loss there."""
  return p['alpha'] * encoder ** -p['p_e'] * decoder ** -p['p_d']


def split(p: Values, total: Any) -> dict[str, Any]:
  """N_e and N_d of least loss with N_e + N_d = total: shares p_e and p_d of p_e + p_d.

  The least loss then falls as total^-(p_e + p_d).
  """
  share = p['p_e'] / (p['p_e'] + p['p_d'])
  return {'N_e': share * total, 'N_d': (1 - share) * total}


LAW = Law(
    name='nmt',
    formula='L = alpha / (N_e^p_e N_d^p_d) + L_inf',
    source='Ghorbani et al. 2021, arXiv 2109.07740 (form recalled)',
    inputs=('N_e', 'N_d'),
    parameters=(
        Parameter('alpha', start=(0.1, 0.5),
                  units=(('loss', 1.0), ('N_e', 'p_e'), ('N_d', 'p_d'))),
        Parameter('p_e', start=(0.1, 0.3, 1.0), bounds=(0.0, 3.0), scale='linear'),
        Parameter('p_d', start=(0.1, 0.3, 1.0), bounds=(0.0, 3.0), scale='linear'),
        Parameter('L_inf', start=(0.3, 0.7), units=(('loss', 1.0),)),
    ),
    equation=equation,
    linear=('alpha', 'L_inf'),
)
