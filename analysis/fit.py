"""Fits a law to data: `fit(law, inputs, loss)` gives a `Fit` that predicts, with intervals.

The entry point `python -m analysis.fit` has its flags in analysis/commands/fit.py; docs/fit.md
describes fit.json, the methods and their measured coverage.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis import metrics
from analysis.fitting import diagnostics, hypothesis, intervals, objectives, search, shift
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.intervals import METHODS as INTERVALS
from analysis.fitting.noise import Components
from analysis.fitting.objectives import Objective
from analysis.fitting.result import BOOTSTRAP, PERCENTILE, PROFILE, Fit
from analysis.laws.law import Law
from analysis.reading import rows
from scaling.errors import InputError, bad

__all__ = ['BOOTSTRAP', 'INTERVALS', 'PERCENTILE', 'PROFILE', 'Fit', 'fit', 'objective_of']


def fit(law: Law, inputs: Mapping[str, Any], loss: Any, *, objective: str | None = None,
        huber_delta: float | None = None, bootstrap: int = 200, level: float = 0.9,
        groups: Any = None, weights: Any = None, noise_floor: float = 0.0,
        components: Components | None = None, interval: str = 'auto', strata: Any = None,
        test: Mapping[str, float] | None = None,
        starts: Mapping[str, Sequence[float]] | None = None, seed: int = 0,
        extra: Mapping[str, Any] | None = None) -> Fit:
  """Fits `law` to loss [n] (the law's output) at inputs {name: [n]}, in float64.

  objective, huber_delta: see analysis/fitting/objectives.py (default: the law's). bootstrap:
  refits for the intervals; 0 means no intervals. level: of all intervals. groups [n]: what was
  drawn independently, e.g. run ids (default: every
  row, copies of a row together). weights [n]: how often each row counts, or
  1 / variance. noise_floor: the least standard deviation of a residual that intervals assume.
  components: of the noise, of losses that are means over evaluation resamples
  (analysis/fitting/noise.py).
  interval: auto (bootstrap from three groups a parameter on, else profile), bootstrap, profile or
  percentile (plain, as papers publish it). strata [n]: groups are resampled within these. test:
  {parameter: value} to test against, under `tests` (analysis/fitting/hypothesis.py).
  starts: a starting grid in natural units, logarithms for parameters on a log scale (default: the
  law's own, relative to the data). Rows with a value that the law or the objective cannot take are
  dropped and counted in `dropped`.

  Raises InputError for a missing input, arrays of different lengths, fewer usable rows than
  parameters, or an option out of range.
  """
  chosen = objective_of(law, objective, huber_delta)
  _check_options(bootstrap, level, noise_floor)
  if interval not in INTERVALS:
    raise bad('interval', interval, f'it is {", ".join(INTERVALS)}')
  hypothesis.check(law, test or {})
  used = rows.usable(law, inputs, loss, groups, weights, chosen.log)
  if strata is not None:
    if np.shape(strata) != np.shape(loss):
      raise InputError(f'{law.name}: strata has shape {np.shape(strata)}, loss {np.shape(loss)}')
    strata = np.asarray(strata)[used.kept]
    if groups is None:
      used = dataclasses.replace(used, groups=rows.alike(used.inputs, used.loss, strata))
  x, y = used.inputs, used.loss
  size = len(law.parameters)
  if not len(y) or len(y) < size:
    lost = (f' ({sum(used.dropped.values())} rows were dropped: {rows.said(used.dropped)})'
            if used.dropped else '')
    raise InputError(f'{law.name} has {size} parameters but there are {len(y)} points{lost}')
  coordinates = Coordinates.of(law, x, y)
  data = objectives.problem(law, coordinates, chosen.log, x, y)
  if size:
    grid = coordinates.starts() if starts is None else coordinates.natural_starts(starts)
    found = search.search(law, coordinates, chosen, data, grid, used.weights, seed)
  else:  # every parameter is given: how well that law does on these rows
    found, bootstrap = search.Found(np.zeros(0), True, ()), 0
  params = {name: float(v) for name, v in coordinates.natural(found.u).items()} if size else {}
  predicted = law.predict(params, x)
  residual = np.log(predicted) - np.log(y) if chosen.log else predicted - y
  warnings = diagnostics.of(law, coordinates, found, data, chosen.log, params, x, y,
                            used.groups) if size else [
      'every parameter is held: nothing was fitted']
  warnings = warnings + law.broken(params, x)
  bare = Fit(law=law, params=params, objective=chosen, value=chosen.value(residual, used.weights),
             inputs=x, loss=y, groups=used.groups, weights=used.weights, level=level,
             noise_floor=noise_floor, components=components,
             metrics=metrics.all_of(y, predicted), dropped=used.dropped, warnings=warnings,
             extra={'columns': {}, 'data': {'source': None, 'sha256': None}, 'code_version': None,
                    'minima': [{'params': {n: float(v) for n, v in coordinates.natural(u).items()},
                                'above': float(above)} for u, above in found.others],
                    'search': {'converged': found.converged, 'gradient': found.gradient,
                               'restarts': found.restarts},
                    **(extra or {})})
  if not bootstrap:
    return bare if not test else dataclasses.replace(bare, warnings=[
        *bare.warnings, 'the parameter values were not tested: that needs intervals'])
  done = intervals.of(bare, found.u, bootstrap, seed, interval, strata)
  if test and done.interval_method is not None:
    count = len(np.unique(done.groups))
    result = (hypothesis.likelihood(done.profile, count, test) if done.samples is None
              else hypothesis.wald(law, params, done.refits(), test))
    done = dataclasses.replace(done, extra=done.extra | {'tests': [result]})
  if components is None or not done.intervals:
    return done
  return dataclasses.replace(done, intervals=shift.parameters(
      law, params, done.intervals, components.half_width(level), chosen.log))


def objective_of(law: Law, name: str | None, delta: float | None) -> Objective:
  """The objective asked for, or the law's own; a threshold belongs to the law's own objective."""
  own, threshold = law.objective
  if delta is None:
    delta = threshold if name in (None, own) and threshold > 0 else 1e-3
  return Objective.of(name or own, delta)


def _check_options(bootstrap: int, level: float, noise_floor: float) -> None:
  if bootstrap < 0 or bootstrap > 100_000 or 0 < bootstrap < 20:
    raise bad('bootstrap', bootstrap, 'it must be 0 (no intervals) or in [20, 100000]')
  if not 0 < level < 1:
    raise bad('level', level, 'it must lie between 0 and 1')
  if not (math.isfinite(noise_floor) and noise_floor >= 0):
    raise bad('noise_floor', noise_floor, 'it must be >= 0')


if __name__ == '__main__':
  from analysis.commands import fit as fit_command
  fit_command.start()
