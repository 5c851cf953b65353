"""The command `python -m analysis.stepwise`: flags, warnings, intervals, and what it prints.

  python -m analysis.stepwise --data=curves.csv --columns=N=params,S=step,B=batch,loss=loss,run=id
  python -m analysis.stepwise --logs=WORKDIR --N=1e9 --B=1e6 --loss=2.8 --S=1e5
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
from absl import flags
from scipy import special

from analysis import stepwise
from analysis.commands import fit as fit_command
from analysis.commands.options import check_intervals
from analysis.laws import trajectory
from analysis.reading import points, readers, tables
from analysis.reading import rows as usable
from analysis.reading.points import Points
from analysis.stepwise import NAMES, PAIRS, Options
from analysis.training_curves import contours, stepwise_warnings
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS
GIVEN = ('N', 'B', 'S', 'loss')
OPTIONS = Options()


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('data', None, 'A table of evaluations, a row each, of many runs.')
  flags.DEFINE_string('format', '', f'Of --data: {", ".join(readers.FORMATS)} (default: by its '
                      'content).')
  flags.DEFINE_string('columns', '', 'N=,S=,B=,loss= over the columns of --data, and run=COLUMN '
                      '(default: every N and B is one run).')
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep, instead of --data.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when the workdir has several.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_string('hold_out', '', 'A condition on the rows of runs to predict, not to use.')
  flags.DEFINE_string('group', '', 'The column that says which runs were not drawn independently.')
  flags.DEFINE_float('warmup', OPTIONS.warmup, 'Share of a run at its start left out of (b), (c).')
  flags.DEFINE_float('tail', OPTIONS.tail, 'Share of a run at its end left out of (b), (c).')
  flags.DEFINE_float('converged', OPTIONS.converged, 'How steep -d ln L / d ln S may be at the end '
                     'of a run of (a).')
  flags.DEFINE_integer('levels', OPTIONS.levels, 'Losses at which contours are read.')
  flags.DEFINE_integer('bootstrap', 200, 'Samples for the intervals; 0: no intervals.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  for name, what in zip(GIVEN, ('parameters without embeddings', 'tokens an update', 'updates',
                                'nats per token')):
    flags.DEFINE_float(name, None, f'Predict for this {name} ({what}).', short_name=None)
  flags.DEFINE_string('out', None, 'Where to write the result as JSON.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  options = Options(FLAGS.warmup, FLAGS.tail, FLAGS.converged, FLAGS.levels)
  check(options, FLAGS.bootstrap, FLAGS.level)
  given = {name: float(FLAGS[name].value) for name in GIVEN  # type: ignore[arg-type]
           if FLAGS[name].value is not None}
  for name, value in given.items():
    if not (math.isfinite(value) and value > 0):
      raise bad(f'--{name}', value, 'it must be positive and finite')
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  rows, run = _table() if FLAGS.data is not None else _logs()
  answer = of_points(rows, run, options, FLAGS.bootstrap, FLAGS.level, given)
  print(text(answer))
  if FLAGS.out:
    extra = {'columns': rows.columns, 'data': rows.data,
             'command': fit_command.command('analysis.stepwise'),
             'code_version': fit_command.code_version()}
    plain = json.loads(json.dumps(answer | extra), parse_constant=lambda _: None)
    files.replace(FLAGS.out, files.to_json(plain) + '\n')
    print(f'\nwritten to {FLAGS.out}')


def check(options: Options, bootstrap: int, level: float) -> None:
  """InputError for an option out of range."""
  for name in ('warmup', 'tail'):
    if not 0 <= getattr(options, name) < 1:
      raise bad(f'--{name}', getattr(options, name), 'it must be in [0, 1)')
  if options.warmup + options.tail >= 0.95:
    raise bad('--tail', options.tail, 'with --warmup it must leave a twentieth of a run')
  if not options.converged > 0:
    raise bad('--converged', options.converged, 'it must be positive')
  if not 2 <= options.levels <= 1000:
    raise bad('--levels', options.levels, 'it must be in [2, 1000]')
  check_intervals(bootstrap, level)


def _table() -> tuple[Points, np.ndarray]:
  """The rows of --data, whose groups are lineages ('' for none), and each row's run."""
  expressions = tables.columns(FLAGS.columns)
  name = expressions.pop('run').text.strip().strip('`') if 'run' in expressions else ''
  columns = ','.join(f'{k}={e.text}' for k, e in expressions.items())

  def read(group: str) -> Points:
    return points.of_table(trajectory.LAW, FLAGS.data, columns, FLAGS.where, group,
                           FLAGS.hold_out, form=FLAGS.format)

  rows = read(FLAGS.group or name)
  if name:
    return dataclasses.replace(rows, columns=rows.columns | {'run': name}), read(name).groups
  cell = np.char.add(rows.inputs['N'].astype(str), np.char.add(' ', rows.inputs['B'].astype(str)))
  return rows if FLAGS.group else dataclasses.replace(rows, groups=cell), cell


def _logs() -> tuple[Points, np.ndarray]:
  for name in ('columns', 'format'):
    if FLAGS[name].value:
      raise InputError(f'--{name} goes with --data')

  def read(group: str) -> Points:
    return points.of_logs(trajectory.LAW, FLAGS.logs, FLAGS.study, FLAGS.domain, 'all',
                          FLAGS.where, group, FLAGS.hold_out)

  return read(FLAGS.group or 'lineage'), read('run_id').groups


def of_points(rows: Points, run: np.ndarray, options: Options, bootstrap: int, level: float,
              given: dict[str, float]) -> dict[str, Any]:
  """All four steps, as the JSON says them."""
  runs = stepwise.of_rows(rows.inputs, rows.loss, run, rows.groups, options)
  ends, found = stepwise.converged(runs, options), contours.of_runs(runs.used, options.levels)
  done = stepwise.estimate(runs, ends, found)
  lineages = int(runs.lineage.max()) + 1
  samples: list[dict[str, float]] = []
  said = stepwise_warnings.of(runs, found, done, options, given) + list(rows.notes)
  dropped = rows.left_out | usable.usable(trajectory.LAW, rows.inputs, rows.loss, None, None,
                                          True).dropped
  if bootstrap and done.params:
    if lineages > len(done.params):
      samples = stepwise.bootstrap(runs, ends, found, bootstrap)
      samples = [s for s in samples if s.keys() == done.params.keys()]
      if len(samples) < bootstrap / 2:
        said.append(f'no intervals: only {len(samples)} of {bootstrap} samples give every step')
        samples = []
    else:
      said.append(f'no intervals: {lineages} lineages for {len(done.params)} constants')
  answer: dict[str, Any] = {
      'law': 'trajectory', 'params': done.params, 'first_pass': done.first, 'rounds': done.rounds,
      'level': level, 'runs': len(runs.whole), 'lineages': lineages,
      'dropped': dropped,
      'ends': [{'N': runs.whole[i]['N'], 'B': runs.whole[i]['B'],
                'loss': float(runs.whole[i]['loss'][-1]), 'slope': stepwise.flatness(runs.whole[i])}
               for i in ends],
      'contours': [{'N': c.size, 'loss': c.loss, 'S_min': c.S_min, 'E_min': c.E_min,
                    'B_crit': c.B_crit} for c in done.corners],
      'rows_of_c': done.rows, 'given': given, 'prediction': stepwise.predict(done.params, given)}
  if samples:
    answer['intervals'] = {k: _interval([s[k] for s in samples], v, lineages, level)
                           for k, v in done.params.items()}
    of_samples = [stepwise.predict(s, given) for s in samples]
    answer['prediction_intervals'] = {
        k: _interval([s[k] for s in of_samples], v, lineages, level)
        for k, v in answer['prediction'].items() if k != 'curve' and 0 < v < np.inf}
  if rows.held_out is not None and len(done.params) == len(NAMES):
    held = usable.usable(trajectory.LAW, rows.held_out.inputs, rows.held_out.loss, None, None, True)
    if held.dropped:
      said.append(f'{sum(held.dropped.values())} held-out rows could not be used '
                  f'({usable.said(held.dropped)})')
    if len(held.loss):
      error = np.log(trajectory.LAW.predict(done.params, held.inputs) / held.loss)
      answer['held_out'] = {'rows': len(held.loss), 'dropped': held.dropped,
                            'rmse_log': float(np.sqrt(np.mean(error ** 2)))}
    else:
      said.append('no held-out row has N, S, B and loss, all positive')
  return answer | {'warnings': said}


def _interval(values: list[float], centre: float, lineages: int, level: float) -> list[float]:
  """Quantiles of the logarithms, spread around the estimate as fits do (docs/fit.md)."""
  freedom = max(lineages - len(NAMES), 1)
  tail = (1 + level) / 2
  wider = math.sqrt(lineages / freedom) * special.stdtrit(freedom, tail) / special.ndtri(tail)
  with np.errstate(all='ignore'):
    moved = math.log(centre) + wider * (np.log(values) - math.log(centre))
    low, high = np.exp(np.quantile(np.where(np.isnan(moved), np.inf, moved), [1 - tail, tail],
                                   method='inverted_cdf'))
  return [float(low), float(high)]


def text(answer: dict[str, Any]) -> str:
  """A result as a short readable table."""
  percent = f'{100 * answer["level"]:g} %'
  ends = answer.get('intervals', {})
  lines = [f'{trajectory.LAW.formula}', f'{answer["runs"]} runs of {answer["lineages"]} lineages'
           + ''.join(f', {count} dropped ({why})' for why, count in answer['dropped'].items()), '',
            f'{"":14}{"value":>12}{"first pass":>14}   '
           + (f'{percent} interval' if ends else '')]
  for step, names in PAIRS.items():
    for name in names:
      if name not in answer['params']:
        lines.append(f'({step}) {name:10}{"-":>12}')
        continue
      shown = f'[{ends[name][0]:.5g}, {ends[name][1]:.5g}]' if name in ends else ''
      lines.append(f'({step}) {name:10}{answer["params"][name]:12.5g}'
                   f'{answer["first_pass"].get(name, math.nan):14.5g}   {shown}')
  if answer['contours']:
    lines += ['', f'(b) {"N":>10}{"loss":>9}{"S_min":>12}{"E_min":>12}{"B_crit":>12}']
    lines += [f'    {c["N"]:10.3g}{c["loss"]:9.4f}{c["S_min"]:12.4g}{c["E_min"]:12.4g}'
              f'{c["B_crit"]:12.4g}' for c in answer['contours']]
  if answer['given']:
    lines += ['', '(d) at ' + ', '.join(f'{k} = {v:g}' for k, v in answer['given'].items())]
    around = answer.get('prediction_intervals', {})
    for name, value in answer['prediction'].items():
      if name != 'curve':
        low, high = around.get(name, [math.nan, math.nan])
        lines.append(f'    {name:12}{value:12.5g}   '
                     + (f'{percent} [{low:.5g}, {high:.5g}]' if name in around else ''))
  if 'held_out' in answer:
    lines += ['', f'held out: {answer["held_out"]["rows"]} rows, rmse_log '
              f'{answer["held_out"]["rmse_log"]:.5g}']
  return '\n'.join([*lines, *(f'warning: {w}' for w in answer['warnings'])])
