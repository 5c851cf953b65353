"""Which intervals a fit gets, and those of its parameters.

`auto` resamples where that is known to work: at least three groups a parameter, and every parameter
identified. Otherwise it follows the profile likelihood, for refits from the optimum stay where they
start along a direction that the data leave flat. Two sizes and twelve D each, noise of 0.3 %, say
nothing of alpha; the bootstrap's 90 % intervals of it were [1.03, 1.05] and [.41, .43] in two
studies, and its interval of the law at ten times the largest N held the truth in none of ten.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis.fitting import bootstrap, diagnostics
from analysis.fitting.result import BOOTSTRAP, PERCENTILE, PROFILE, Fit

METHODS = {'auto': None, 'bootstrap': BOOTSTRAP, 'profile': PROFILE, 'percentile': PERCENTILE}


def of(bare: Fit, u: np.ndarray, refits: int, seed: int, interval: str,
       strata: np.ndarray | None) -> Fit:
  """The fit with intervals of its parameters, by the method asked for (a key of METHODS)."""
  groups, size = len(np.unique(bare.groups)), u.size
  if groups <= size:
    return dataclasses.replace(bare, warnings=bare.warnings + [
        f'no intervals: {groups} groups for {size} parameters leave nothing to judge the noise by'])
  method, why = chosen(bare, u, interval)
  bare = dataclasses.replace(bare, warnings=bare.warnings + why)
  return profiled(bare) if method == PROFILE else resampled(bare, u, refits, seed, strata, method)


def chosen(bare: Fit, u: np.ndarray, interval: str) -> tuple[str, list[str]]:
  """The method, and what must be said of it."""
  if interval == 'profile':
    return PROFILE, []
  unknown = diagnostics.unidentified(bare.law, u, bare._data, bare.objective.log, bare.inputs)
  groups = len(np.unique(bare.groups))
  if interval != 'auto':
    return METHODS[interval] or BOOTSTRAP, [
        f'intervals from the {METHODS[interval]} are too narrow here: {why}' for why in unknown[:1]]
  if groups < 3 * u.size:
    return PROFILE, [f'intervals from the profile likelihood: {groups} groups are fewer than three '
                     f'times the {u.size} parameters, too few to resample']
  if unknown:
    return PROFILE, ['intervals from the profile likelihood, for refits would stay near where they '
                     f'start: {unknown[0]}']
  return BOOTSTRAP, []


def resampled(bare: Fit, u: np.ndarray, refits: int, seed: int, strata: np.ndarray | None,
              method: str) -> Fit:
  """Quantiles over refits."""
  samples = bootstrap.refits(bare.law, bare._coordinates, bare.objective, bare._data, bare.groups,
                             bare.weights, u, refits, seed, strata, plain=method == PERCENTILE)
  done = dataclasses.replace(bare, samples=samples, interval_method=method)
  ends = {name: np.quantile(values, done._tails) for name, values in done.refits().items()}
  open_ = diagnostics.unbounded(done.law, done._spread_samples, done.level)
  return dataclasses.replace(done, warnings=bare.warnings + open_, intervals={
      name: [float(a), float(b)] for name, (a, b) in ends.items()})


def profiled(bare: Fit) -> Fit:
  """Ends of profiles, which include the fitted value."""
  done = dataclasses.replace(bare, interval_method=PROFILE)
  ends = done.profile.parameters()
  warnings, intervals = [], {}
  for i, name in enumerate(bare.law.names):
    value = bare.params[name]
    intervals[name] = [min(float(ends.low[i]), value), max(float(ends.high[i]), value)]
    sides = [s for s, flat in (('below', ends.flat_low[i]), ('above', ends.flat_high[i])) if flat]
    if sides:
      warnings.append(f'parameter {name} is not identified: its profile is flat '
                      f'{" and ".join(sides)}')
  made = dataclasses.replace(done, intervals=intervals, warnings=bare.warnings + warnings)
  made.__dict__['profile'] = done.profile  # What it has looked at serves predictions, too.
  return made


def refitted(bare: Fit, refits: int = 200, seed: int = 0) -> Fit | None:
  """A fit whose intervals are profiles, with refits for what the law says within its data; None
  where there are too few groups to resample.

  Such refits are too narrow for the parameters: along a flat direction they stay where they start.
  But along it the law does not change within the data, nor does a choice that it makes there.
  """
  if len(np.unique(bare.groups)) < 3 * len(bare.law.parameters):
    return None
  return resampled(bare, bare._centre, refits, seed, None, BOOTSTRAP)
