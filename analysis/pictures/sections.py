"""The sections of a report: what a fit found, the runs of a workdir, how to do it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import laws
from analysis.fit import Fit
from analysis.laws import Parameter
from analysis.pictures import budgets, costs, page
from analysis.pictures.drawing import Picture
from analysis.pictures.labels import number, output
from scaling.errors import InputError

MOST_ROWS = 200  # of a table


def of_fit(found: Fit, pictures: Sequence[Picture], several: bool = False) -> str:
  """The section of one fit."""
  domain = (found.extra.get('data') or {}).get('domain')
  title = f'{found.law.name}{f": {domain}" if domain and several else ""}'
  body = [f'<section><h2>{page.text(title)}</h2>'
          f'<p class="formula">{page.text(found.law.formula)}</p>',
          page.note(f'{found.law.source}. {_convention(found)}'), page.tiles(_tiles(found))]
  if found.warnings:
    body.append(page.items('Warnings', found.warnings, 'warnings'))
  body += ['<h3>Parameters</h3>', page.table(*_parameters(found)), page.facts(_facts(found)),
           page.note(costs.lineages(found)), _held_out(found)]
  head, rows = budgets.table(found)
  if rows:
    body += ['<h3>Compute optimum</h3>', page.table(head, rows), page.note(
        'Inputs of least loss for a budget of training FLOPs. More than ten times beyond the '
        'budgets of the data is extrapolation that no interval here vouches for.')]
  slices = [p for p in pictures if p.name.startswith('data_')]
  narrow = len(found.law.inputs) < 3 and len(slices) > 1
  if slices:
    body.append(('<div class="pair">' if narrow else '<div>')
                + ''.join(page.picture(p) for p in slices) + '</div>')
  body += [page.picture(p) for p in pictures if p not in slices]
  return '\n'.join(body) + '</section>'


def of_runs(table: pd.DataFrame, domains: Sequence[str], curves: Sequence[Picture]) -> str:
  """Loss curves and the table of runs."""
  if not len(table):
    return ('<section><h2>Runs</h2><p>No run of this workdir has an evaluation yet.</p>'
            '</section>')
  body = ['<section><h2>Runs</h2>', *(page.picture(p) for p in curves)]
  last = table.sort_values('step').groupby('run_id', sort=False).tail(1)
  last = last.sort_values(['N', 'D', 'run_id'])
  axes = [c for c in map(str, last) if c.startswith('point/') and last[c].nunique() > 1
          and c not in ('point/size', 'point/tokens')]
  columns = ['N', 'D', 'C', *(f'loss/{d}' for d in domains)]
  rows = [[str(row['run_id'])[:8], str(row['state']) + (', held out' if row['held_out'] else ''),
           f'{row["step"]:,}', f'{row["peak_lr"]:.3g}', *(_cell(row[c]) for c in axes),
           *(number(float(row[c])) for c in columns[:2]), f'{float(row["C"]):.3g}',
           *(f'{float(row[c]):.4f}' for c in columns[3:])]
          for _, row in last.head(MOST_ROWS).iterrows()]
  head = ['run', 'state', 'steps', 'peak rate', *(c.removeprefix('point/') for c in axes),
          'N', 'D', 'FLOPs (6ND)', *columns[3:]]
  body += ['<h3>Where each run ended</h3>', page.table(head, rows), _first(len(last), 'runs')]
  skipped = table.attrs.get('skipped')
  if skipped:
    body.append(page.items('Skipped while reading', [f'{n} {what}' for what, n in skipped.items()],
                           'warnings'))
  return '\n'.join(body) + '</section>'


def to_reproduce(fits: Sequence[Fit], command: str) -> str:
  """Commands, data and code."""
  commands = [str(f.extra['command']) for f in fits if f.extra.get('command')]
  versions = sorted({str(f.extra['code_version']) for f in fits if f.extra.get('code_version')})
  data = dict.fromkeys(f'Data {d.get("source")}, SHA-256 {d["sha256"]}.' for d in
                       (f.extra.get('data') or {} for f in fits) if d.get('sha256'))
  return ('<section><h2>To reproduce</h2><pre>'
          + page.text('\n'.join(dict.fromkeys([*commands, command]))) + '</pre>'
          + ''.join(map(page.note, data))
          + page.note(f'Code {", ".join(versions)}.' if versions else '') + '</section>')


def _tiles(found: Fit) -> list[tuple[str, str]]:
  held = found.extra.get('held_out') or []
  metrics = found.metrics
  tiles = [('points', f'{len(found.loss):,}'), ('R²', _short(metrics.get('r2'), '.4f')),
           ('mean relative error', _short(metrics.get('mean_relative_error'), '.2%'))]
  if metrics.get('rmse_log') is not None:
    tiles.append((f'RMSE of log {found.law.output}', _short(metrics.get('rmse_log'), '.4f')))
  if held:
    worst = max(held, key=lambda row: abs(row['relative_error'] or 0))
    tiles.append(('held-out error' if len(held) == 1 else 'worst held-out error',
                  _short(worst['relative_error'], '+.2%')))
    if 'inside' in worst:
      inside = sum(bool(row.get('inside')) for row in held)
      tiles.append((f'held out, inside the {100 * found.level:g} % interval',
                    f'{inside} of {len(held)}'))
  return tiles


def _convention(found: Fit) -> str:
  columns = found.extra.get('columns') or {}
  said = ', '.join(f'{name} is {column}' for name, column in columns.items() if name != column)
  total = 'N counts all parameters. ' if columns.get('N') == 'N' and (
      (found.extra.get('data') or {}).get('rows')) else ''
  return total + (f'Columns: {said}.' if said else '')


def _parameters(found: Fit) -> tuple[list[str], list[list[str]]]:
  """A row a parameter of the law: free with its interval, fixed, or tied."""
  fixed, tied = dict(found.law.fixed), dict(found.law.tied)
  rows = []
  for p in _declared(found):
    ends = found.intervals.get(p.name)
    value = found.params.get(p.name, fixed.get(p.name))
    if p.name in tied:
      value = found.params.get(tied[p.name], fixed.get(tied[p.name]))
    state = ('fixed' if p.name in fixed else f'= {tied[p.name]}' if p.name in tied else 'fitted')
    rows.append([p.name, _value(value), ' to '.join(map(_value, ends)) if ends else '',
                 _units(p, found.law.output), state])
  head = ['parameter', 'value', f'{100 * found.level:g} % interval', 'unit', '']
  if not fixed and not tied:
    head, rows = head[:-1], [row[:-1] for row in rows]
  return head, rows


def _declared(found: Fit) -> Sequence[Parameter]:
  try:
    every = laws.get(found.law.name).parameters
  except InputError:  # a law made in a script
    return found.law.parameters
  return every if set(found.law.names) <= {p.name for p in every} else found.law.parameters


def _units(p: Parameter, output: str) -> str:
  """'loss · N^alpha'; nothing for a number without a unit."""
  said = []
  for of, power in p.units:
    name = output.replace('_', ' ') if of == 'loss' else of
    said.append(name if power == 1 else f'{name}^{power:g}' if not isinstance(power, str)
                else f'{name}^{power}')
  return ' · '.join(said)


def _facts(found: Fit) -> list[tuple[str, str]]:
  """How the fit was made, and from what."""
  data, objective = found.extra.get('data') or {}, found.objective
  delta = f', delta {objective.delta:g}' if objective.delta is not None else ''
  groups = len(np.unique(found.groups))
  dropped = ', '.join(f'{count} ({why})' for why, count in found.dropped.items())
  facts = [('data', str(data['source']) if data.get('source') else ''),
           ('SHA-256', str(data.get('sha256') or '')),
           ('rows', ', '.join(f'{k} {data[k]}' for k in ('study', 'domain', 'rows', 'where')
                              if data.get(k))),
           ('points', f'{len(found.loss):,} in {groups:,} independent groups'),
           ('dropped', dropped or 'none'),
           ('predicts', output(found.law.output)),
           ('objective', f'{objective.name}{delta}: {found.value:.9g}'),
           ('intervals', f'{100 * found.level:g} %, {found.interval_method}'
            + (f', {len(found.samples):,} refits' if found.samples is not None else '')
            if found.interval_method else 'none were asked for or could be had'),
           ('noise floor', f'{found.noise_floor:.3g} (runs that differ in their seed)'
            if found.noise_floor else '')]
  return [(name, value) for name, value in facts if value]


def _held_out(found: Fit) -> str:
  held = found.extra.get('held_out') or []
  if not held:
    return ''
  rows = []
  for row in held[:MOST_ROWS]:
    ends = row.get('interval')
    rows.append([*(number(row[name]) for name in found.law.inputs), f'{row["actual"]:.4f}',
                 f'{row["predicted"]:.4f}', _short(row['relative_error'], '+.2%'),
                 ' to '.join(f'{v:.4f}' if v is not None else '∞' for v in ends) if ends else '',
                 ('inside' if row['inside'] else 'outside') if ends else ''])
  head = [*found.law.inputs, 'measured', 'predicted', 'error',
          f'{100 * found.level:g} % prediction interval', '']
  metrics = found.extra.get('held_out_metrics') or {}
  said = ', '.join(f'{k.replace("_", " ")} {v:.4g}' for k, v in metrics.items() if v is not None)
  return ('<h3>Held-out runs</h3>' + page.table(head, rows) + _first(len(held), 'rows')
          + page.note(f'All of them: {said}.' if said else ''))


def _first(count: int, what: str) -> str:
  return page.note(f'The first {MOST_ROWS} of {count:,} {what}.' if count > MOST_ROWS else '')


def _cell(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _value(value: float | None) -> str:
  if value is None:
    return ''
  return f'{value:.5g}' if math.isfinite(value) else '∞' if value > 0 else '−∞'


def _short(value: float | None, form: str) -> str:
  return 'n/a' if value is None or not math.isfinite(value) else format(value, form)
