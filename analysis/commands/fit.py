"""The command `python -m analysis.fit`: flags, the held-out runs, and the table it prints.

  python -m analysis.fit --law=chinchilla --logs=DIR --out=fit.json
  python -m analysis.fit --law=chinchilla --data=runs.csv --columns=N=params,D=tokens,loss=val_loss
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import shlex
import subprocess
import sys
from typing import Any

import numpy as np
from absl import flags

from analysis import fit, laws, metrics, validation
from analysis.commands.options import check_intervals, numbers, pairs
from analysis.fitting import diagnostics, noise
from analysis.laws import Law
from analysis.reading import points, readers, rows
from analysis.reading.points import Points
from analysis.reading.sampling import Options
from scaling import cli
from scaling.errors import InputError

FLAGS = flags.FLAGS
SHOWN = 20  # held-out rows printed


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('law', 'chinchilla', f'The law: {", ".join(laws.names())}.')
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when the workdir has several.')
  flags.DEFINE_string('rows', 'final', 'Rows of a workdir: final (the last of each run) or all.')
  flags.DEFINE_string('after', None, 'With --rows=all, of runs that start from others: peak (of '
                      're-warming, the default), a share of each run, or none is cut.')
  flags.DEFINE_string('data', None, 'A CSV, JSON, Parquet or TensorBoard file, or a folder of '
                      'the last, instead of a workdir.')
  flags.DEFINE_string('format', '', f'Of --data: {", ".join(readers.FORMATS)} (default: by its '
                      'content).')
  flags.DEFINE_string('columns', '', 'input=expression,... over the columns of --data.')
  flags.DEFINE_string('where', '', "A condition on the rows, such as 'loss < 5 and N > 1e6'.")
  flags.DEFINE_string('group', '', 'The column that says which rows belong together.')
  flags.DEFINE_string('hold_out', '', 'A condition on the rows to predict, not to fit.')
  flags.DEFINE_string('weight', '', 'An expression: how often each row counts.')
  flags.DEFINE_string('best_over', '', 'Settings tried per point, such as peak_lr,batch: keep the '
                      'lowest loss.')
  flags.DEFINE_string('seed', '', 'The column of --data that tells replicates apart.')
  flags.DEFINE_string('resample', '', 'The column of --data that tells evaluation resamples of one '
                      'run apart.')
  flags.DEFINE_string('fix', '', 'Parameters to hold: A=520.8,alpha=0.35.')
  flags.DEFINE_string('tie', '', 'Parameters to make equal: beta=alpha.')
  flags.DEFINE_string('objective', None, 'huber_log, lad_log, mse_log, huber or mse (default: '
                      "the law's own, mostly huber_log).")
  flags.DEFINE_float('huber_delta', None, 'Where the Huber loss turns linear (default: as above).')
  flags.DEFINE_integer('bootstrap', 200, 'Refits for the intervals; 0: no intervals.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_string('interval', 'auto', f'{", ".join(fit.INTERVALS)}; percentile: as papers do.')
  flags.DEFINE_string('stratify', '', 'A column: groups are resampled within its values.')
  flags.DEFINE_string('test', '', 'Parameter values to test: E=1.69,A=406.4,...')
  flags.DEFINE_list('validate', [], 'Predict rows left out: largest, rolling, or inputs to k-fold '
                    'by (N,D,r).')
  flags.DEFINE_string('out', None, 'Where to write fit.json.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  law = restricted(laws.get(FLAGS.law), FLAGS.fix, FLAGS.tie)
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  check_intervals(FLAGS.bootstrap, FLAGS.level)
  options = Options(FLAGS.best_over, FLAGS.seed, FLAGS.resample,
                    fit.objective_of(law, FLAGS.objective, FLAGS.huber_delta).log,
                    stratify=FLAGS.stratify)
  if FLAGS.data is not None:
    for name in ('study', 'domain', 'rows', 'after'):
      if FLAGS[name].value != FLAGS[name].default:
        raise InputError(f'--{name}={FLAGS[name].value}: it goes with --logs; --where and '
                         '--columns choose the rows and columns of a file')
    data = points.of_table(law, FLAGS.data, FLAGS.columns, FLAGS.where, FLAGS.group,
                           FLAGS.hold_out, FLAGS.weight, form=FLAGS.format,
                           options=options)
  else:
    for name in ('format', 'seed', 'resample'):
      if FLAGS[name].value:
        raise InputError(f'--{name} goes with --data')
    if FLAGS.columns:
      raise InputError('--columns goes with --data; a workdir has the columns it needs')
    data = points.of_logs(law, FLAGS.logs, FLAGS.study, FLAGS.domain, FLAGS.rows, FLAGS.where,
                          FLAGS.group, FLAGS.hold_out, FLAGS.weight, after=FLAGS.after,
                          options=options)
  found = fit.fit(law, data.inputs, data.loss, objective=FLAGS.objective,
                  huber_delta=FLAGS.huber_delta, bootstrap=FLAGS.bootstrap, level=FLAGS.level,
                  groups=data.groups, weights=data.weights, noise_floor=data.noise,
                  components=data.components, interval=FLAGS.interval, strata=data.strata,
                  test=numbers('test', FLAGS.test),
                  extra={'columns': data.columns, 'data': data.data, 'command': command(),
                         'code_version': code_version()})
  found = dataclasses.replace(found, warnings=[*found.warnings, *data.notes],
                              dropped={**data.left_out, **found.dropped})
  if data.cells is not None:
    found = with_lack_of_fit(found, data)
  if data.held_out is not None:
    found = with_held_out(found, data.held_out)
  if FLAGS.validate:
    found = with_validation(found, list(dict.fromkeys(FLAGS.validate)))
  print(text(found))
  if FLAGS.out:
    found.save(FLAGS.out)
    print(f'\nwritten to {FLAGS.out}')


def with_lack_of_fit(found: fit.Fit, data: Points) -> fit.Fit:
  """The fit with the test of its law against replicates, under `lack_of_fit`."""
  kept = rows.usable(found.law, data.inputs, data.loss, data.groups, data.weights,
                     found.objective.log).kept
  assert data.cells is not None
  test = noise.lack_of_fit(found.residual, found.jacobian, data.cells[kept], found.weights)
  warnings = found.warnings
  if test is not None and test['p'] < 0.05:
    of, p = f'F({test["df"][0]}, {test["df"][1]}) = {test["F"]:.3g}', f'p = {test["p"]:.2g}'
    warnings = [*warnings, 'lack of fit: the law misses the means of replicates by more than their '
                f'spread explains, {of}, {p}']
  return dataclasses.replace(found, warnings=warnings, extra=found.extra | {'lack_of_fit': test})


def with_validation(found: fit.Fit, kinds: list[str]) -> fit.Fit:
  """The fit with how well its law predicts rows left out, under `validation`."""
  results = validation.all_of(
      found.law, found.inputs, found.loss, kinds, groups=found.groups, weights=found.weights,
      bootstrap=min(FLAGS.bootstrap, 100), level=found.level, objective=found.objective.name,
      huber_delta=found.objective.delta, noise_floor=found.noise_floor)
  return dataclasses.replace(found, extra=found.extra | {
      'validation': [v.to_dict() for v in results]})


def restricted(law: Law, fixed: str, tied: str) -> Law:
  """The law with the parameters of --fix and --tie held or tied. InputError if it has no such."""
  return laws.fix(laws.tie(law, dict(pairs('tie', tied))), numbers('fix', fixed))


def with_held_out(found: fit.Fit, held: Points) -> fit.Fit:
  """The fit with its predictions of runs that it has not seen, under `held_out`."""
  usable = rows.usable(found.law, held.inputs, held.loss, held.groups, None, found.objective.log)
  x, loss = usable.inputs, usable.loss
  if not len(loss):
    return dataclasses.replace(found, warnings=[
        *found.warnings, f'no held-out row has {found.law.output} and inputs that can be used'])
  predicted = found.predict(x)
  shown: list[dict[str, Any]] = [
      {**{k: float(v[i]) for k, v in x.items()}, 'run': str(usable.groups[i]),
       'actual': float(loss[i]), 'predicted': float(predicted[i]),
       'relative_error': float(predicted[i] / loss[i] - 1)} for i in range(len(loss))]
  if found.interval_method is not None:
    low, high = found.interval(x)
    for i, row in enumerate(shown):
      row |= {'interval': [float(low[i]), float(high[i])],
              'inside': bool(low[i] <= loss[i] <= high[i])}
  extra = found.extra | {'held_out': shown, 'held_out_metrics': metrics.all_of(loss, predicted)}
  said = [f'held-out runs: {w}' for w in diagnostics.far(found.inputs, x)]
  if usable.dropped:
    said.append(f'{sum(usable.dropped.values())} held-out rows could not be used '
                f'({rows.said(usable.dropped)})')
  return dataclasses.replace(found, extra=extra, warnings=[*found.warnings, *said])


def text(found: fit.Fit) -> str:
  """A fit as a short readable table."""
  percent = f'{100 * found.level:g} %'
  lines = [f'{found.law.name}: {found.law.formula}',
           f'{len(found.loss)} points in {len(np.unique(found.groups))} groups'
           + ''.join(f', {count} dropped ({why})' for why, count in found.dropped.items()), '']
  lines += [f'{name} = {value} held' for name, value in found.law.fixed]
  lines += [f'{name} = {to} tied' for name, to in found.law.tied]
  lines.append(f'{"":10}{"value":>12}   ' + (f'{percent} interval' if found.intervals else ''))
  for name, value in found.params.items():
    ends = found.intervals.get(name)
    lines.append(f'{name:10}{value:12.5g}   ' + (f'[{ends[0]:.5g}, {ends[1]:.5g}]' if ends else ''))
  if found.interval_method:
    lines.append(f'intervals: {found.interval_method}')
  shown = found.metrics
  lines += ['', f'{found.objective.name} = {found.value:.9g}   ' + '   '.join(
      f'{name} {shown[name]:.5g}' for name in shown if shown[name] is not None)]
  test = found.extra.get('lack_of_fit')
  if test:
    lines.append(f'lack of fit: F({test["df"][0]}, {test["df"][1]}) = {test["F"]:.3g}, '
                 f'p = {test["p"]:.2g}')
  for test in found.extra.get('tests') or []:
    size = (f'chi2({test["df"]}) = {test["chi2"]:.4g}' if 'chi2' in test else
            f'F({test["df"][0]}, {test["df"][1]}) = {test["F"]:.4g}')
    lines.append('test of ' + ', '.join(f'{k} = {v:g}' for k, v in test['values'].items())
                 + f': {size}, p = {test["p"]:.2g}')
  for part in found.extra.get('validation') or []:
    lines.append(f'left out, {part["split"]}: ' + '   '.join(
        f'{k} {part[k]:.4g}' for k in ('r2', 'mean_relative_error', 'rmse_log', 'coverage')
        if part[k] is not None) + f'   ({part["n"]} rows, {part["folds"]} folds)')
    lines += [f'  not fitted: {why}' for why in part['failed']]
  held = found.extra.get('held_out') or []
  if held:
    lines += ['', f'held out{"":12}actual  predicted   error   {percent} prediction interval']
    shown = found.extra['held_out_metrics']
    for row in held[:SHOWN]:
      place = ' '.join(f'{k}={row[k]:.3g}' for k in found.law.inputs)
      ends = row.get('interval')
      lines.append(f'{place:18}{row["actual"]:8.4f} {row["predicted"]:10.4f} '
                   f'{100 * row["relative_error"]:+6.2f}%  ' + (
                       f'[{ends[0]:.4f}, {ends[1]:.4f}] {"inside" if row["inside"] else "OUTSIDE"}'
                       if ends else ''))
  if held:
    more = f'... and {len(held) - SHOWN} more; ' if len(held) > SHOWN else ''
    lines.append(more + f'{len(held)} held out: ' + '   '.join(
        f'{name} {value:.5g}' for name, value in shown.items() if value is not None))
  lines += [f'warning: {w}' for w in found.warnings]
  return '\n'.join(lines)


def command(module: str = 'analysis.fit') -> str:
  """What was typed, as one line that can be typed again."""
  return shlex.join(['python', '-m', module, *sys.argv[1:]])


@functools.cache
def code_version() -> str:
  """The package's version and, in a checkout, its commit."""
  try:
    version = importlib.metadata.version('scaling-laws')
  except importlib.metadata.PackageNotFoundError:
    version = 'unknown'
  try:
    commit = subprocess.run(['git', 'rev-parse', '--short=12', 'HEAD'], capture_output=True,
                            text=True, timeout=5, check=True,
                            cwd=os.path.dirname(os.path.abspath(__file__))).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return version
  return f'{version}+{commit}'
