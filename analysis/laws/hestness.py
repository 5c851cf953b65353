"""How the error falls, and how the model must grow, with the data: Hestness et al. 2017.

  hestness     eps(D) = alpha D^beta_g + gamma     beta_g < 0, gamma the irreducible error
  model_size   N(D) = sigma D^beta_p               the smallest model that fits D, sublinear

arXiv 1712.00409. D is the training set (samples or tokens), eps any error or loss of the best model
for each D. The law holds in the middle of three regions: below it a model guesses, above it the
error that no data removes is left (analysis/training_curves/regions.py tells them apart).
"""

from __future__ import annotations

from typing import Any

from analysis.laws.law import Law, Parameter, Values

SOURCE = 'Hestness et al. 2017, arXiv 1712.00409'


def equation(p: Values, x: Values) -> Any:
  """The error, of the input's shape."""
  return p['alpha'] * x['D'] ** p['beta_g'] + p['gamma']


LAWS = (
    Law(name='hestness', formula='eps = alpha D^beta_g + gamma', source=SOURCE, inputs=('D',),
        parameters=(
            Parameter('alpha', start=(0.1, 0.5, 0.9), units=(('loss', 1.0), ('D', '-beta_g'))),
            Parameter('gamma', start=(0.1, 0.5, 0.9), units=(('loss', 1.0),)),
            Parameter('beta_g', start=(-0.07, -0.3, -1.0), bounds=(-3.0, 0.0), scale='linear')),
        equation=equation, linear=('alpha', 'gamma')),
    Law(name='model_size', formula='N = sigma D^beta_p', source=SOURCE, inputs=('D',),
        parameters=(
            Parameter('sigma', start=(1.0,), units=(('loss', 1.0), ('D', '-beta_p'))),
            Parameter('beta_p', start=(0.3, 0.7, 1.0), bounds=(-1.0, 3.0), scale='linear')),
        equation=lambda p, x: p['sigma'] * x['D'] ** p['beta_p'], output='N',
        objective=('mse_log', 0.0), linear=('sigma',)),
)
