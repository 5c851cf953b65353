"""A fit as a result: predicts with intervals, is saved as fit.json (docs/fit.md) and loaded."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from analysis import laws
from analysis.fitting import bootstrap, objectives, saved, shift, solver
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.noise import Components
from analysis.fitting.objectives import Objective
from analysis.fitting.profile import Profile
from analysis.laws.law import Law, check_inputs
from scaling import files
from scaling.errors import InputError, bad

FIELDS = frozenset((
    'law', 'formula', 'source', 'params', 'fixed', 'tied', 'output', 'intervals', 'interval_method',
    'level', 'objective', 'metrics', 'n_points', 'n_dropped', 'n_groups', 'noise_floor',
    'components', 'residual_std', 'warnings', 'points', 'samples'))  # of fit.json; others are extra
BOOTSTRAP, PROFILE, PERCENTILE = 'bootstrap', 'profile likelihood', 'percentile bootstrap'


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
  """A fitted law with the rows it was fitted to."""

  law: Law
  params: dict[str, float]
  objective: Objective
  value: float  # of the objective
  inputs: dict[str, np.ndarray]
  loss: np.ndarray
  groups: np.ndarray
  weights: np.ndarray
  level: float = 0.9
  noise_floor: float = 0.0
  components: Components | None = None  # of the noise, when runs have evaluation resamples
  interval_method: str | None = None
  intervals: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  samples: np.ndarray | None = None  # bootstrap refits, u [S, P]
  metrics: dict[str, float | None] = dataclasses.field(default_factory=dict)
  dropped: dict[str, int] = dataclasses.field(default_factory=dict)
  warnings: list[str] = dataclasses.field(default_factory=list)
  extra: dict[str, Any] = dataclasses.field(default_factory=dict)  # columns, data, held_out, ...

  def predict(self, inputs: Mapping[str, Any]) -> np.ndarray:
    """The law at these inputs (any one shape)."""
    return self.law.predict(self.params, inputs)

  def interval(self, inputs: Mapping[str, Any], kind: str = 'prediction', resamples: int = 0,
               ) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) at `level`: of a new run's loss ('prediction') or of the law ('confidence').

    resamples: the new run is scored on so many other evaluation resamples; 0: on those of the fit.
    Raises InputError for a fit that was made without intervals.
    """
    if kind not in ('prediction', 'confidence'):
      raise bad('kind', kind, 'it is prediction or confidence')
    if self.interval_method is None:
      raise InputError('this fit has no intervals (it was made with --bootstrap=0, or with no more '
                       'groups than parameters)')
    x = check_inputs(self.law, inputs)
    shape = next(iter(x.values())).shape
    flat, new = {name: np.array(v).ravel() for name, v in x.items()}, kind == 'prediction'
    if self.interval_method == PROFILE:
      ends = self.profile.outputs(flat, new)
      low, high = ends.low, ends.high
    else:
      low, high = self._from_samples(flat, new)
    centre = self.predict(flat)
    low, high = np.minimum(low, centre), np.maximum(high, centre)
    if self.components is not None and (kind == 'confidence' or resamples):
      extra = self.components.half_width(self.level, 0 if kind == 'confidence' else resamples)
      low, high = shift.widened(low, high, centre, extra, self.objective.log)
    return low.reshape(shape), high.reshape(shape)

  def optimum(self, flops: Any) -> dict[str, np.ndarray]:
    """Inputs of least loss at C FLOPs (of C = 6 N D: N and D), with N_low, N_high ... if known.

    Raises InputError for a law without one or a budget that is not positive.
    """
    budget = np.atleast_1d(np.asarray(flops, np.float64))
    if not np.all(np.isfinite(budget) & (budget > 0)):
      raise bad('flops', flops, 'it must be positive and finite')
    best = self.law.best(self.params, budget)
    if self.interval_method == PROFILE:
      for name, ends in self.profile.optimum(budget).items():
        best |= {f'{name}_low': np.minimum(ends.low, best[name]),
                 f'{name}_high': np.maximum(ends.high, best[name])}
    elif self.interval_method is not None:
      params = self.refits()
      found = self.law.best({k: v[:, None] for k, v in params.items()}, budget)
      for name in self.law.optimum_of:
        none = np.all(np.isnan(found[name]), 0)  # no refit has an optimum: no interval
        tails = np.nanquantile(np.where(none, 0.0, found[name]), self._tails, axis=0)
        best |= dict(zip((f'{name}_low', f'{name}_high'), np.where(none, np.nan, tails)))
    return best

  def refits(self) -> dict[str, np.ndarray]:
    """Parameters of the bootstrap refits {name: [S]}, spread as the intervals are."""
    return self._coordinates.natural(self._spread_samples)

  def save(self, path: str) -> None:
    """Writes fit.json. Raises OSError if it cannot."""
    files.replace(path, files.to_json(_finite(self.to_dict())) + '\n')

  def to_dict(self) -> dict[str, Any]:
    """fit.json as Python values."""
    return {
        'law': self.law.name, 'formula': self.law.formula, 'source': self.law.source,
        'params': self.params, 'fixed': dict(self.law.fixed), 'tied': dict(self.law.tied),
        'output': self.law.output, 'intervals': self.intervals,
        'interval_method': self.interval_method, 'level': self.level,
        'objective': {'name': self.objective.name, 'delta': self.objective.delta,
                      'value': self.value},
        'metrics': self.metrics, 'n_points': len(self.loss), 'n_dropped': self.dropped,
        'n_groups': len(np.unique(self.groups)), 'noise_floor': self.noise_floor,
        'components': None if self.components is None else dataclasses.asdict(self.components),
        'residual_std': float(np.std(self.residual)), 'warnings': self.warnings, **self.extra,
        'points': {**{k: v.tolist() for k, v in self.inputs.items()},
                   'loss': self.loss.tolist(), 'group': [str(g) for g in self.groups],
                   'weight': self.weights.tolist()},
        'samples': None if self.samples is None else [[float(f'{x:.7g}') for x in row]
                                                      for row in self.samples]}

  @classmethod
  def load(cls, path: str) -> Fit:
    """A saved fit. Raises InputError for a file that is missing or is not a fit."""
    try:
      values = files.read_json(path)
    except OSError as error:
      raise InputError(f'{path}: {error.strerror or error}') from None
    except (ValueError, RecursionError):
      raise InputError(f'{path}: not a fit.json (it is not JSON)') from None
    try:
      law = laws.get(values['law'])
      law = laws.fix(laws.tie(law, values.get('tied', {})), values.get('fixed', {}))
      saved.check(law, values, (PROFILE, BOOTSTRAP, PERCENTILE))
      points = {k: np.array(v, np.float64) for k, v in values['points'].items() if k != 'group'}
      samples = values['samples']
      return cls(
          law=law, params={name: float(values['params'][name]) for name in law.names},
          objective=Objective(values['objective']['name'], values['objective']['delta']),
          value=float(values['objective']['value']),
          inputs={name: points[name] for name in law.inputs}, loss=points['loss'],
          groups=np.array(values['points']['group']),
          weights=points.get('weight', np.ones(len(points['loss']))), level=float(values['level']),
          noise_floor=float(values['noise_floor']), components=_components(values),
          interval_method=values['interval_method'], intervals=_ends(values['intervals']),
          metrics=dict(values['metrics']),
          samples=None if samples is None else np.array(samples, np.float64),
          dropped=dict(values['n_dropped']), warnings=list(values['warnings']),
          extra={k: v for k, v in values.items() if k not in FIELDS})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
      if isinstance(error, InputError):
        raise InputError(f'{path}: not a fit.json ({error})') from None
      raise InputError(f'{path}: not a fit.json ({type(error).__name__}: {error})') from None

  @property
  def _tails(self) -> list[float]:
    return [(1 - self.level) / 2, (1 + self.level) / 2]

  @property
  def jacobian(self) -> np.ndarray:
    """d residual / d internal coordinates at the fit, [n, P]."""
    return solver.derivatives(objectives.residuals(self.law, self.objective.log), self._centre,
                              self._data, {})[1]

  @functools.cached_property
  def _coordinates(self) -> Coordinates:
    return Coordinates.of(self.law, self.inputs, self.loss)

  @functools.cached_property
  def _data(self) -> dict[str, Any]:
    return objectives.problem(self.law, self._coordinates, self.objective.log, self.inputs,
                              self.loss)

  @functools.cached_property
  def _centre(self) -> np.ndarray:
    lower, upper = self._coordinates.bounds()
    return np.clip(self._coordinates.internal(self.params), lower, upper)

  @functools.cached_property
  def residual(self) -> np.ndarray:
    predicted = self.predict(self.inputs)
    return np.log(predicted / self.loss) if self.objective.log else predicted - self.loss

  @functools.cached_property
  def profile(self) -> Profile:
    """The profile likelihood of these data, whatever the intervals are made from."""
    return Profile.of(self.law, self._coordinates, self.objective.log, self._data, self.weights,
                      self._centre, len(np.unique(self.groups)), self.level, self.noise_floor)

  @functools.cached_property
  def _spread_samples(self) -> np.ndarray:
    assert self.samples is not None
    if self.interval_method == PERCENTILE:
      return self.samples
    lower, upper = self._coordinates.bounds()
    spread = bootstrap.spread(self.samples, self._centre, len(np.unique(self.groups)),
                              len(self.loss), self.level, self.objective.quadratic(self.residual))
    return np.clip(spread, lower, upper)

  def _from_samples(self, x: dict[str, np.ndarray], new: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles over refits, each with the residual of some row added for a new run."""
    params = self.refits()
    found = self.law.predict({k: v[:, None] for k, v in params.items()},
                             {k: v[None] for k, v in x.items()})
    if new:
      # Every refit meets residuals at evenly spread ranks, in an order of its own.
      count, groups = len(found), len(np.unique(self.groups))
      ranks = (np.random.default_rng(0).permutation(8 * count) + 0.5) / (8 * count)
      noise = np.quantile(-self.residual, ranks).reshape(count, 8, 1)
      noise = noise * np.sqrt(groups / max(groups - len(self.params), 1))
      if self.noise_floor > np.std(self.residual):
        noise = self.noise_floor * special.ndtri(ranks).reshape(count, 8, 1)
      found = found[:, None] * np.exp(noise) if self.objective.log else found[:, None] + noise
      found = found.reshape(8 * count, -1)
    low, high = np.quantile(found, self._tails, axis=0)
    return low, high


def _finite(value: Any) -> Any:
  """JSON has no infinities: they become null."""
  if isinstance(value, dict):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


def _components(values: dict[str, Any]) -> Components | None:
  """The components of fit.json, where an unknown variance is null."""
  known = values.get('components')
  return None if known is None else Components(**{  # type: ignore[arg-type]
      name: math.nan if v is None else v for name, v in dict(known).items()})


def _ends(intervals: dict[str, list[float | None]]) -> dict[str, list[float]]:
  """Intervals as JSON holds them: an end at infinity is null there."""
  return {name: [-math.inf if low is None else low, math.inf if high is None else high]
          for name, (low, high) in intervals.items()}
