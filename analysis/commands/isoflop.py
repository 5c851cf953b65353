"""The command `python -m analysis.isoflop`: flags, rows, and the table it prints."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from absl import flags

from analysis import isoflop
from analysis.commands.fit import code_version, command
from analysis.frontiers.minima import METHODS
from analysis.frontiers.optimum import Optimum
from analysis.pictures import frontier as frontier_plot
from analysis.reading import points, readers, tables
from analysis.reading.points import Points
from analysis.reading.sampling import Options
from scaling import cli
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when the workdir has several.')
  flags.DEFINE_string('rows', None, 'Rows of a workdir: final (the last of each run) or all '
                      '(default: all for the envelope).')
  flags.DEFINE_string('data', None, 'A CSV, JSON, Parquet or TensorBoard file, or a folder of '
                      'the last, instead of a workdir.')
  flags.DEFINE_string('format', '', f'Of --data: {", ".join(readers.FORMATS)} (default: by its '
                      'content).')
  flags.DEFINE_string('columns', '', 'N=..., C=..., D=..., loss=... over the columns of --data; '
                      'std=... of ln N for pairs.')
  flags.DEFINE_string('where', '', "A condition on the rows, such as 'loss < 5 and N > 1e6'.")
  flags.DEFINE_string('group', '', 'The column that says which rows belong to one run.')
  flags.DEFINE_string('best_over', '', 'Settings tried per N and C, such as peak_lr,batch: keep '
                      'the lowest loss.')
  flags.DEFINE_string('seed', '', 'The column of --data that tells replicates apart.')
  flags.DEFINE_string('resample', '', 'The column of --data that tells evaluation resamples of one '
                      'run apart.')
  flags.DEFINE_string('approach', 'isoflop', f'{", ".join(isoflop.APPROACHES)}.')
  flags.DEFINE_string('minimum', 'parabola', f'At each budget: {" or ".join(METHODS)}.')
  flags.DEFINE_float('window', 3.0, 'A parabola sees the sizes within this factor of the lowest.')
  flags.DEFINE_float('tolerance', 0.05, 'Rows whose C differ by less are one budget.')
  flags.DEFINE_float('noise', None, 'Standard deviation of ln loss of a run (default: measured).')
  flags.DEFINE_string('interval', 'noise', 'From moving losses by their noise, or from resampling '
                      'groups: noise or groups.')
  flags.DEFINE_integer('draws', 1000, 'Draws for the intervals.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_list('flops', [], 'Budgets to predict N and D for: 1e18,1e20.')
  flags.DEFINE_string('out', None, 'Where to write isoflop.json.')
  flags.DEFINE_string('plot', None, 'Where to draw the minima and the frontier (.png, .svg, .pdf).')
  flags.DEFINE_boolean('json', False, 'Print JSON.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  cli.check_output(FLAGS.plot, '--plot', frontier_plot.KINDS)
  flops = [_budget(text) for text in FLAGS.flops]
  if FLAGS.approach not in isoflop.APPROACHES:
    raise bad('--approach', FLAGS.approach, f'it is one of {", ".join(isoflop.APPROACHES)}')
  if FLAGS.approach != 'isoflop':
    for name in ('best_over', 'seed', 'resample'):
      if FLAGS[name].value:
        raise InputError(f'--{name} goes with --approach=isoflop')
  options = Options(FLAGS.best_over, FLAGS.seed, FLAGS.resample)
  data, curves = _of_table(options) if FLAGS.data is not None else _of_logs(options)
  noise = FLAGS.noise if FLAGS.noise is not None else data.noise or None
  found = isoflop.find(
      data.inputs, data.loss, approach=FLAGS.approach, minimum=FLAGS.minimum, window=FLAGS.window,
      tolerance=FLAGS.tolerance, noise=noise, interval=FLAGS.interval, draws=FLAGS.draws,
      level=FLAGS.level, groups=data.groups, curves=curves,
      extra={'columns': data.columns, 'data': data.data, 'command': command('analysis.isoflop'),
             'code_version': code_version()})
  found.warnings.extend(data.notes)
  found.dropped.update(data.left_out)
  if FLAGS.noise is None and noise is not None:
    found.options['noise']['from'] = 'runs that differ in their seed alone'
  predictions = [found.predict(c) for c in flops]
  found.extra['predictions'] = predictions
  print(json.dumps(found.to_dict()) if FLAGS.json else text(found, predictions))
  if FLAGS.plot:
    frontier_plot.save(found, flops, FLAGS.plot)
  if FLAGS.out:
    found.save(FLAGS.out)
    if not FLAGS.json:
      print(f'\nwritten to {FLAGS.out}')


def _of_table(options: Options) -> tuple[Points, np.ndarray | None]:
  for name in ('study', 'domain', 'rows'):
    if FLAGS[name].value is not None:
      raise InputError(f'--{name}={FLAGS[name].value}: it goes with --logs; --where and --columns '
                       'choose the rows and columns of a file')
  given = set(tables.columns(FLAGS.columns))
  if not given & {'C', 'D'}:
    given |= set(tables.read(FLAGS.data, FLAGS.format).columns) & {'C', 'D'} or {'C'}
  inputs = ('N', *(k for k in ('C', 'D') if k in given))
  pairs = FLAGS.approach == 'pairs'
  if FLAGS.approach == 'envelope' and not FLAGS.group:
    raise InputError('--group: the envelope needs the column that says which training curve a row '
                     'is on')
  declared = isoflop.declared(inputs, 'std' if pairs else 'loss')
  data = points.of_table(declared, FLAGS.data, FLAGS.columns, FLAGS.where, FLAGS.group,
                         form=FLAGS.format, options=options)
  if pairs:
    data.inputs['std'] = data.loss
  return data, data.groups if FLAGS.approach == 'envelope' else None


def _of_logs(options: Options) -> tuple[Points, np.ndarray | None]:
  if FLAGS.columns or FLAGS.approach == 'pairs':
    raise InputError('--columns and --approach=pairs go with --data; a workdir has the columns it '
                     'needs')
  for name in ('format', 'seed', 'resample'):
    if FLAGS[name].value:
      raise InputError(f'--{name} goes with --data')
  curves = FLAGS.approach == 'envelope'
  rows = FLAGS.rows or ('all' if curves else 'final')
  law = isoflop.declared(('N', 'C', 'D'))
  read = [points.of_logs(law, FLAGS.logs, FLAGS.study, FLAGS.domain, rows, FLAGS.where, group,
                         options=options)
          for group in ((FLAGS.group, 'run_id') if curves else (FLAGS.group,))]
  return read[0], read[1].groups if curves else None


def _budget(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    raise bad('--flops', text, 'it must be numbers such as 1e18,1e20') from None
  if not (np.isfinite(value) and value > 0):
    raise bad('--flops', text, 'it must be positive and finite')
  return value


def text(found: Optimum, predictions: list[dict[str, Any]]) -> str:
  """The minima, the frontier and the predictions as short readable tables."""
  shown = found.to_dict()
  percent = f'{100 * found.level:g} % interval'
  lines = [f'{found.approach}: {shown["n_points"]} points in {shown["n_groups"]} groups'
           + ''.join(f', {count} dropped ({why})' for why, count in found.dropped.items())]
  if found.minima:
    lines += ['', f'{"C":>10} {"N":>11} {"D":>11} {"loss":>8} {"sizes":>6}   N: {percent}']
    lines += [f'{m["C"]:10.4g} {m["N"]:11.4g} {m["D"]:11.4g} {m["loss"]:8.4f} {m["sizes"]:6d}   '
              f'[{m["interval_N"][0]:.4g}, {m["interval_N"][1]:.4g}]' for m in shown['minima']]
  frontier = shown['frontier']
  if frontier:
    lines += ['', f'{"":8}{"exponent":>10}   {percent:20}{"coefficient":>12}   {percent:24}R2']
    for name, slope in (('N', 'a'), ('D', 'b')):
      lines.append(f'{name + " = k C^" + slope:8}{frontier[slope]:10.4f}   '
                   f'{_ends(frontier["intervals"].get(slope)):20}'
                   f'{frontier["coefficients"][name]:12.4g}   '
                   f'{_ends(frontier["intervals"].get(name)):24}{frontier["r2"][name]:.5f}')
  for answer in predictions:
    lines += ['', f'at C = {answer["flops"]:.4g}']
    lines += [f'  {k} {answer[k]:11.4g}   {_ends(answer["intervals"].get(k))}' for k in ('N', 'D')]
    lines += [f'  warning: {w}' for w in answer['warnings']]
  return '\n'.join(lines + [f'warning: {w}' for w in found.warnings])


def _ends(ends: list[float] | None) -> str:
  return f'[{ends[0]:.4g}, {ends[1]:.4g}]' if ends else ''
