"""Task accuracy from task loss, the second step of a model ladder: Bhagia et al. 2024 (2412.04403).

  accuracy = a / (1 + exp(-k (x - x0))) + b

x is the task loss (nats a byte or token of the right answer), whose first step is `chinchilla` in N
and D on the same runs; k > 0, so a < 0 where accuracy falls with loss: b is the accuracy at loss 0
in the limit of large k x0, a + b that of guessing. analysis.ladder chains the two.
"""

from __future__ import annotations

from typing import Any

import jax

from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """Accuracy, in the unit of a and b, of the input's shape."""
  return p['a'] * jax.nn.sigmoid(p['k'] * (x['task_loss'] - p['x0'])) + p['b']


LAW = Law(
    name='sigmoid_accuracy',
    formula='accuracy = a / (1 + exp(-k (task_loss - x0))) + b',
    source='Bhagia et al. 2024, arXiv 2412.04403, step 2',
    inputs=('task_loss',),
    parameters=(
        Parameter('a', start=(-2.0, -1.0, -0.3), bounds=(-100.0, 100.0), scale='linear',
                  units=(('loss', 1.0),)),
        Parameter('b', start=(1.5,), bounds=(-100.0, 100.0), scale='linear',
                  units=(('loss', 1.0),)),
        Parameter('k', start=(2.0, 6.0, 20.0), bounds=(1e-2, 1e3), units=(('task_loss', -1.0),)),
        Parameter('x0', start=(0.5, 0.8, 1.0, 1.3), bounds=(-10.0, 10.0), scale='linear',
                  units=(('task_loss', 1.0),)),
    ),
    equation=equation,
    output='accuracy',
    objective=('mse', 0.0),
)
