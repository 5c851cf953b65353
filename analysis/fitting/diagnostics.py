"""What a reader of a fit must know before trusting it: the `warnings` of fit.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.fitting import objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.search import Found
from analysis.laws.law import Law

FAR = 10.0  # an extrapolation by more than this factor is warned about
WORST_CONDITION = 1e4  # of the Jacobian with columns of length one


def of(law: Law, coordinates: Coordinates, found: Found, data: dict[str, Any], log: bool,
       params: Mapping[str, float], x: Mapping[str, np.ndarray], y: np.ndarray,
       groups: np.ndarray) -> list[str]:
  """All that can be said of a fit before its intervals are known."""
  warnings = at_bounds(law, coordinates, found.u)
  warnings += identified(law, found.u, data, log)
  warnings += coverage_of(x) + duplicates(x, y, groups)
  warnings += bracketed(law, params, x)
  if not found.converged:
    warnings.append('the optimiser did not converge')
  for u, above in found.others[:3]:
    values = ', '.join(f'{k} {float(v):.5g}' for k, v in coordinates.natural(u).items())
    warnings.append(f'another minimum is only {100 * above:.2g} % higher: {values}')
  if len(found.others) > 3:
    warnings.append(f'{len(found.others)} other minima in all lie within 2 % of the best')
  return warnings


def at_bounds(law: Law, coordinates: Coordinates, u: np.ndarray) -> list[str]:
  """Parameters that ended on a bound."""
  lower, upper = coordinates.bounds()
  found = []
  for i, p in enumerate(law.parameters):
    for bound, name in ((lower[i], 'lower'), (upper[i], 'upper')):
      if abs(u[i] - bound) <= 1e-9 * max(1, abs(bound)):
        units = ' (in units of the data: its term vanishes)' if p.units and name == 'lower' else ''
        found.append(f'parameter {p.name} is at its {name} bound{units}')
  return found


def identified(law: Law, u: np.ndarray, data: dict, log: bool) -> list[str]:
  """A warning when two parameters can hardly be told apart by these data."""
  _, jacobian = solver.derivatives(objectives.residuals(law, log), u, data, {})
  length = np.linalg.norm(jacobian, axis=0)
  silent = [n for n, size in zip(law.names, length) if size <= 1e-9 * max(np.max(length), 1e-300)]
  if silent:
    return [f'parameter {name} is not identified: the loss does not depend on it here'
            for name in silent]
  _, singular, vectors = np.linalg.svd(jacobian / length)
  condition = singular[0] / max(singular[-1], 1e-300)
  if condition < WORST_CONDITION and len(data['y']) >= len(u):
    return []
  names = [law.names[i] for i in np.argsort(-np.abs(vectors[-1]))[:3]
           if abs(vectors[-1, i]) > 0.2]
  return [f'parameters {", ".join(names)} are hardly identified apart (condition {condition:.1e})']


def unidentified(law: Law, u: np.ndarray, data: dict, log: bool,
                 x: Mapping[str, np.ndarray]) -> list[str]:
  """Why refits from the optimum u would not show how far off it may be; nothing if they would.

  A direction that the data leave flat, an input with fewer than three values, or a parameter whose
  linearised interval is so wide (a factor of ten, a quarter of the range between its bounds) that
  the law is not linear within it. Noise is judged by the median residual, as a robust fit does.
  """
  found = identified(law, u, data, log) + few(x)
  if found:
    return found
  r, jacobian = solver.derivatives(objectives.residuals(law, log), u, data, {})
  spread = np.sqrt(np.diag(np.linalg.pinv(jacobian.T @ jacobian)))
  width = 2 * 1.645 * 1.4826 * np.median(np.abs(r)) * spread
  for p, wide in zip(law.parameters, width):
    limit = np.log(FAR) if p.scale == 'log' else (p.bounds[1] - p.bounds[0]) / 4
    if wide > limit:
      found.append(f'parameter {p.name} is hardly identified')
  return found


def unbounded(law: Law, samples: np.ndarray, level: float) -> list[str]:
  """Positive parameters that the refits [S, P] leave open by more than FAR at the data's centre."""
  low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
  return [f'parameter {p.name} is not identified: its {100 * level:g} % interval spans a factor of '
          f'{np.exp(high[i] - low[i]):.2g}' + (' at the centre of the data' if p.units else '')
          for i, p in enumerate(law.parameters)
          if p.scale == 'log' and high[i] - low[i] > np.log(FAR)]


def coverage_of(inputs: Mapping[str, np.ndarray]) -> list[str]:
  """Too few values of an input, or a plan of sizes and tokens at one or two budgets."""
  found = few(inputs)
  if {'N', 'D'} <= set(inputs) and not found:
    with np.errstate(all='ignore'):
      budgets = len(np.unique(np.round(np.log(6 * inputs['N'] * inputs['D']), 2)))
    if budgets < 3:
      found.append(f'only {budgets} budget{"s" * (budgets > 1)} C = 6 N D: N and D are one thing '
                   'there, and nothing shows how the optimum moves')
  return found


def few(inputs: Mapping[str, np.ndarray]) -> list[str]:
  """Inputs of one or two values."""
  found = []
  for name, values in inputs.items():
    count = len(np.unique(np.round(np.log(values), 6) if np.all(values > 0)
                          else np.round(values, 12)))
    if count < 3:
      found.append(f'only {count} value{"s" * (count > 1)} of {name}: at least three are needed '
                   'for a power and an offset')
  return found


def duplicates(inputs: Mapping[str, np.ndarray], loss: np.ndarray, groups: np.ndarray) -> list[str]:
  """Rows that say the same twice."""
  rows = np.stack([*inputs.values(), loss], 1)
  distinct, member = np.unique(rows, axis=0, return_inverse=True)
  extra = len(rows) - len(distinct)
  if not extra:
    return []
  said = (f'{extra} row{"s are duplicates" if extra > 1 else " is a duplicate"} of another, '
          'inputs and loss: kept, ')
  pairs = len(np.unique(np.stack([member.ravel(), np.unique(groups, return_inverse=True)[1]], 1),
                        axis=0))
  return [said + ('in one group, so intervals take them for one measurement'
                  if pairs == len(distinct) else 'in groups of their own, so intervals take them '
                  'for several measurements')]


def far(inputs: Mapping[str, np.ndarray], x: Mapping[str, np.ndarray]) -> list[str]:
  """Points x beyond the fitted inputs by more than FAR."""
  found = []
  for name, values in x.items():
    fitted = inputs[name]
    if name == 'r' or np.any(fitted <= 0):
      continue
    factor = max(float(np.max(values) / np.max(fitted)), float(np.min(fitted) / np.min(values)))
    if factor > FAR:
      found.append(f'{name} is extrapolated by a factor of {factor:.3g} (more than {FAR:.0f})')
  return found


def bracketed(law: Law, params: Mapping[str, float], inputs: Mapping[str, np.ndarray]) -> list[str]:
  """Whether the compute optimum of the data's own budgets lies among the data."""
  if law.optimum is None or set(law.optimum_of) != {'N', 'D'} or set(inputs) != {'N', 'D'}:
    return []
  budgets = 6 * inputs['N'] * inputs['D']
  with np.errstate(all='ignore'):
    best = law.best(params, budgets)['N']
  low, high = np.min(inputs['N']), np.max(inputs['N'])
  inside = np.isfinite(best) & (best >= low) & (best <= high)
  if np.any(inside):
    return []
  known = best[np.isfinite(best)]
  if not len(known):
    return ['minimum not bracketed: the fitted law has no optimum at any budget of these data']
  where = 'above the largest' if np.median(known) > high else 'below the smallest'
  return [f'minimum not bracketed: at every budget of these data the optimal N lies {where} N '
          'of the data']
