"""A test of given parameter values: is their distance from the fit more than noise?

  chi2 = d' S^-1 d,  d = the difference in (ln theta for a log scale, theta for a linear one),

S the covariance of the bootstrap refits, with as many degrees of freedom as values are given. In
logarithms, for refits of A and B spread over a factor of five and are far from normal as they are.
From a profile likelihood (few groups) it is the F test of the rise of the sum of squares with the
values held, over K s^2 with K and G - P degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from analysis.fitting import objectives, solver
from analysis.fitting.profile import STEPS, Profile
from analysis.laws import combine
from analysis.laws.law import Law
from scaling.errors import InputError, bad


def check(law: Law, values: Mapping[str, float]) -> None:
  """Raises InputError for a parameter that the law does not have or a value it cannot take."""
  known = {p.name: p for p in law.parameters}
  for name, value in values.items():
    if name not in known:
      raise bad('test', name, f'the free parameters of {law.name} are {", ".join(law.names)}')
    known[name].check(value, 'test')


def wald(law: Law, centre: Mapping[str, float], refits: Mapping[str, np.ndarray],
         values: Mapping[str, float]) -> dict[str, Any]:
  """{'values', 'chi2', 'df', 'p'} from refits {name: [S]} around centre {name: value}."""
  scale = {p.name: p.scale for p in law.parameters}

  def on_scale(name: str, value: Any) -> Any:
    return np.log(value) if scale[name] == 'log' else np.asarray(value, float)

  distance = np.array([on_scale(n, centre[n]) - on_scale(n, v) for n, v in values.items()])
  spread = np.cov(np.stack([on_scale(n, refits[n]) for n in values]))
  spread = np.atleast_2d(spread)
  if not np.all(np.isfinite(spread)) or np.linalg.matrix_rank(spread) < len(values):
    raise InputError('test: the refits do not spread in every parameter; nothing can be tested')
  chi2 = float(distance @ np.linalg.solve(spread, distance))
  return {'values': dict(values), 'chi2': chi2, 'df': len(values),
          'p': float(special.chdtrc(len(values), chi2))}


def likelihood(profile: Profile, groups: int, values: Mapping[str, float]) -> dict[str, Any]:
  """{'values', 'F', 'df', 'p'}: the sum of squares with the values held against the least one."""
  law, rows = profile.law, len(profile.data['y'])
  start = profile.coordinates.natural(profile.u)
  start = {name: float(v) for name, v in start.items()} | dict(values)
  fixed = combine.fix(law, dict(values))
  coordinates = type(profile.coordinates)(fixed, profile.coordinates.reference)
  if fixed.parameters:
    u = np.clip(coordinates.internal({n: start[n] for n in fixed.names}), *coordinates.bounds())
    random = np.random.default_rng(0)
    starts = u + np.concatenate([np.zeros((1, u.size)), random.normal(
        scale=0.3, size=(15, u.size))])
    found = solver.minimise(objectives.residuals(fixed, profile.log), starts, profile.data, {},
                            profile.weights[None], np.full(rows, np.inf), *coordinates.bounds(),
                            steps=STEPS)
    ssr = 2 * float(np.min(found.f))
  else:
    r = np.asarray(fixed.predict({}, profile.data['x']))
    r = (np.log(r) if profile.log else r) - profile.data['y']
    ssr = float(np.sum(profile.weights * r**2))
  freedom = max(groups - len(law.names), 1)
  each = rows / groups
  ratio = max(ssr - profile.ssr, 0.0) / (len(values) * each * profile.s**2)
  return {'values': dict(values), 'F': ratio, 'df': [len(values), freedom],
          'p': float(special.fdtrc(len(values), freedom, ratio))}
