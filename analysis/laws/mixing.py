"""Loss against the mixing ratios, at one model size and token count: Ye et al. 2024 (2403.16952).

  mixing             y = c + exp(k r + b)                     two domains, r the ratio of one
  mixing(a,b,...)    y = c + k exp(sum_j t_j r_j)             any number of domains

y nats per token on one validation domain. Ratios sum to one, so adding a constant to every t_j and
taking it out of ln k changes nothing: the last domain's t is zero here, the others are differences
from it, and its ratio is not an input. With two domains that is k r + b with k = t_1, b = ln k.

The default objective is the paper's: the SUM of Huber_.02 over y's own residuals. The published
coefficients are not its optimum in c, k and b together: c was chosen first, as the value that makes
ln(y - c) most nearly a straight line in r (`offset`), k and b then fitted to y - c.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.laws.law import Law, Parameter, Values
from scaling.errors import InputError, bad

SOURCE = 'Ye et al. 2024, arXiv 2403.16952'
OBJECTIVE = ('huber', 0.02)
PREFIX = 'mixing('


def equation(p: Values, x: Values) -> Any:
  """c + exp(k r + b), of the shape of r."""
  return p['c'] + jnp.exp(p['k'] * x['r'] + p['b'])


def offset(ratio: Any, loss: Any, points: int = 1000) -> float:
  """The c in [0, min loss) for which ln(loss - c) is most nearly linear in the ratio [n].

  Of `points` evenly spaced values, the one with the largest |correlation|, as the paper's own
  analysis does. Raises InputError for fewer than three points, or ratios that are all the same.
  """
  r, y = np.asarray(ratio, np.float64), np.asarray(loss, np.float64)
  if r.shape != y.shape or r.ndim != 1 or len(r) < 3 or np.ptp(r) == 0 or not np.all(
      np.isfinite(r) & np.isfinite(y) & (y > 0)):
    raise InputError('offset: it needs three or more ratios, not all the same, each with a '
                     'positive loss')
  c = np.linspace(0, np.min(y), points)[:-1]
  z = np.log(y - c[:, None])
  z -= z.mean(1, keepdims=True)
  s = r - r.mean()
  correlation = np.abs(z @ s) / (np.sqrt(np.sum(z**2, 1) * np.sum(s**2)) + 1e-300)
  return float(c[np.argmax(correlation)])


@functools.cache
def of(domains: tuple[str, ...]) -> Law:
  """y = c + k exp(sum_j t_j r_j) over two or more domains, named `mixing(a,b,...)`.

  Inputs r_a, r_b, ... and parameters c, k, t_a, t_b, ... for all domains but the last. Raises
  InputError unless the names are distinct identifiers.
  """
  if len(domains) < 2 or len(set(domains)) < len(domains) or not all(
      d.isidentifier() for d in domains):
    raise bad('domains', ','.join(domains), 'two or more different names of letters, digits and _')
  seen = domains[:-1]

  def value(p: Values, x: Values) -> Any:
    return p['c'] + p['k'] * jnp.exp(sum(p[f't_{d}'] * x[f'r_{d}'] for d in seen))

  return Law(
      name=f'{PREFIX}{",".join(domains)})',
      formula='y = c + k exp(' + ' + '.join(f't_{d} r_{d}' for d in seen) + ')',
      source=SOURCE,
      inputs=tuple(f'r_{d}' for d in seen),
      columns=tuple((f'r_{d}', f'r/{d}') for d in seen),
      ranges=tuple((f'r_{d}', (0.0, 1.0)) for d in seen),
      parameters=(
          Parameter('c', start=(0.5, 0.9), units=(('loss', 1.0),)),
          Parameter('k', start=(0.1, 0.5), units=(('loss', 1.0),)),
          *(Parameter(f't_{d}', start=(-3.0, 0.0) if i < 4 else (-0.5,), bounds=(-100.0, 100.0),
                      scale='linear') for i, d in enumerate(seen))),
      equation=value,
      objective=OBJECTIVE,
      linear=('c', 'k'),
  )


def named(name: str) -> Law:
  """The law of a name such as 'mixing(github,arxiv,c4)'. Raises InputError as `of` does."""
  if not name.startswith(PREFIX) or not name.endswith(')'):
    raise bad('law', name, 'write mixing(NAME,NAME,...)')
  return of(tuple(part.strip() for part in name[len(PREFIX):-1].split(',')))


LAW = Law(
    name='mixing',
    formula='y = c + exp(k r + b)',
    source=SOURCE,
    inputs=('r',),
    parameters=(
        Parameter('c', start=(0.5, 0.8, 0.95), units=(('loss', 1.0),)),
        Parameter('k', start=(-10.0, -3.0, -1.0, 1.0, 3.0), bounds=(-100.0, 100.0),
                  scale='linear'),
        Parameter('b', start=(-3.0, -1.0), bounds=(-15.0, 15.0), scale='ln',
                  units=(('loss', 1.0),))),
    equation=equation,
    objective=OBJECTIVE,
    linear=('c',),
)
