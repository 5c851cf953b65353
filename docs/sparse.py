"""Rebuilds the tables of docs/sparse.md, and docs/sparse-*.png, from docs/data/sparse.csv.

  python docs/sparse.py                             tables and pictures from the committed runs
  python docs/sparse.py --workdir=workdir/sparse    first writes docs/data/sparse.csv from all
                                                    studies there (--study=NAME: from one)
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from pages import rewrite, table_of

matplotlib.use('Agg')

# The pictures need the backend to be chosen first.
from analysis import logs, sparse
from analysis.commands import sparse as command
from analysis.pictures import drawing
from analysis.pictures import sparse as pictures
from analysis.sparsities import runs as tidy
from analysis.sparsities.counts import NAMES
from scaling.errors import BAD_INPUT, InputError

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = ('study', 'run_id', 'stage', 'parent', 'lineage', 'trunk', 'seed', 'state', 'step',
           'final', 'kind', 'N', 'N_nonembedding', 'N_average', 'N_average_nonembedding',
           'N_nonzero', 'density', 'D', 'D_total', 'C', 'C_total', 'C_counted', 'B', 'sparsity',
           'prune_start', 'prune_end', 'schedule')
PICTURES = ('counts', 'errors', 'durations', 'windows', 'pairs', 'techniques')
METRICS = ('loss/', 'loss_along/', 'loss_se/', 'bits_per_byte/')


def export(workdir: str, study: str | None, path: pathlib.Path) -> None:
  """The done runs of the study, or of all, a row an evaluation, as that of others read it."""
  table = logs.load(workdir, study)
  table = table[table['state'] == 'done']
  if not len(table):
    raise InputError(f'--workdir: {workdir} has no run that is done')
  names = [c for c in COLUMNS if c in table] + [
      str(c) for c in table if str(c).startswith(METRICS)]
  path.parent.mkdir(exist_ok=True)
  table[names].to_csv(path, index=False, float_format='%.7g')


def percent(value: float | None, signed: bool = False) -> str:
  return '' if value is None else f'{100 * value:{"+" if signed else ""}.2f} %'


def between(ends: Sequence[float] | None, form: str = '') -> str:
  """' (low to high)'; form: '' for percent, '+' with signs, else a format of the number."""
  if ends is None:
    return ''
  low, high = (f'{e:{form}}' if form not in ('', '+') else f'{100 * e:{form}.2f}' for e in ends)
  return f' ({low} to {high})'


def counts(answer: dict[str, Any]) -> str:
  """Every count's fit, its errors on sparse runs, and the ranking that follows."""
  rows = []
  for name in NAMES:
    of = answer['counts'][name]
    held, seeds, dense = of['held_out'], of.get('seeds'), of.get('dense')
    best = held['probability_best']
    rows.append([
        name, f'{of["r2"]:.4f}' + between(of['r2_interval'], '.4f'),
        percent(of['joint']['mean_relative_error']),
        percent(held['mean_relative_error']) + between(
            held['intervals'].get('mean_relative_error')),
        percent(held['bias'], True) + between(held['intervals'].get('bias'), '+'),
        percent(seeds['mean_relative_error']) if seeds else '',
        percent(dense['mean_relative_error']) if dense else '',
        '' if best is None else f'{best:.2f}'])
  fitted = answer['counts']['fitted']
  w = f'{fitted["params"]["w"]:.3f}' + between(fitted['intervals'].get('w'), '.3f')
  return (table_of(['N', 'R², joint fit', 'in-sample', 'held out', 'bias, held out',
                    'seeds left out', 'of the law of dense runs', 'best with probability'],
                   rows)
          + f'\n\nRanking by held-out error: {command.ranking(answer["ranking"])}. '
          f'Fitted weighting: w = {w}.')


def places(answer: dict[str, Any], by: str) -> str:
  """Differences from the law of the dense runs by duration, window or sparsity."""
  rows = []
  for row in answer[f'by_{by}']:
    name = {'duration': f'{row.get("tokens_per_parameter", 0):.0f}',
            'start': f'{row.get("N_initial", 0):,.0f} at {row.get("tokens_per_parameter", 0):.0f}',
            'window': f'{row.get("start", 0):.2f} to {row.get("end", 0):.2f}',
            'sparsity': f'{row.get("sparsity", 0):.2f}'}[by]
    holds = {None: '', True: 'yes', False: 'no'}[row['holds']]
    rows.append([name, str(row['runs']),
                 *(percent(row[c]['difference'], True) + between(row[c]['interval'], '+')
                   for c in ('average', 'final', 'initial')),
                 percent(row['starts'], True),
                 f'{row["w"]:.2f}' + between(row['w_interval'], '.2f'), holds])
  head = {'duration': 'tokens a parameter', 'start': 'start, tokens a parameter',
          'window': 'window', 'sparsity': 'final sparsity'}[by]
  return table_of([head, 'sparse runs', 'N average', 'N final', 'N initial', 'dense starts', 'w',
                   'holds'], rows)


def durations(answer: dict[str, Any]) -> str:
  begins = answer['begins_to_hold_at']
  said = ('is not within 1 % at the longest duration' if begins is None
          else f'is within 1 % from {begins:.0f} tokens a parameter on')
  return (places(answer, 'duration')
          + f'\n\nThe mean difference at the average count {said}.')


def pairs(answer: dict[str, Any]) -> str:
  of = answer['pairs_count']
  rows = [[f'{row["D"]:,.0f}', f'{row["N_initial"]:,.0f}', f'{row["N_final"]:,.0f}',
           f'{row["N_average"]:,.0f}',
           '' if row['start'] is None else f'{row["start"]:.2f} to {row["end"]:.2f}',
           f'{row["sparse"]:.4f}', f'{row["dense"]:.4f}' + ('' if row['exact'] else ' (law)'),
           percent(row['difference'], True) + between(row['interval'], '+'),
           'yes' if row['within'] else 'no'] for row in answer['pairs']]
  return (f'{of["pairs"]} pairs, {of["exact"]} with a trained dense model; within 1 %: '
          f'{of["within"]}, with the whole interval: {of["surely"]}.\n\n'
          + table_of(['D', 'initial N', 'final N', 'average N', 'window', 'sparse', 'dense',
                      'difference', 'within 1 %'], rows))


def spdf(answer: dict[str, Any]) -> str:

  def loss(of: dict[str, Any] | None) -> str:
    if of is None:
      return ''
    spread = f' ± {of["std"]:.4f}' if of['std'] is not None else ''
    return f'{of["loss"]:.4f}{spread}' + ('' if of['how'] == 'measured' else f' ({of["how"]})')

  return table_of(
      ['N', 'sparsity', 'FLOPs', 'dense', 'sparse', 'sparse then dense', 'against dense',
       'against sparse'],
      [[f'{row["N"]:,.0f}', '' if row['sparsity'] is None else f'{row["sparsity"]:.2f}',
        f'{row["C"]:.3g}', loss(row['dense']), loss(row['static']), loss(row['sparse_then_dense']),
        *(percent(row[f'above_{name}'], True) + between(row[f'{name}_interval'], '+')
          for name in ('dense', 'static'))]
       for row in answer['spdf']])


def low_rank(answer: dict[str, Any]) -> str:
  return table_of(
      ['parameters', 'of low rank', 'D', 'low rank', 'sparse plus low rank', 'difference'],
      [[f'{row["N"]:,.0f}', f'{row["N_low_rank"]:,.0f}', f'{row["D"]:,.0f}',
        f'{row["low_rank"]["loss"]:.4f}', f'{row["sltrain"]["loss"]:.4f}',
        percent(row['difference'], True) + between(row['interval'], '+')]
       for row in answer['low_rank']])


def tables(answer: dict[str, Any]) -> dict[str, str]:
  """What stands between the markers of docs/sparse.md, by their names."""
  kinds = ', '.join(f'{count} {kind}' for kind, count in answer['runs'].items())
  return {'runs': f'Runs: {kinds}; {answer["lineages"]} lineages of dense and pruned ones.',
          'counts': counts(answer),
          'durations': durations(answer), 'starts': places(answer, 'start'),
          'windows': places(answer, 'window'), 'sparsities': places(answer, 'sparsity'),
          'pairs': pairs(answer), 'spdf': spdf(answer), 'low_rank': low_rank(answer)}


def rebuild(folder: pathlib.Path, bootstrap: int = 200) -> None:
  """Tables and pictures of folder/sparse.md from folder/data/sparse.csv."""
  path = folder / 'data' / 'sparse.csv'
  if not path.is_file():
    raise InputError(f'{path}: there is no such table; --workdir writes it')
  runs, dropped = tidy.of_table(pd.read_csv(path, low_memory=False), source=str(path))
  answer, found = sparse.study(runs, bootstrap=bootstrap)
  print(command.text(answer | {'dropped': dropped}))
  drawn = pictures.all_of(answer, found, runs)
  for picture in drawn:
    drawing.save(picture.figure, str(folder / f'sparse-{picture.name}.png'))
  shown = {f'picture_{name}': '' for name in PICTURES} | {
      f'picture_{p.name}': f'![{p.title}](sparse-{p.name}.png)' for p in drawn}
  rewrite(folder / 'sparse.md', tables(answer) | shown)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', help='write the table from this workdir first')
  parser.add_argument('--study', help='only this one of that workdir; without it, all')
  parser.add_argument('--folder', type=pathlib.Path, default=HERE,
                      help='where sparse.md and data/sparse.csv are')
  flags = parser.parse_args()
  if flags.workdir:
    export(flags.workdir, flags.study, flags.folder / 'data' / 'sparse.csv')
  rebuild(flags.folder)
  print(f'written: {flags.folder / "sparse.md"}')


if __name__ == '__main__':
  try:
    main()
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(BAD_INPUT)
