"""Loss curves under learning-rate schedules: fit the multi-power law, predict other schedules.

  found = curves.fit([curves.of_file('a.csv', 'linear:2160:3e-4 cosine:24000:3e-5'), ...])
  found.predict(schedules.parse('linear:2160:3e-4 constant:20000 linear:24000:3e-5'))

The rates are computed from the schedule, or from a run's spec, never read off a few logged rows.
Curves that share parameters come from one model, one batch size and one corpus.
`python -m analysis.curves` is analysis/commands/curves.py; docs/curves.md describes it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis import laws, logs, metrics
from analysis.fitting import diagnostics, objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.objectives import Objective
from analysis.fitting.search import Found
from analysis.laws import multi_power
from analysis.laws.law import Law
from analysis.reading import tables
from analysis.reading.points import chosen_domain
from analysis.training_curves import schedules
from scaling import files, specs
from scaling.errors import InputError, bad

FIRST, KEPT, ROUNDS = 15, 4, 400  # evaluations of every start; the lowest; evaluations of those
NAMES = tuple(p.name for p in multi_power.PARAMETERS)


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
  """Losses [n] after `step` [n] updates of a run whose update k had rate[k], rate [T + 1]."""

  name: str
  schedule: str  # in words: what the rates come from
  rate: np.ndarray
  step: np.ndarray
  loss: np.ndarray

  @classmethod
  def of(cls, name: str, schedule: str, rate: np.ndarray, step: Any, loss: Any) -> Curve:
    """Checks the rows; leaves out those without a loss. Raises InputError naming the curve."""
    step, loss = np.asarray(step, np.float64), np.asarray(loss, np.float64)
    known = np.isfinite(step) & np.isfinite(loss)
    step, loss = step[known], loss[known]
    if not len(step):
      raise InputError(f'{name}: no row has both a step and a loss')
    if np.any(loss <= 0):
      raise bad(f'{name}: loss', float(loss.min()), 'it must be positive')
    last = len(rate) - 1
    wrong = (step != np.floor(step)) | (step < 1) | (step > last)
    if np.any(wrong):
      raise bad(f'{name}: step', float(step[wrong][0]),
                f'its schedule has the updates 1 to {last} ({schedule})')
    step = step.astype(np.int64)
    if np.any(np.cumsum(rate)[step] <= 0):
      raise bad(f'{name}: schedule', schedule, 'every rate is zero up to a step that has a loss')
    return cls(name, schedule, np.asarray(rate, np.float64), step, loss)


def of_file(path: str, schedule: str, columns: str = '', where: str = '') -> Curve:
  """The curve in a CSV or JSON-lines file with columns step and loss, or expressions for them.

  schedule: as schedules.parse takes it, or 'column:NAME', the rates logged in a column, joined by
  lines from 0 at step 0 (a jump between two rows is then smeared).
  """
  expressions = tables.columns(columns)
  for name in expressions:
    if name not in ('step', 'loss'):
      raise bad('--columns', name, 'a curve has step and loss')
  expressions = tables.columns('step=step,loss=loss') | expressions
  kind, _, column = schedule.partition(':')
  if kind == 'column':
    expressions |= tables.columns(f'rate=`{column}`')
  table = tables.read(path)
  every = tables.values(table, expressions)
  rate = (schedules.of_column(every['step'], every['rate']) if kind == 'column'
          else schedules.parse(schedule))
  kept = tables.values(tables.select(table, where), expressions)
  return Curve.of(os.path.basename(path), schedule, rate, kept['step'], kept['loss'])


def of_logs(workdir: str, study: str | None = None, domain: str | None = None,
            where: str = '') -> tuple[list[Curve], list[Curve]]:
  """The curves of a workdir's finished runs, and those of runs held out, named by run id.

  The rates are those of the run's spec. Runs of earlier stages are left out; a loss is the one on
  the windows of the evaluations along the run, where the last has more.
  """
  table = logs.load(workdir, study)
  domain = chosen_domain(table, domain, workdir)
  table = tables.select(table[(table['state'] == 'done') & (table['stage'] == 0)], where)
  losses = table[f'loss/{domain}']
  if f'loss_along/{domain}' in table:
    losses = table[f'loss_along/{domain}'].fillna(losses)
  parts: tuple[list[Curve], list[Curve]] = ([], [])
  for run, rows in table.groupby('run_id', sort=False):
    spec = specs.from_dict(files.read_json(f'{workdir}/runs/{run}/spec.json'))
    curve = Curve.of(str(run), f'{spec.optim.schedule} of its spec',
                     schedules.of_run(spec), rows['step'], losses[rows.index])
    parts[bool(rows['held_out'].iloc[0])].append(curve)
  return parts


@dataclasses.dataclass(frozen=True, eq=False)
class CurveFit:
  """The multi-power law fitted to curves, or its given parameters (then without an objective)."""

  params: dict[str, float]
  curves: tuple[Curve, ...] = ()
  objective: Objective | None = None
  value: float | None = None  # of the objective
  warnings: tuple[str, ...] = ()

  def predict(self, rate: np.ndarray, step: Any = None) -> np.ndarray:
    """The loss after `step` updates (default: every one from the first) at rates eta [T + 1].

    Raises InputError where the law is not finite (every rate so far zero, absurd parameters).
    """
    step = np.arange(1, len(rate)) if step is None else np.atleast_1d(np.asarray(step))
    with np.errstate(all='ignore'):
      found = multi_power.loss(self.params, rate, step)
    if not np.all(np.isfinite(found)):
      raise InputError(f'multi_power is not finite after {step[~np.isfinite(found)][0]} updates of '
                       'this schedule with these parameters')
    return found

  def score(self, curve: Curve) -> dict[str, float]:
    """How the law agrees with a curve: r2, mae, rmse, and mean and worst relative error.

    r2 is nan when all losses of the curve are equal.
    """
    predicted = self.predict(curve.rate, curve.step)
    error = predicted - curve.loss
    return {'r2': metrics.r2(curve.loss, predicted), 'mae': float(np.mean(np.abs(error))),
            'rmse': float(np.sqrt(np.mean(error**2))),
            'mean_relative_error': float(np.mean(np.abs(error) / curve.loss)),
            'worst_relative_error': float(np.max(np.abs(error) / curve.loss))}


def fit(curves: Sequence[Curve], objective: str = 'huber_log', huber_delta: float = 1e-3,
        fixed: Mapping[str, float] | None = None) -> CurveFit:
  """Fits the law to the curves, all rows alike, from 16 starts, in float64.

  fixed: parameters held at a value. Raises InputError for no curves or fewer rows than parameters.
  """
  if not curves:
    raise InputError('no curve to fit')
  rates, steps = [c.rate for c in curves], [c.step for c in curves]
  law = laws.fix(multi_power.law(rates, steps), fixed or {})
  chosen = Objective.of(objective, huber_delta)
  x, y = multi_power.inputs(rates, steps), np.concatenate([c.loss for c in curves])
  if len(y) < len(law.names):
    raise InputError(f'{law.name} has {len(law.names)} parameters but there are {len(y)} rows')
  coordinates = Coordinates.of(law, x, y)
  data = objectives.problem(law, coordinates, chosen.log, x, y)
  found = _least(law, coordinates, chosen, data)
  params = {**(fixed or {}), **{k: float(v) for k, v in coordinates.natural(found.u).items()}}
  params = {name: params[name] for name in NAMES}
  exact = np.concatenate([multi_power.loss(params, c.rate, c.step) for c in curves])
  residual = np.log(exact / y) if chosen.log else exact - y
  warnings = diagnostics.at_bounds(law, coordinates, found.u)
  warnings += diagnostics.identified(law, found.u, data, chosen.log)
  if not found.converged:
    warnings.append('the optimiser did not converge')
  if all(np.all(np.diff(c.rate[c.step.min():]) >= 0) for c in curves):
    warnings.append('no curve has a decay of its rate: B, C, beta and gamma say nothing')
  return CurveFit(params, tuple(curves), chosen, chosen.value(residual), tuple(warnings))


def leave_one_out(found: CurveFit, fixed: Mapping[str, float] | None = None) -> list[CurveFit]:
  """The fit without each of its curves in turn, for how far predictions hang on any one of them."""
  if found.objective is None or len(found.curves) < 2:
    raise InputError('leaving curves out takes a fit of at least two')
  delta = found.objective.delta or 1e-3
  return [fit([c for c in found.curves if c is not curve], found.objective.name, delta, fixed)
          for curve in found.curves]


def _least(law: Law, coordinates: Coordinates, objective: Objective, data: dict[str, Any]) -> Found:
  """The best end of the law's own starts, by scipy's trust region with the objective's rho.

  A row costs dozens of terms, so the 64 lanes of second derivatives that serve other laws well are
  several times slower here than one lane of first derivatives; both end in the same optimum.
  """
  from scipy import optimize  # a tenth of a second that only this needs

  residuals = objectives.residuals(law, objective.log)
  lower, upper = coordinates.bounds()

  def solve(u: np.ndarray, delta: float, rounds: int) -> tuple[float, np.ndarray, bool]:
    robust = bool(np.isfinite(delta))
    try:
      end = optimize.least_squares(
          lambda v: solver.derivatives(residuals, v, data, {})[0], u,
          lambda v: solver.derivatives(residuals, v, data, {})[1], bounds=(lower, upper),
          loss='huber' if robust else 'linear', f_scale=delta if robust else 1.0,
          x_scale='jac', ftol=1e-12, xtol=1e-12, gtol=1e-15, max_nfev=rounds)
    except ValueError:  # not finite from here
      return np.inf, u, False
    return float(end.cost), end.x, bool(end.status > 0)

  starts = np.clip(coordinates.starts(), lower, upper)
  ends = sorted((solve(u, objective.deltas[0], FIRST) for u in starts), key=lambda e: e[0])[:KEPT]
  for delta in objective.deltas:
    ends = [solve(u, delta, ROUNDS) for _, u, _ in ends]
  f, u, converged = min(ends, key=lambda e: e[0])
  if not np.isfinite(f):
    raise InputError(f'{law.name}: the law is not finite on these curves from any start')
  return Found(u, converged, ())


if __name__ == '__main__':
  from analysis.commands import curves as curves_command
  curves_command.start()
