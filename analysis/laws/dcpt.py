"""Continual pre-training on a mixture, L(N, D, r): the D-CPT Law (Que et al. 2024, 2406.01375).

N parameters, D tokens, r in [0, 1] the share of the training mixture that comes from the corpus
whose validation loss (nats per token) is modelled. A domain's loss is fitted with r = r_d, the
general loss with r = r_g = 1 - r_d: the same law, two fits. Of the paper's candidates,

  dcpt     L3 = E + A/N^alpha + B r^eta/D^beta + C/(r + eps)^gamma      the paper's choice
  dcpt_l1  L1 = E + A/N^alpha + B/D^beta + C/(r + eps)^gamma            recalled, 60 to 80 % sure
  dcpt_l4  L4 = E + A/N^alpha + B b^r/D^beta + C/c^r                    recalled, 60 to 80 % sure
  dcpt_l5  L5 = E + A/N^alpha + B/(r D + (1 - r) sigma D)^beta          recalled, 60 to 80 % sure

  dcpt_monotone  L3 with eta >= 1: only so can dL/dr < 0, which the paper requires, hold to r = 0

With eta < 1 the term B r^eta rises infinitely fast at r = 0, and eps, gamma and eta trade: r = 0,
where it was not trained, is then missed by up to 25 %, with eta >= 1 by 1 to 2 % (docs/log.md).
That is for models that go on from a converged base. Trained from scratch, as in the mixtures of
Shukor et al. 2025, the loss falls with D at r = 0 too, which only eta near 0 can say: R2 of the
largest size .92 and .97 with eta free, .64 and .71 with eta >= 1. So `dcpt` leaves eta free.

The recalled forms have the paper's parameter counts (8, 8, 6); the paper was not at hand. L2, L6
and L7 are not here because their forms are not known.

Across domains there is one more term, with a learnability K for each domain:

  dcpt_cross     L3 + F/K^mu, K = 1/k1 + w k2      K3, the paper's choice
  dcpt_cross_k1  L3 + F/K^mu, K = 1/k1             K1, recalled, 60 to 80 % sure
  dcpt_cross_k2  L3 + F/K^mu, K = k2               K2, recalled, 60 to 80 % sure

k1 is a domain's loss before training on it and k2 how fast it falls at first (`first_loss`,
`early_decline`). The paper's w1 multiplies K by a constant, which F absorbs: w1 = 1 and w = w2/w1.
Notes of the paper disagree on whether a larger K is easier, so F may have either sign.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.laws.law import Law, Parameter, Values, check_inputs
from scaling.errors import InputError, bad

SOURCE = 'Que et al. 2024, arXiv 2406.01375'
LOSS = (('loss', 1.0),)

E = Parameter('E', start=(0.5,), units=LOSS)
A = Parameter('A', start=(0.2,), units=(*LOSS, ('N', 'alpha')))
B = Parameter('B', start=(0.2,), units=(*LOSS, ('D', 'beta')))
C = Parameter('C', start=(0.1,), bounds=(1e-8, 1e8), units=LOSS)
ALPHA = Parameter('alpha', start=(0.2, 0.6), bounds=(0.0, 3.0), scale='linear')
BETA = Parameter('beta', start=(0.2, 0.6), bounds=(0.0, 3.0), scale='linear')
# How sharp the rise at small r is can hardly be told from where it starts: C, gamma and eps trade.
GAMMA = Parameter('gamma', start=(0.3, 1.5), bounds=(0.0, 10.0), scale='linear')
EPS = Parameter('eps', start=(0.02, 0.2), bounds=(1e-4, 10.0))
ETA = Parameter('eta', start=(0.3, 1.0, 3.0), bounds=(0.01, 10.0), scale='linear')
LINEAR = ('E', 'A', 'B', 'C')


def power(r: Any, exponent: Any) -> Any:
  """r^exponent for exponent > 0, with finite derivatives in the exponent at r = 0."""
  positive = r > 0
  return jnp.where(positive, jnp.exp(exponent * jnp.log(jnp.where(positive, r, 1.0))), 0.0)


def _size(p: Values, x: Values) -> Any:
  return p['E'] + p['A'] * x['N'] ** -p['alpha']


def _ratio(p: Values, x: Values) -> Any:
  return p['C'] * (x['r'] + p['eps']) ** -p['gamma']


def l3(p: Values, x: Values) -> Any:
  """E + A/N^alpha + B r^eta/D^beta + C/(r + eps)^gamma, of the inputs' shape."""
  return _size(p, x) + p['B'] * power(x['r'], p['eta']) * x['D'] ** -p['beta'] + _ratio(p, x)


def l1(p: Values, x: Values) -> Any:
  """E + A/N^alpha + B/D^beta + C/(r + eps)^gamma, of the inputs' shape."""
  return _size(p, x) + p['B'] * x['D'] ** -p['beta'] + _ratio(p, x)


def l4(p: Values, x: Values) -> Any:
  """E + A/N^alpha + B b^r/D^beta + C/c^r, of the inputs' shape."""
  return (_size(p, x) + p['B'] * p['b'] ** x['r'] * x['D'] ** -p['beta']
          + p['C'] * p['c'] ** -x['r'])


def l5(p: Values, x: Values) -> Any:
  """E + A/N^alpha + B/(r D + (1 - r) sigma D)^beta, of the inputs' shape."""
  effective = x['D'] * (x['r'] + (1 - x['r']) * p['sigma'])
  return _size(p, x) + p['B'] * effective ** -p['beta']


def cross(p: Values, x: Values) -> Any:
  """L3 + F/K^mu with K = 1/k1 + w k2, of the inputs' shape."""
  return l3(p, x) + p['F'] * (1 / x['k1'] + p['w'] * x['k2']) ** -p['mu']


def cross_k1(p: Values, x: Values) -> Any:
  """L3 + F/K^mu with K = 1/k1, of the inputs' shape."""
  return l3(p, x) + p['F'] * x['k1'] ** p['mu']


def cross_k2(p: Values, x: Values) -> Any:
  """L3 + F/K^mu with K = k2, of the inputs' shape."""
  return l3(p, x) + p['F'] * x['k2'] ** -p['mu']


def first_loss(tokens: Any, loss: Any) -> float:
  """k1, a domain's loss before training on it, from one curve [n]: its loss at the fewest tokens.

  The curve should begin at 0 tokens or shortly after. Raises InputError for no usable point.
  """
  _, y = _curve(tokens, loss, 1)
  return float(y[0])


def early_decline(tokens: Any, loss: Any, share: float = 0.1) -> float:
  """k2, how fast the loss falls early on, per token, from one curve [n].

  Minus the least-squares slope over the first `share` of the curve's tokens (at least its first two
  points). Raises InputError for fewer than two points, or a loss that does not fall: K would not be
  positive.
  """
  if not 0 < share <= 1:
    raise bad('share', share, 'it must be in (0, 1]')
  x, y = _curve(tokens, loss, 2)
  early = x <= x[0] + share * (x[-1] - x[0])
  early[:2] = True
  slope = float(np.polyfit(x[early], y[early], 1)[0])
  if slope >= 0:
    raise InputError(f'early_decline: the loss does not fall over the first {early.sum()} points')
  return -slope


def _curve(tokens: Any, loss: Any, least: int) -> tuple[np.ndarray, np.ndarray]:
  x, y = (np.atleast_1d(np.asarray(v, np.float64)) for v in (tokens, loss))
  if x.shape != y.shape:
    raise InputError(f'a curve of {x.size} token counts and {y.size} losses')
  usable = np.isfinite(x) & np.isfinite(y)
  x, y = x[usable], y[usable]
  if len(np.unique(x)) < least:
    raise InputError(f'a curve needs {least} or more points with tokens and loss')
  order = np.argsort(x, kind='stable')
  return x[order], y[order]


def violations(law: Law, params: Mapping[str, float], inputs: Mapping[str, Any]) -> list[str]:
  """Where a fit breaks the paper's design requirements, one sentence each; [] where it keeps them.

  dL/dN < 0, dL/dD < 0, dL/dr < 0 and d2L/dD dr < 0 at every row of the inputs [n]. B r^eta grows
  with r, so with eta < 1 the third must fail close to r = 0. Derivatives that are zero or not
  finite there (r^eta at r = 0) break nothing.
  """
  return _broken(law.equation, params, check_inputs(law, inputs))


def _broken(equation: Any, params: Values, x: Values) -> list[str]:
  with jax.enable_x64(True):
    found = {name: np.asarray(v) for name, v in _slopes(equation, dict(params), x).items()}
  said = []
  for name, value in found.items():
    bad_rows = np.isfinite(value) & (value > 0)
    if not bad_rows.any():
      continue
    r = x['r'][bad_rows]
    where = f'r = {r.min():.3g}' if r.min() == r.max() else f'r from {r.min():.3g} to {r.max():.3g}'
    said.append(f'{name} is positive at {100 * bad_rows.mean():.2g} % of the points, {where}: '
                'the law should fall there')
  return said


@functools.partial(jax.jit, static_argnums=0)
def _slopes(equation: Any, params: Values, x: Values) -> dict[str, Any]:
  def total(n: Any, d: Any, r: Any) -> Any:
    return equation(params, {**x, 'N': n, 'D': d, 'r': r}).sum()

  at = x['N'], x['D'], x['r']
  slopes = jax.grad(total, (0, 1, 2))(*at)
  mixed = jax.grad(lambda r: jax.grad(total, 1)(*at[:2], r).sum())(at[2])
  return dict(zip(('dL/dN', 'dL/dD', 'dL/dr', 'd2L/dDdr'), (*slopes, mixed)))


L3 = Law(
    name='dcpt',
    formula='L = E + A / N^alpha + B r^eta / D^beta + C / (r + eps)^gamma',
    source=f'{SOURCE}, L3',
    inputs=('N', 'D', 'r'),
    parameters=(E, A, B, C, ALPHA, BETA, GAMMA, ETA, EPS),
    equation=l3,
    linear=LINEAR,
)
MONOTONE = dataclasses.replace(
    L3, name='dcpt_monotone', formula=f'{L3.formula}, eta >= 1', source=f'{SOURCE}, L3',
    parameters=tuple(dataclasses.replace(p, bounds=(1.0, 10.0), start=(1.2, 3.0))
                     if p.name == 'eta' else p for p in L3.parameters))
L1 = dataclasses.replace(
    L3, name='dcpt_l1', source=f'{SOURCE}, L1 (recalled)', equation=l1,
    formula='L = E + A / N^alpha + B / D^beta + C / (r + eps)^gamma',
    parameters=(E, A, B, C, ALPHA, BETA, GAMMA, EPS))
L4 = dataclasses.replace(
    L3, name='dcpt_l4', source=f'{SOURCE}, L4 (recalled)', equation=l4,
    formula='L = E + A / N^alpha + B b^r / D^beta + C / c^r',
    parameters=(E, A, B, C, ALPHA, BETA,
                Parameter('b', start=(0.5, 2.0), bounds=(1e-4, 1e4)),
                Parameter('c', start=(1.5, 5.0), bounds=(1e-4, 1e4))))
L5 = dataclasses.replace(
    L3, name='dcpt_l5', source=f'{SOURCE}, L5 (recalled)', equation=l5,
    formula='L = E + A / N^alpha + B / (r D + (1 - r) sigma D)^beta',
    parameters=(E, A, B, ALPHA, BETA, Parameter('sigma', start=(0.03, 0.3, 1.5))),
    linear=('E', 'A', 'B'))


def _crossed(name: str, formula: str, source: str, equation: Any, inputs: tuple[str, ...],
             k: tuple[tuple[str, str | float], ...], *more: Parameter) -> Law:
  """L3 and the learnability term; few domains leave F, mu and w to their noise."""
  return dataclasses.replace(
      L3, name=name, source=f'{SOURCE}, {source}', equation=equation,
      formula=f'{L3.formula} + F / K^mu, K = {formula}', inputs=('N', 'D', 'r', *inputs),
      parameters=(*L3.parameters,
                  Parameter('F', start=(-0.1, 0.1), bounds=(-1e4, 1e4), scale='linear',
                            units=(*LOSS, *k)),
                  Parameter('mu', start=(1.0,), bounds=(0.05, 5.0), scale='linear'),
                  *more))


LAWS = tuple(dataclasses.replace(law, check=functools.partial(_broken, law.equation)) for law in (
    L3, MONOTONE, L1, L4, L5,
    _crossed('dcpt_cross', '1/k1 + w k2', 'K3', cross, ('k1', 'k2'), (('k1', '-mu'),),
             Parameter('w', start=(1.0,), units=(('k1', -1.0), ('k2', -1.0)))),
    _crossed('dcpt_cross_k1', '1/k1', 'K1 (recalled)', cross_k1, ('k1',), (('k1', '-mu'),)),
    _crossed('dcpt_cross_k2', 'k2', 'K2 (recalled)', cross_k2, ('k2',), (('k2', 'mu'),)),
))
NAMES = tuple(law.name for law in LAWS)
