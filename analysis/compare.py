"""Which law predicts best: several laws on the same rows, ranked by held-out extrapolation error.

  python -m analysis.compare --laws=chinchilla,kaplan --logs=DIR --out=compare.json
  python -m analysis.compare --laws=chinchilla,kaplan --data=runs.csv \\
      --columns=N=params,N_nonembedding=body,D=tokens --splits=largest,rolling,N --plot=c.png

A law that declares another column for an input (kaplan's N is N_nonembedding) takes the column of
that name where --columns gives one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from analysis import comparison, laws
from analysis.commands import fit as fit_command
from analysis.commands import options
from analysis.comparison import Comparison
from analysis.laws.law import Law
from analysis.pictures import comparison as compare_plot
from analysis.reading import points, tables
from analysis.reading.points import Points
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS
KINDS = ('.png', '.svg', '.pdf')


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_list('laws', [], f'The laws: {", ".join(laws.names())}.')
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when the workdir has several.')
  flags.DEFINE_string('rows', 'final', 'Rows of a workdir: final (the last of each run) or all.')
  flags.DEFINE_string('data', None, 'A file of rows, instead of a workdir.')
  flags.DEFINE_string('columns', '', 'input=expression,... over the columns of --data.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_string('group', '', 'The column that says which rows belong together.')
  flags.DEFINE_string('hold_out', '', 'A condition on rows that no law is fitted to.')
  flags.DEFINE_list('splits', ['largest', 'rolling'], 'largest, rolling, or inputs to k-fold by.')
  flags.DEFINE_integer('folds', 5, 'At most so many for a k-fold.')
  flags.DEFINE_string('objective', None, "Of every law (default: the law's own).")
  flags.DEFINE_integer('bootstrap', 100, 'Refits for the intervals of every fold; 0: none.')
  flags.DEFINE_string('out', None, 'Where to write compare.json.')
  flags.DEFINE_string('plot', None, f'Where to draw the errors ({", ".join(KINDS)}).')
  cli.run(main, need=('laws',))


def main(argv: list[str]) -> None:
  del argv
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  cli.check_output(FLAGS.plot, '--plot', KINDS)
  options.check_intervals(FLAGS.bootstrap)
  if FLAGS.folds < 2:
    raise bad('--folds', FLAGS.folds, 'it must be at least 2')
  chosen = {name: laws.get(name) for name in dict.fromkeys(s.strip() for s in FLAGS.laws) if name}
  found, failed = read(chosen)
  if not [kind for kind in FLAGS.splits if kind.strip()]:
    raise bad('--splits', ','.join(FLAGS.splits), 'name largest, rolling, or an input')
  result = comparison.compare(chosen, found, list(dict.fromkeys(FLAGS.splits)),
                              objective=FLAGS.objective, bootstrap=FLAGS.bootstrap,
                              folds=FLAGS.folds)
  result.failed.update(failed)
  print(text(result, FLAGS.splits))
  if FLAGS.out:
    one = next(iter(found.values()))
    record = {**result.to_dict(), 'data': one.data, 'code_version': fit_command.code_version(),
              'command': fit_command.command('analysis.compare')}
    files.replace(FLAGS.out, files.to_json(record) + '\n')
    print(f'\nwritten to {FLAGS.out}')
  if FLAGS.plot:
    compare_plot.draw(result, FLAGS.plot)
    print(f'drawn to {FLAGS.plot}')


def read(chosen: dict[str, Law]) -> tuple[dict[str, Points], dict[str, str]]:
  """The rows for every law, and why some laws have none. InputError when no law has."""
  found, failed = {}, {}
  used: set[str] = set()
  for name, law in chosen.items():
    try:
      if FLAGS.data is not None:
        columns, names = own_columns(law, FLAGS.columns)
        used |= names
        found[name] = points.of_table(law, FLAGS.data, columns, FLAGS.where, FLAGS.group,
                                      FLAGS.hold_out)
      else:
        found[name] = points.of_logs(law, FLAGS.logs, FLAGS.study, FLAGS.domain, FLAGS.rows,
                                     FLAGS.where, FLAGS.group, FLAGS.hold_out)
    except InputError as error:
      failed[name] = str(error)
  if not found:
    raise InputError('; '.join(dict.fromkeys(failed.values())))
  spare = sorted(set(tables.columns(FLAGS.columns)) - used)
  if spare:
    raise bad('--columns', spare[0], f'none of {", ".join(chosen)} takes it')
  return found, failed


def own_columns(law: Law, text: str) -> tuple[str, set[str]]:
  """The part of --columns that a law takes, and the names of it that were used."""
  given = tables.columns(text)
  wanted = dict(law.columns)
  parts, used = [], set()
  for name in (*law.inputs, law.output):
    source = wanted.get(name, name) if wanted.get(name, name) in given else name
    if source in given:
      parts.append(f'{name}={given[source].text}')
      used.add(source)
  return ','.join(parts), used


def text(result: Comparison, splits: Sequence[str]) -> str:
  """A readable table, best law first."""
  shown = [k for k in (*splits, comparison.HELD_OUT)
           if any(k in e.validations for e in result.entries.values())]
  lines = [f'{result.rows} rows' + (f', {result.dropped} not usable by all laws'
                                    if result.dropped else '')
           + f'; ranked by the mean relative error of {result.common} extrapolated predictions', '',
           f'{"law":18}{"params":>6}{"extrapolation":>15}{"in sample":>11}'
           + ''.join(f'{k:>19}' for k in shown)]
  for name, entry in result.entries.items():
    cells = [_percent(result.extrapolation[name], 15),
             _percent(entry.fit.metrics['mean_relative_error'], 11)]
    for kind in shown:
      measured: dict[str, Any] = entry.validations[kind].metrics
      share = measured['coverage']
      cells.append(_percent(measured['mean_relative_error'], 10)
                   + (f'  in {share:4.0%}' if share is not None else '').rjust(9))
    lines.append(f'{name:18}{len(entry.fit.params):6}' + ''.join(cells))
  lines += ['', 'errors: mean of |predicted / actual - 1|; in: share of predictions inside their '
            '90 % interval']
  for name, entry in result.entries.items():
    for kind, found in entry.validations.items():
      lines += [f'{name}, {kind}: {line}' for line in found.failed]
  lines += [f'{name} failed: {why}' for name, why in result.failed.items()]
  return '\n'.join(lines)


def _percent(value: float | None, width: int) -> str:
  return ('n/a' if value is None else f'{100 * value:.3g} %').rjust(width)


if __name__ == '__main__':
  start()
