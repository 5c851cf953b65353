"""Runs of a study of sparse pre-training, a row a finished run, from a workdir or a tidy table.

Columns: kind (dense, sparse, static, dense_after, low_rank, sltrain), N_initial, N_average,
N_final, D, C (FLOPs), loss, sparsity (final), start, end (of the pruning, shares of the compute),
schedule, seed, lineage, run_id, parent. `dense_after` is a dense run that goes on from a sparse
one: its D and C are those of both. Counts are without embeddings, or of all parameters (`count`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading import points
from scaling.errors import InputError, bad

COUNTS = {
    'nonembedding': {'N_initial': 'N_nonembedding', 'N_average': 'N_average_nonembedding',
                     'N_final': 'N_nonzero'},
    'total': {'N_initial': 'N', 'N_average': 'N_average', 'N_final': 'N_nonzero'}}
KINDS = ('dense', 'sparse', 'static', 'dense_after', 'low_rank', 'sltrain')
PRUNED = ('dense', 'sparse')  # what one law may describe: trained from scratch, pruned or not
TEXTS = {'kind': '', 'schedule': '', 'lineage': '', 'run_id': '', 'parent': ''}
NUMBERS = ('N_initial', 'N_average', 'N_final', 'D', 'C', 'loss', 'sparsity', 'start', 'end',
           'seed')
SAME = 1e-6  # relative difference of counts that are one


def of_table(table: pd.DataFrame, count: str = 'nonembedding', domain: str | None = None,
             source: str = 'the table', given: Iterable[str] = (),
             ) -> tuple[pd.DataFrame, dict[str, int]]:
  """The runs, and {reason: rows left out}. `table`: of analysis.logs.load, or its export.

  A table with columns N_initial and N_final has its N_average by that name, too; `given` are
  columns by the names of this file in any case. Raises InputError for a column that is missing, a
  kind that is unknown, or when nothing is left.
  """
  if count not in COUNTS:
    raise bad('count', count, f'it is {", ".join(COUNTS)}')
  if not len(table):
    raise InputError(f'{source}: no rows')
  dropped: dict[str, int] = {}
  table = _final(table, dropped)
  found = pd.DataFrame(index=table.index)
  loss = 'loss' if 'loss' in table else f'loss/{points.chosen_domain(table, domain, source)}'
  named = set(NUMBERS[:3]) if {'N_initial', 'N_final'} <= set(table) else set(given)
  names = {name: column for name, column in COUNTS[count].items() if name not in named}
  staged = _column(table, 'D_total', np.nan) > (1 + SAME) * _column(table, 'D', np.nan)
  for name, column in {**{n: names.get(n, n) for n in NUMBERS[:3]}, 'D': 'D', 'loss': loss,
                       'C': 'C', 'sparsity': 'sparsity', 'start': 'prune_start',
                       'end': 'prune_end', 'seed': 'seed'}.items():
    if column not in table and name in ('N_initial', 'N_average', 'N_final', 'D', 'loss'):
      raise InputError(f'{source}: there is no column {column}, which says the {name} of runs')
    found[name] = _column(table, column, np.nan)
  if 'N_final' in names and count == 'total':  # What is not in the kernels is never pruned.
    found['N_final'] += found['N_initial'] - _column(table, 'N_nonembedding', np.nan)
  for name, default in TEXTS.items():
    found[name] = table[name].fillna('').astype(str) if name in table else default
  if 'lineage' not in table:
    found['lineage'] = [str(i) for i in range(len(table))]
  if 'run_id' not in table:
    found['run_id'] = [str(i) for i in range(len(table))]
  for name in ('D', 'C'):
    found.loc[staged, name] = _column(table, f'{name}_total', np.nan)[staged]
  found['kind'] = _kinds(found, staged, source)
  found['seed'] = found['seed'].fillna(0)
  found['sparsity'] = found['sparsity'].fillna(1 - found['N_final'] / found['N_initial'])
  found['C'] = found['C'].fillna(6 * found['N_average'] * found['D'])
  good = (~staged | (found['kind'] == 'dense_after')).to_numpy(copy=True)
  if not good.all():
    dropped['not dense, and go on from another run'] = int((~good).sum())
  for name in ('N_initial', 'N_average', 'N_final', 'D', 'loss'):
    wrong = ~(np.isfinite(found[name]) & (found[name] > 0)).to_numpy() & good
    if wrong.any():
      dropped[f'{name} missing or not positive'] = int(wrong.sum())
    good &= ~wrong
  wrong = good & ((found['N_average'] > found['N_initial'] * (1 + SAME))
                  | (found['N_average'] < found['N_final'] * (1 - SAME))).to_numpy()
  wrong &= found['kind'].isin(PRUNED).to_numpy()
  if wrong.any():
    dropped['N_average not between N_final and N_initial'] = int(wrong.sum())
  found = found[good & ~wrong].reset_index(drop=True)
  if not len(found):
    raise InputError(f'{source}: no usable run ({dropped})')
  return found, dropped


def cells(runs: pd.DataFrame) -> pd.Series:
  """A number a run, the same for runs that differ in seed alone."""
  rounded = [np.round(np.log(runs[n]), 4) for n in ('N_initial', 'N_final', 'N_average', 'D')]
  rest = [runs[n].fillna(-1).round(6) for n in ('start', 'end')]
  return runs.groupby([runs['kind'], runs['schedule'], *rounded, *rest], sort=True).ngroup()


def size(N: Any) -> Any:
  """A number for each N, the same within a tenth of a percent or so."""
  return np.round(np.log(N), 3)


def tokens(D: Any) -> Any:
  """A number for each D, the same within a percent or so."""
  return np.round(np.log(D), 2)


def _final(table: pd.DataFrame, dropped: dict[str, int]) -> pd.DataFrame:
  """The last rows of runs that are done."""
  for name, wanted, reason in (('state', 'done', 'of runs that are not done'),
                               ('final', True, 'not final')):
    if name in table:
      kept = table[name].astype(type(wanted)) == wanted
      if (~kept).any():
        dropped[reason] = int((~kept).sum())
      table = table[kept]
  return table


def _column(table: pd.DataFrame, name: str, default: float) -> pd.Series:
  if name not in table:
    return pd.Series(default, index=table.index, dtype=float)
  return pd.to_numeric(table[name], errors='coerce').astype(float)


def _kinds(found: pd.DataFrame, staged: pd.Series, source: str) -> Any:
  """Each run's kind: as the table says, or dense where the counts are one."""
  one = found['N_final'] >= found['N_initial'] * (1 - SAME)
  kind = found['kind'].where(found['kind'] != '', np.where(one, 'dense', 'sparse'))
  kind = kind.replace('lowrank', 'low_rank')
  unknown = sorted(set(kind) - set(KINDS))
  if unknown:
    raise InputError(f'{source}: kind {unknown[0]!r} is unknown; it is {", ".join(KINDS)}')
  return kind.mask(staged & (kind == 'dense'), 'dense_after')
