"""One self-contained HTML file about a fit, the runs behind it, or both.

  python -m analysis.report --logs=DIR --out=report.html            fits chinchilla to every domain
  python -m analysis.report --logs=DIR --fit=fit.json --out=report.html
  python -m analysis.report --fit=fit.json --out=report.html        a fit from a CSV file too
"""

from __future__ import annotations

import html
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import flags

from analysis import drawing, fit, fit_command, laws, logs, plots, points
from analysis.fit import Fit
from scaling import cli, files
from scaling.errors import InputError

FLAGS = flags.FLAGS
MOST_ROWS = 200  # of the run table


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('fit', None, 'A fit.json of analysis.fit.')
  flags.DEFINE_string('out', 'report.html', 'Where to write the report.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  if FLAGS.logs is None and FLAGS.fit is None:
    raise InputError('give --logs=WORKDIR, --fit=fit.json or both')
  cli.check_output(FLAGS.out)
  table = logs.load(FLAGS.logs, FLAGS.study) if FLAGS.logs is not None else None
  if FLAGS.fit is not None:
    fits = [Fit.load(FLAGS.fit)]
    notes: list[str] = []
  else:
    assert table is not None
    fits, notes = _fits(FLAGS.logs, FLAGS.study, logs.domains(table))
  command = shlex.join(['python', '-m', 'analysis.report', *sys.argv[1:]])
  files.replace(FLAGS.out, report(fits, table, command, notes, FLAGS.logs))
  print(f'written to {FLAGS.out}')


def report(fits: Sequence[Fit], table: pd.DataFrame | None, command: str,
           notes: Sequence[str] = (), workdir: str | None = None) -> str:
  """The HTML of fits and of a workdir's table (either may be missing)."""
  source = workdir or next((f.extra.get('data', {}).get('source', '') for f in fits), '')
  parts = [f'<header><h1>Scaling-law report</h1><p>{_text(source)}</p></header>']
  if notes:
    parts.append(_list('Not fitted', notes))
  parts += [_fit(found, several=len(fits) > 1) for found in fits]
  if table is not None and len(table):
    parts.append(_runs(table))
  elif table is not None:
    parts.append('<section><h2>Runs</h2><p>No run of this workdir has an evaluation yet.</p>'
                 '</section>')
  commands = [found.extra['command'] for found in fits if found.extra.get('command')]
  commands.append(command)
  versions = sorted({str(f.extra['code_version']) for f in fits if f.extra.get('code_version')})
  parts.append('<section><h2>To reproduce</h2><pre>' + _text('\n'.join(dict.fromkeys(commands)))
               + '</pre>' + ''.join(_data(found) for found in fits)
               + (f'<p class="note">Code {_text(", ".join(versions))}.</p>' if versions else '')
               + '</section>')
  return _PAGE.replace('{body}', '\n'.join(parts))


def _fits(workdir: str, study: str | None, domains: Sequence[str]) -> tuple[list[Fit], list[str]]:
  """Chinchilla for every domain of a workdir, and why some could not be fitted."""
  found, notes = [], []
  law = laws.get('chinchilla')
  for domain in domains:
    try:
      data = points.of_logs(law, workdir, study, domain, 'final', '', '')
      made = fit.fit(law, data.inputs, data.loss, groups=data.groups, noise_floor=data.noise,
                     extra={'columns': data.columns, 'data': data.data,
                            'code_version': fit_command.code_version()})
      made.warnings.extend(data.notes)
      found.append(fit_command.with_held_out(made, data.held_out) if data.held_out else made)
    except InputError as error:
      notes.append(f'{domain}: {error}')
  return found, notes


def _fit(found: Fit, several: bool) -> str:
  """The section of one fit."""
  domain = found.extra.get('data', {}).get('domain')
  title = f'{found.law.name}{f": {domain}" if domain and several else ""}'
  held = found.extra.get('held_out') or []
  tiles = [('points', f'{len(found.loss)}'), ('R²', _short(found.metrics.get('r2'), '.4f')),
           ('mean relative error', _short(found.metrics.get('mean_relative_error'), '.2%'))]
  if held:
    worst = max(held, key=lambda row: abs(row['relative_error']))
    tiles.append(('held-out error' if len(held) == 1 else 'worst held-out error',
                  f'{worst["relative_error"]:+.2%}'))
    if 'inside' in worst:
      inside = sum(bool(row.get('inside')) for row in held)
      tiles.append((f'held out, inside the {100 * found.level:g} % interval',
                    f'{inside} of {len(held)}'))
  body = [f'<section><h2>{_text(title)}</h2><p class="formula">{_text(found.law.formula)}</p>'
          f'<p class="note">{_text(found.law.source)}. {_convention(found)}</p>',
          '<div class="tiles">' + ''.join(
              f'<div><b>{_text(value)}</b><span>{_text(name)}</span></div>'
              for name, value in tiles) + '</div>']
  if found.warnings:
    body.append(_list('Warnings', found.warnings, 'warnings'))
  body += [_parameters(found), _held_out(found)]
  optimum = None
  if found.law.optimum is not None and set(found.law.inputs) == {'N', 'D'}:
    budgets = 6 * found.inputs['N'] * found.inputs['D']
    optimum = found.law.best(found.params, np.geomspace(budgets.min() / 10, budgets.max() * 10, 60))
  pictures: list[tuple[str, str, Callable[[], Any]]] = [
      ('Data and fitted curves', 'Points are runs, lines the law at the values in the key; open '
       'diamonds were held out of the fit.', lambda: plots.slices(found)),
      ('Fitted surface', 'Contours of the fitted loss; every point is filled with the colour of '
       'its measured loss, so that one that stands out is one that the law misses. Dotted: equal '
       'training FLOPs, C = 6 N D.', lambda: plots.surface(found, optimum)),
      ('Equal-compute curves', 'The law at fixed C = 6 N D; triangles mark its minima. Points are '
       'coloured by their own compute.', lambda: plots.iso_flops(found)),
      ('Predicted against measured', 'On the grey line the law is exact.',
       lambda: plots.agreement(found)),
      ('Residuals', 'Structure here, a bend or a trend, is what the law does not say.',
       lambda: plots.residuals(found))]
  for name, caption, draw in pictures:
    figure = draw()
    if figure is not None:
      body.append(_picture(name, caption, figure))
  return '\n'.join(body) + '</section>'


def _convention(found: Fit) -> str:
  columns = found.extra.get('columns') or {}
  said = ', '.join(f'{name} is {_text(column)}' for name, column in columns.items()
                   if name != column)
  total = 'N counts all parameters. ' if columns.get('N') == 'N' and (
      found.extra.get('data', {}).get('rows')) else ''
  return total + (f'Columns: {said}.' if said else '')


def _parameters(found: Fit) -> str:
  rows = []
  for name, value in found.params.items():
    ends = found.intervals.get(name)
    rows.append([name, f'{value:.5g}', f'{ends[0]:.4g} to {ends[1]:.4g}' if ends else ''])
  level = f'{100 * found.level:g} % interval'
  objective = found.objective
  delta = f', delta {objective.delta:g}' if objective.delta is not None else ''
  method = (f' Intervals: {found.interval_method}.' if found.interval_method else
            ' No intervals were asked for or could be had.')
  note = f'Objective {objective.name}{delta}: {found.value:.6g}.{method}'
  if found.dropped:
    note += ' Rows dropped: ' + ', '.join(f'{c} ({r})' for r, c in found.dropped.items()) + '.'
  return ('<h3>Parameters</h3>' + _table(['parameter', 'value', level], rows)
          + f'<p class="note">{_text(note)}</p>')


def _held_out(found: Fit) -> str:
  held = found.extra.get('held_out') or []
  if not held:
    return ''
  rows = []
  for row in held:
    ends = row.get('interval')
    rows.append([*(drawing.number(row[name]) for name in found.law.inputs), f'{row["actual"]:.4f}',
                 f'{row["predicted"]:.4f}', f'{row["relative_error"]:+.2%}',
                 f'{ends[0]:.4f} to {ends[1]:.4f}' if ends else '',
                 ('inside' if row['inside'] else 'outside') if ends else ''])
  head = [*found.law.inputs, 'measured', 'predicted', 'error',
          f'{100 * found.level:g} % prediction interval', '']
  return '<h3>Held-out runs</h3>' + _table(head, rows)


def _runs(table: pd.DataFrame) -> str:
  """Loss curves of every domain and the table of runs."""
  body = ['<section><h2>Runs</h2>']
  body += [_picture(f'Loss curves: {domain}', 'One line a run, a point an evaluation.',
                    plots.loss_curves(table, domain)) for domain in logs.domains(table)]
  last = table.sort_values('step').groupby('run_id', sort=False).tail(1)
  last = last.sort_values(['N', 'D', 'run_id'])
  axes = [c for c in map(str, last) if c.startswith('point/') and last[c].nunique() > 1
          and c not in ('point/size', 'point/tokens')]
  columns = ['N', 'D', 'C', *(f'loss/{d}' for d in logs.domains(table))]
  rows = [[str(row['run_id'])[:8], str(row['state']) + (', held out' if row['held_out'] else ''),
           f'{row["step"]:,}', f'{row["peak_lr"]:.3g}', *(_cell(row[c]) for c in axes),
           *(drawing.number(float(row[c])) for c in columns[:2]), f'{float(row["C"]):.3g}',
           *(f'{float(row[c]):.4f}' for c in columns[3:])]
          for _, row in last.head(MOST_ROWS).iterrows()]
  head = ['run', 'state', 'steps', 'peak rate', *(c.removeprefix('point/') for c in axes),
          'N', 'D', 'FLOPs (6ND)', *columns[3:]]
  body.append('<h3>Where each run ended</h3>' + _table(head, rows))
  if len(last) > MOST_ROWS:
    body.append(f'<p class="note">The first {MOST_ROWS} of {len(last)} runs.</p>')
  skipped = table.attrs.get('skipped')
  if skipped:
    body.append(_list('Skipped while reading', [f'{n} {what}' for what, n in skipped.items()],
                      'warnings'))
  return '\n'.join(body) + '</section>'


def _data(found: Fit) -> str:
  data = found.extra.get('data') or {}
  if not data.get('sha256'):
    return ''
  return (f'<p class="note">Data {_text(data.get("source"))}, SHA-256 '
          f'{_text(data["sha256"][:16])}….</p>')


def _picture(name: str, caption: str, figure: Any) -> str:
  return (f'<figure><h3>{_text(name)}</h3><img alt="{_text(name)}" src="{drawing.encoded(figure)}">'
          f'<figcaption>{_text(caption)}</figcaption></figure>')


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
  top = ''.join(f'<th>{_text(c)}</th>' for c in head)
  body = ''.join('<tr>' + ''.join(f'<td>{_text(c)}</td>' for c in row) + '</tr>' for row in rows)
  return (f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
          '</div>')


def _list(title: str, lines: Iterable[str], kind: str = 'notes') -> str:
  return (f'<div class="{kind}"><h3>{_text(title)}</h3><ul>'
          + ''.join(f'<li>{_text(line)}</li>' for line in lines) + '</ul></div>')


def _cell(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _short(value: float | None, form: str) -> str:
  return 'n/a' if value is None else format(value, form)


def _text(value: Any) -> str:
  return html.escape(str(value))


_PAGE = '''<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Scaling-law report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
  color: #222; max-width: 1060px; margin: 0 auto; padding: 24px; background: #fff; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 20px; margin: 36px 0 4px; padding-top: 12px;
  border-top: 2px solid #222; } h3 { font-size: 15px; margin: 22px 0 6px; }
header p, .note, figcaption { color: #5a5a5a; font-size: 13px; margin: 4px 0; }
.formula { font: 17px/1.4 "STIX Two Text", Cambria, Georgia, serif; margin: 8px 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0; }
.tiles div { border: 1px solid #ddd; border-radius: 6px; padding: 8px 14px; min-width: 110px; }
.tiles b { display: block; font-size: 21px; font-weight: 600; } .tiles span { font-size: 12.5px;
  color: #5a5a5a; }
.warnings, .notes { border-left: 4px solid #D55E00; background: #fdf3ec; padding: 6px 16px;
  margin: 14px 0; } .notes { border-color: #0072B2; background: #eef5fa; }
.warnings h3, .notes h3 { margin: 4px 0; } .warnings ul, .notes ul { margin: 4px 0 6px;
  padding-left: 20px; }
figure { margin: 20px 0; break-inside: avoid; } img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th { text-align: right; border-bottom: 1.5px solid #222; padding: 4px 12px; font-weight: 600; }
td { text-align: right; border-bottom: 1px solid #e6e6e6; padding: 3px 12px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
pre { background: #f5f5f5; border-radius: 6px; padding: 12px 14px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 13px; }
@media print { body { max-width: none; padding: 0; font-size: 12px; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } }
</style></head><body>
{body}
</body></html>
'''


if __name__ == '__main__':
  start()
