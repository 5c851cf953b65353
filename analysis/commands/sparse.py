"""The command `python -m analysis.sparse`: flags, the tables it prints, its pictures."""

from __future__ import annotations

import os
from typing import Any

from absl import flags

from analysis import logs, sparse
from analysis.commands import fit as fit_command
from analysis.commands.options import check_intervals
from analysis.reading import tables
from analysis.sparsities import runs as tidy
from analysis.sparsities.counts import NAMES
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS
FORMATS = ('png', 'svg', 'pdf')
SHOWN = 20  # pairs printed
COLUMNS = ('N_initial', 'N_average', 'N_final', 'D', 'C', 'loss', 'seed', 'sparsity', 'prune_start',
           'prune_end')


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('data', None, 'A tidy table of runs, instead of a workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when there are several.')
  flags.DEFINE_string('columns', '', 'Of --data: N_initial=, N_average=, N_final=, D=, loss=, and '
                      'C=, seed=, prune_start=, prune_end=, as name=expression.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_enum('count', 'nonembedding', list(tidy.COUNTS), 'Which parameters N counts.')
  flags.DEFINE_integer('folds', 5, 'Of the lineages with sparse runs, for held-out errors.')
  flags.DEFINE_float('tolerance', 0.03, 'How far N_average of a matched pair may differ.')
  flags.DEFINE_integer('bootstrap', 200, 'Reweightings of lineages for the intervals; 0: none.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_string('out', None, 'Where to write the result as JSON.')
  flags.DEFINE_string('plot_dir', None, 'A folder for the pictures.')
  flags.DEFINE_list('formats', ['png'], 'Of the pictures: png, svg, pdf.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  if (FLAGS.logs is None) == (FLAGS.data is None):
    raise InputError('give either --logs=WORKDIR or --data=FILE')
  cli.check_output(FLAGS.out)
  check_intervals(FLAGS.bootstrap, FLAGS.level)
  if FLAGS.folds < 2:
    raise bad('--folds', FLAGS.folds, 'it must be at least 2')
  if not 0 <= FLAGS.tolerance < 0.5:
    raise bad('--tolerance', FLAGS.tolerance, 'it must be in [0, 0.5)')
  if FLAGS.plot_dir is not None and (not FLAGS.plot_dir or os.path.isfile(FLAGS.plot_dir)):
    raise bad('--plot_dir', FLAGS.plot_dir, 'it must name a folder')
  for form in FLAGS.formats:
    if form not in FORMATS:
      raise bad('--formats', form, f'they are {", ".join(FORMATS)}')
  table, sha256 = _table()
  runs, dropped = tidy.of_table(table, FLAGS.count, FLAGS.domain, FLAGS.logs or FLAGS.data,
                                tables.columns(FLAGS.columns))
  answer, found = sparse.study(runs, folds=FLAGS.folds, bootstrap=FLAGS.bootstrap,
                               level=FLAGS.level, tolerance=FLAGS.tolerance)
  answer |= {'count': FLAGS.count, 'dropped': dropped,
             'data': {'source': FLAGS.logs or FLAGS.data, 'sha256': sha256, 'study': FLAGS.study,
                      'domain': FLAGS.domain, 'where': FLAGS.where or None},
             'command': fit_command.command('analysis.sparse'),
             'code_version': fit_command.code_version()}
  print(text(answer))
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json(answer) + '\n')
    print(f'\nwritten to {FLAGS.out}')
  if FLAGS.plot_dir:
    from analysis.pictures import drawing  # matplotlib takes a second to load
    from analysis.pictures import sparse as pictures
    for picture in pictures.all_of(answer, found, runs):
      for path in drawing.write(picture.figure, FLAGS.plot_dir, picture.name, FLAGS.formats):
        print(f'written to {path}')


def _table() -> tuple[Any, str]:
  """The rows asked for, and their SHA-256."""
  if FLAGS.logs is not None:
    if FLAGS.columns:
      raise InputError('--columns goes with --data')
    table = tables.select(logs.load(FLAGS.logs, FLAGS.study), FLAGS.where)
    return table, logs.fingerprint(table)
  if FLAGS.study is not None:
    raise InputError('--study goes with --logs')
  expressions = tables.columns(FLAGS.columns)
  for name in expressions:
    if name not in COLUMNS:
      raise bad('--columns', name, f'it takes {", ".join(COLUMNS)}')
  table = tables.select(tables.read(FLAGS.data), FLAGS.where, expressions)
  return table.assign(**tables.values(table, expressions)), tables.sha256(FLAGS.data)


def text(answer: dict[str, Any]) -> str:
  """The answer as tables."""
  runs = ', '.join(f'{count} {kind}' for kind, count in answer['runs'].items())
  dropped = ''.join(f'; {count} rows left out ({why})'
                    for why, count in answer.get('dropped', {}).items())
  lines = [f'runs: {runs}; {answer["lineages"]} lineages{dropped}', '',
           f'{"N":10}{"R2":>9}{"in-sample":>12}{"held out":>11}'
           f'   {100 * answer["level"]:g} % interval    best   bias held out'
           f'{"seeds out":>24}{"of the dense law":>18}']
  for name in NAMES:
    of = answer['counts'][name]
    held = of['held_out']
    best = held['probability_best']
    lines.append(
        f'{name:10}{of["r2"]:9.5f}{_percent(of["joint"]["mean_relative_error"]):>12}'
        f'{_percent(held["mean_relative_error"]):>11}'
        f'   {_ends(held["intervals"].get("mean_relative_error")):16}'
        f'{"" if best is None else f"{best:.2f}":>8}'
        f'   {_percent(held["bias"], True)} {_ends(held["intervals"].get("bias"), True):18}'
        + ''.join(f'{_percent(of[q]["mean_relative_error"]) if q in of else "":>{width}}'
                  for q, width in (('seeds', 10), ('dense', 18))).rstrip())
  fitted = answer['counts']['fitted']
  low, high = fitted['intervals'].get('w', (None, None))
  lines += [f'fitted weighting: w = {fitted["params"]["w"]:.3f}'
            + ('' if low is None else f' [{low:.3f}, {high:.3f}]')
            + ' (0 initial, 0.5 average, 1 final)', 'ranking: ' + ranking(answer['ranking'])]
  for by, shown in (('duration', 'tokens_per_parameter'), ('start', 'tokens_per_parameter'),
                    ('window', 'start'), ('sparsity', 'sparsity')):
    if answer[f'by_{by}']:
      lines += ['', f'sparse loss / dense law - 1, by {by}:',
                f'{"":14}{"runs":>6}{"average":>10}{"interval":>20}{"final":>10}{"initial":>10}'
                f'{"w":>7}{"dense starts":>14}']
    for row in answer[f'by_{by}']:
      place = f'{row["start"]:.2f} to {row["end"]:.2f}' if by == 'window' else f'{row[shown]:.3g}'
      if by == 'start':
        place = f'{row["N_initial"]:,.0f} at {place}'
      lines.append(f'{place:14}{row["runs"]:6}{_percent(row["average"]["difference"], True):>10}'
                   f'{_ends(row["average"]["interval"], True):>20}'
                   f'{_percent(row["final"]["difference"], True):>10}'
                   f'{_percent(row["initial"]["difference"], True):>10}{row["w"]:7.2f}'
                   + ('' if row['starts'] is None else f'{_percent(row["starts"], True):>14}'))
  begins = answer['begins_to_hold_at']
  lines.append('the average is ' + (
      'not within 1 % at the longest duration' if begins is None
      else f'within 1 % from {begins:.3g} tokens a parameter on'))
  lines += ['', *_pairs(answer)]
  lines += _techniques(answer)
  return '\n'.join([*lines, *(f'warning: {w}' for w in answer['warnings'])])


def ranking(rows: list[dict[str, Any]]) -> str:
  """'a < b = c': counts by held-out error, '=' where the difference is not told apart."""
  said = rows[0]['count']
  for row in rows[1:]:
    said += f' {"<" if row["told_apart"] else "="} {row["count"]}'
  return f'{said} (= where the interval of the difference reaches zero)'


def _pairs(answer: dict[str, Any]) -> list[str]:
  of = answer['pairs_count']
  lines = [f'matched pairs: {of["pairs"]}, {of["exact"]} with a dense run; within 1 %: '
           f'{of["within"]}, with their interval: {of["surely"]}',
           f'{"D":>10}{"N_average":>11}{"N_final":>10}{"sparse":>9}{"dense":>9}{"difference":>12}']
  rows = answer['pairs']
  lines += [f'{row["D"]:10.4g}{row["N_average"]:11.4g}{row["N_final"]:10.4g}'
            f'{row["sparse"]:9.4f}{row["dense"]:9.4f}{_percent(row["difference"], True):>12} '
            f'{_ends(row["interval"], True)} {"" if row["exact"] else "(law)"}'
            for row in rows[:SHOWN]]
  return lines + ([f'... {len(rows) - SHOWN} more in --out'] if len(rows) > SHOWN else [])


def _techniques(answer: dict[str, Any]) -> list[str]:
  lines = []
  for row in answer['spdf']:
    others = ', '.join(f'{name} {row[name]["loss"]:.4f} ({row[name]["how"]}), '
                       f'{_percent(row[f"above_{name}"], True)} '
                       f'{_ends(row[f"{name}_interval"], True)}'.rstrip()
                       for name in ('dense', 'static') if row[name])
    lines.append(f'sparse then dense, N {row["N"]:.4g}, C {row["C"]:.4g}: '
                 f'{row["sparse_then_dense"]["loss"]:.4f}; {others}')
  lines += [f'sparse plus low rank, N {row["N"]:.4g}, D {row["D"]:.4g}: '
            f'{row["sltrain"]["loss"]:.4f}; low rank {row["low_rank"]["loss"]:.4f}, '
            f'{_percent(row["difference"], True)} {_ends(row["interval"], True)}'
            for row in answer['low_rank']]
  return ['', *lines] if lines else []


def _percent(value: float, signed: bool = False) -> str:
  return f'{100 * value:+.2f} %' if signed else f'{100 * value:.2f} %'


def _ends(ends: list[float] | None, signed: bool = False) -> str:
  if ends is None:
    return ''
  return '[{}]'.format(', '.join(f'{100 * e:+.2f}' if signed else f'{100 * e:.2f}' for e in ends))
