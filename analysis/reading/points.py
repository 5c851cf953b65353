"""The rows a fit is made from: of a workdir, or of a user's table."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from analysis import logs
from analysis.fitting.noise import Components
from analysis.laws.law import Law
from analysis.reading import rewarming, sampling, tables
from analysis.reading import rows as usable_rows
from analysis.reading.expressions import Expression
from analysis.reading.sampling import Options, Sample
from scaling.errors import InputError, bad

NO_OPTIONS = Options()


@dataclasses.dataclass(frozen=True)
class Points:
  """Inputs, loss and groups of the rows to fit and of those held out, and where they come from."""

  inputs: dict[str, np.ndarray]
  loss: np.ndarray
  groups: np.ndarray
  columns: dict[str, str]  # input -> expression
  data: dict[str, Any]  # source, sha256, ...
  noise: float = 0.0  # a floor for the standard deviation of ln loss, known apart from the fit
  held_out: Points | None = None
  weights: np.ndarray | None = None
  notes: tuple[str, ...] = ()
  cells: np.ndarray | None = None  # replicates, runs alike but for their seed, share a value
  components: Components | None = None  # of the noise, when runs have evaluation resamples
  strata: np.ndarray | None = None  # of --stratify
  left_out: dict[str, int] = dataclasses.field(default_factory=dict)  # reason: rows


def of_table(law: Law, path: str, columns: str = '', where: str = '', group: str = '',
             hold_out: str = '', weight: str = '', *, form: str = '',
             options: Options = NO_OPTIONS) -> Points:
  """The points of --data, --columns, --where, --group, --hold_out, --weight and --format (form).

  `options`: --best_over, --seed, --resample.

  Raises InputError for what does not fit.
  """
  expressions = tables.columns(columns)
  table = tables.read(path, form)
  rows = len(table)
  table = tables.select(table, where, expressions)
  needed = (*law.inputs, law.output)
  unknown = sorted(set(expressions) - set(needed))
  if unknown:
    raise bad('--columns', unknown[0], f'{law.name} takes {", ".join(needed)}')
  for name in needed:
    if name in expressions:
      continue
    if name not in table:
      raise InputError(tables.lacks(path, law.name, name, table))
    expressions |= tables.columns(f'{name}=`{name}`')
  held = _held_out(table, hold_out, expressions)
  chosen = {name: expressions[name] for name in needed}
  data = {'source': path, 'sha256': tables.sha256(path), 'where': where or None}
  used = [*chosen.values(), *(Expression(t) for t in (where, weight, hold_out) if t.strip())]
  notes = tables.notes(table, used)
  return _points(law, table, held, chosen, group, weight, hold_out, data, notes, rows,
                 options)


def _held_out(table: pd.DataFrame, condition: str, names: Mapping[str, Expression]) -> np.ndarray:
  """Which rows --hold_out names, bool [rows]."""
  if not condition.strip():
    return np.zeros(len(table), bool)
  held = tables.condition(table, '--hold_out', condition, names)
  if np.all(held):
    raise InputError(f'--hold_out: {condition!r} leaves none of the {len(table)} rows to fit')
  if not np.any(held):
    raise InputError(f'--hold_out: {condition!r} holds for none of the {len(table)} rows')
  return held


def _points(law: Law, table: pd.DataFrame, held: np.ndarray, expressions: Mapping[str, Expression],
            group: str, weight: str, hold_out: str, data: dict[str, Any], notes: list[str],
            rows: int, options: Options, of_workdir: bool = False, alike: bool = True,
            left_out: Mapping[str, int] = MappingProxyType({})) -> Points:
  """The rows of a table that count as runs, those held out apart.

  rows: how many there were before --where. alike: whether rows may be replicates of each other.
  left_out: rows that are gone for other reasons.
  """
  values = tables.values(table, expressions)
  columns = {name: re.sub(r'^`([^`]*)`$', r'\1', e.text.strip())
             for name, e in expressions.items()}
  weights = None
  if weight.strip():
    weights = tables.values(table, {'--weight': Expression(weight)})['--weight']
  sample = sampling.runs(
      Sample(table, {name: values[name] for name in law.inputs}, values[law.output], held, weights,
             notes=tuple(notes), left_out={**({'not chosen by --where': rows - len(table)}
                                               if rows > len(table) else {}), **left_out}),
      options, group, of_workdir)
  if not alike:
    sample = dataclasses.replace(sample, cells=None)
  data = data | {name: value for name, value in (
      ('weight', weight), ('hold_out', hold_out), ('best_over', options.best_over),
      ('seed', options.seed), ('resample', options.resample),
      ('stratify', options.stratify)) if value.strip()}
  strata = None
  if options.stratify:
    strata = sampling.column(sample.table, '--stratify', options.stratify)
  if group:
    groups = np.array([str(v) for v in sampling.column(sample.table, '--group', group)])
  elif options.seed:  # which says that runs with the same loss are several
    groups = np.arange(len(sample.table))
  else:
    groups = usable_rows.alike(sample.inputs, sample.loss, *([] if strata is None else [strata]))

  def part(held: bool, **also: Any) -> Points:
    found = sample.take(np.flatnonzero(sample.held == held))
    return Points(inputs=found.inputs, loss=found.loss, groups=groups[sample.held == held],
                  columns=columns, data=data, weights=found.weights, cells=found.cells,
                  strata=None if strata is None else strata[sample.held == held], **also)

  return part(False, held_out=part(True) if sample.held.any() else None, notes=sample.notes,
              noise=sampling.floor(sample, options.log), components=sample.components,
              left_out=sample.left_out)


def of_logs(law: Law, workdir: str, study: str | None, domain: str | None, rows: str = 'final',
            where: str = '', group: str = '', hold_out: str = '', weight: str = '', *,
            after: str | None = None, options: Options = NO_OPTIONS) -> Points:
  """The points of --logs: final rows of done runs, or all rows; held-out runs apart.

  after: which of all rows of continued runs to leave out (rewarming.py; `peak` by default).

  Raises InputError when several domains have losses and none is chosen, or nothing is done yet.
  """
  if rows not in ('final', 'all'):
    raise bad('--rows', rows, 'it is final or all')
  if after is not None:
    rewarming.check(after)
    if rows == 'final':
      raise InputError(f'--after={after}: it goes with --rows=all; final rows come after any peak')
  table = logs.load(workdir, study)
  skipped = table.attrs['skipped']
  domain = chosen_domain(table, domain, workdir)
  wanted = dict(law.columns)
  columns = {name: wanted.get(name, f'r/{domain}' if name == 'r' else name)
             for name in law.inputs} | {law.output: f'{law.output}/{domain}'}
  states = table.drop_duplicates('run_id')['state'].value_counts().to_dict()
  notes = [f'{count} {what} skipped' for what, count in skipped.items()]
  if states.get('failed') or states.get('running'):
    unfinished = {k: v for k, v in states.items() if k != 'done'}
    notes.append('runs that are not done are left out: '
                 + ', '.join(f'{v} {k}' for k, v in unfinished.items()))
  table = table[table['state'] == 'done']
  done = table
  if (table['stage'] < 0).any() and 'stage' not in where:
    notes.append(f'{(table["stage"] < 0).sum()} rows of earlier stages left out (stage < 0)')
    table = table[table['stage'] == 0]
  if rows == 'final':
    table = table[table['final'].astype(bool)]
  elif f'loss_along/{domain}' in table and law.output == 'loss':
    # The last evaluation on the windows of the others: other windows are no fall of the loss.
    along = columns['loss'] = f'loss_along/{domain}'
    table = table.assign(**{along: table[along].fillna(table[f'loss/{domain}'])})
  if not len(table):
    raise InputError(f'{workdir}: no finished run of {study or "any study"} to fit')
  count = len(table)
  table = tables.select(table, where)
  cut = (rewarming.cut(done, table, after or rewarming.PEAK) if rows == 'all'
         else rewarming.Cut(np.ones(len(table), bool)))
  notes += cut.notes
  count -= sum(cut.left_out.values())
  table = table[cut.keep]
  held = table['held_out'].astype(bool).to_numpy()
  if not np.any(~held):
    raise InputError(f'{workdir}: every finished run is held out; there is nothing to fit')
  data = {'source': workdir, 'sha256': logs.fingerprint(table), 'study': study, 'domain': domain,
          'rows': rows, 'where': where or None} | cut.said
  absent = [c for c in columns.values() if c not in table]
  if absent:
    raise InputError(f'{workdir}: {law.name} needs {absent[0]}, which these logs do not have')
  expressions = {k: tables.columns(f'{k}=`{v}`')[k] for k, v in columns.items()}
  held = held | _held_out(table, hold_out, expressions)
  if held.all():
    raise InputError(f'{workdir}: every row is held out; there is nothing to fit')
  return _points(law, table, held, expressions, group or 'lineage', weight, hold_out, data, notes,
                 count, options, of_workdir=True, alike=rows == 'final',
                 left_out=cut.left_out)


def chosen_domain(table: pd.DataFrame, domain: str | None, workdir: str) -> str:
  known = logs.domains(table)
  if domain is not None:
    if domain not in known:
      raise bad('--domain', domain, f'{workdir} has losses of {", ".join(known) or "none"}')
    return domain
  if not known:
    raise InputError(f'{workdir}: no run has an evaluation yet')
  if len(known) > 1:
    raise InputError(f'--domain: {workdir} has losses of several domains; choose one of '
                     f'{", ".join(known)}')
  return known[0]
