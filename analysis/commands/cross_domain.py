"""The command `python -m analysis.cross_domain`: flags and the table it prints.

  python -m analysis.cross_domain --logs=DIR --study=dcpt --domains=python_code,cpp_code
  python -m analysis.cross_domain --data=runs.csv --domains=law,code,math \\
      --columns='N=params,D=tokens,r=weight_{domain},loss={domain}_loss[,k1=...,k2=...]'
"""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import flags

from analysis import cross_domain
from analysis.commands.options import check_intervals, numbers
from analysis.cross_domain import Domain, Prediction
from analysis.reading import domains as reading
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep, with runs that go on from others.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('data', None, 'A table instead of a workdir.')
  flags.DEFINE_string('format', '', 'Of --data (default: by its content).')
  flags.DEFINE_string('columns', '', 'Of --data: N=..,D=..,r=..,loss=..[,k1=..,k2=..], expressions '
                      'in which {domain} stands for the name.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_list('domains', None, 'Two or more, each but the one left out fitted together.')
  flags.DEFINE_list('left_out', [], 'Which domains to predict (default: each in turn).')
  flags.DEFINE_string('law', cross_domain.AUTO, f'{", ".join(cross_domain.LAWS)} (auto: what so '
                      'many domains can tell).')
  flags.DEFINE_string('fix', '', 'Parameters to hold: mu=1,eta=0.5.')
  flags.DEFINE_float('early', 0.1, 'The share of the longest run whose evaluations give k2.')
  flags.DEFINE_integer('bootstrap', 200, 'Refits for the intervals; 0: no intervals.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_string('out', None, 'Where to write the results as JSON.')
  cli.run(main, need=('domains',))


def main(argv: list[str]) -> None:
  del argv
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  check_intervals(FLAGS.bootstrap, FLAGS.level)
  cross_domain.form(2, FLAGS.law)
  names = FLAGS.domains
  if len(names) < 2 or len(set(names)) < len(names):
    raise bad('--domains', ','.join(names), 'give two or more, each once')
  if not 0 < FLAGS.early <= 1:
    raise bad('--early', FLAGS.early, 'it must be in (0, 1]')
  if FLAGS.data is None:
    if FLAGS.columns or FLAGS.format:
      raise InputError('--columns and --format go with --data')
    found = reading.of_logs(FLAGS.logs, FLAGS.study, names, FLAGS.early, FLAGS.where)
  else:
    if FLAGS.study:
      raise InputError('--study goes with --logs')
    found = reading.of_table(FLAGS.data, names, FLAGS.columns, FLAGS.where, FLAGS.format)
  results = cross_domain.leave_one_out(found, FLAGS.law, only=FLAGS.left_out,
                                       bootstrap=FLAGS.bootstrap, level=FLAGS.level,
                                       fixed=numbers('fix', FLAGS.fix))
  print(text(found, results))
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json({
        'level': FLAGS.level, 'left_out': [dataclasses.asdict(r) for r in results]}) + '\n')


def text(domains: dict[str, Domain], results: list[Prediction]) -> str:
  """A row a domain left out, then the warnings of each."""
  lines = [f'{"left out":16} {"k1":>7} {"k2":>9} {"cost":>6} {"rows":>5} {"error":>7} {"R2":>8} '
           f'{"level":>7} {"shape R2":>8} {"inside":>6}   {"without K: error":>16} {"R2":>8}']
  for result in results:
    k2 = '-' if result.k2 is None else f'{result.k2:.2e}'
    cost = '-' if result.cost is None else f'{100 * result.cost:.1f}%'
    inside = '-' if result.inside is None else f'{100 * result.inside:.0f}%'
    lines.append(
        f'{result.domain:16} {result.k1:7.4f} {k2:>9} {cost:>6} {len(result.actual):5} '
        f'{_percent(result.metrics["mean_relative_error"])} {_number(result.metrics["r2"])} '
        f'{100 * result.level_error:+6.2f}% {_number(result.shape)} {inside:>6}   '
        f'{_percent(result.without_k["mean_relative_error"]):>16} '
        f'{_number(result.without_k["r2"])}')
  lines.append(f'law {results[0].law}; error: mean of |predicted / actual - 1|; level: mean of '
               'ln(predicted / actual); shape R2: without the level')
  if len(results) > 1:
    spread = float(np.sqrt(np.mean([r.level_error**2 for r in results])))
    lines.append(f'levels are {100 * spread:.2f} % off (root mean square of {len(results)} domains '
                 'left out): intervals are of runs of the domains fitted and do not hold that')
  for result in results:
    lines += [f'warning: {result.domain}: {w}' for w in dict.fromkeys(result.warnings)]
  return '\n'.join(lines)


def _percent(value: float | None) -> str:
  return f'{"-":>7}' if value is None else f'{100 * value:6.2f}%'


def _number(value: float | None) -> str:
  return f'{"-":>8}' if value is None else f'{value:8.4f}'
