"""Several domains' runs, each with its first evaluations, of a workdir or of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import logs
from analysis.cross_domain import Domain, learnability
from analysis.reading import rewarming, tables
from scaling.errors import InputError, bad

NEEDED = ('N', 'D', 'r', 'loss')
PLACE = '{domain}'  # in --columns and --where: the domain's name


def of_logs(workdir: str, study: str | None, names: Sequence[str], early: float,
            where: str = '') -> dict[str, Domain]:
  """`of_runs` of the finished runs of a workdir."""
  table = logs.load(workdir, study)
  return of_runs(table[table['state'] == 'done'], names, early, where, workdir)


def of_runs(table: pd.DataFrame, names: Sequence[str], early: float, where: str = '',
            source: str = 'the table') -> dict[str, Domain]:
  """Final losses of runs on one domain and what their parents had, by domain.

  table: finished runs as `logs.load` has them, a row an evaluation. k1: the parents' last loss on
  the domain. k2: its fall from there over the first `early` of the tokens of the longest run, in
  the runs with the most of the domain. Both are means over parents.
  """
  for name in names:
    if name not in logs.domains(table):
      raise bad('--domains', name, f'{source} has losses of '
                f'{", ".join(logs.domains(table)) or "none"}')
  ends = table[table['final'].astype(bool)]
  runs = table[(table['stage'] == 0) & table['parent'].notna()]
  if not len(runs):
    raise InputError(f'{source}: no finished run goes on from another')
  runs = tables.select(runs, where)
  found = {}
  for name in names:
    others = [f'r/{other}' for other in names if other != name]
    mine = runs[(runs[others] == 0).all(axis=1)]
    last = mine[mine['final'].astype(bool)]
    if not len(last) or not (last[f'r/{name}'] > 0).any():
      raise InputError(f'{source}: no finished run has {name} and none of the other domains')
    most = mine[np.isclose(mine[f'r/{name}'], mine[f'r/{name}'].max())
                & ~mine['final'].astype(bool).to_numpy()]
    first = most[most['D'] <= early * last['D'].max()]
    curves, cost = [], 0.0
    for parent, rows in first.groupby('parent', sort=True):
      origin = ends[ends['run_id'] == parent]
      if not len(origin):
        raise InputError(f'{source}: {parent}, from which runs go on, is not in these logs')
      curves.append((np.append(0.0, rows['D']),
                     np.append(rewarming.along(origin, name), rewarming.along(rows, name))))
      cost += float(rows['C'].max())
    if not curves:
      raise InputError(f'--early: no evaluation of {name} in the first {early:g} of its '
                       'longest run')
    k1, k2 = learnability(curves)
    inputs = {'N': last['N'], 'D': last['D'], 'r': last[f'r/{name}']}
    found[name] = Domain({k: v.to_numpy(float) for k, v in inputs.items()},
                         last[f'loss/{name}'].to_numpy(float), last['trunk'].to_numpy(str), k1, k2,
                         cost / float(last['C'].sum()))
  return found


def of_table(path: str, names: Sequence[str], columns: str, where: str = '',
             form: str = '') -> dict[str, Domain]:
  """The domains of a table whose --columns name {domain}, as in r=weight_{domain}.

  k1 and k2 may be columns too. If they are not, they are read off the rows with the largest r of
  each N: the loss at the fewest tokens, and its fall to the next; those rows are left out.
  """
  whole = tables.read(path, form)
  found = {}
  for name in names:
    expressions = tables.columns(columns.replace(PLACE, name))
    for key in expressions:
      if key not in (*NEEDED, 'k1', 'k2'):
        raise bad('--columns', key, f'it takes {", ".join(NEEDED)}, k1 and k2')
    for key in NEEDED:
      if key not in expressions and key not in whole:
        raise InputError(tables.lacks(path, 'a law across domains', key, whole))
      expressions.setdefault(key, tables.columns(f'{key}=`{key}`')[key])
    rows = tables.select(whole, where.replace(PLACE, name), expressions)
    values = pd.DataFrame(tables.values(rows, expressions)).dropna()
    values = values[(values[['N', 'D', 'loss']] > 0).all(axis=1) & values['r'].between(0, 1)]
    if not len(values):
      raise InputError(f'{path}: no row of {name} has N, D, r and loss')
    found[name] = _measured(values) if 'k1' in expressions else _read_off(values)
  return found


def _measured(values: pd.DataFrame) -> Domain:
  k2 = float(values['k2'].mean()) if 'k2' in values else None
  return _domain(values, float(values['k1'].mean()), k2 if k2 and k2 > 0 else None)


def _read_off(values: pd.DataFrame) -> Domain:
  curves, used = [], np.zeros(len(values), bool)
  for n in values['N'].unique():
    size = (values['N'] == n).to_numpy()
    own = size & np.isclose(values['r'], values['r'][size].max())
    mean = values[own].groupby('D')['loss'].mean()[:2]
    if len(mean) == 2:
      curves.append((mean.index.to_numpy(), mean.to_numpy()))
      used |= own & values['D'].isin(mean.index).to_numpy()
  if not curves or used.all():
    raise InputError('--columns: no k1 and k2, and too few token counts to read them off: each N '
                     'needs two or more at its largest r')
  first, last = (np.mean([curve[0][i] for curve in curves]) for i in (0, 1))
  return _domain(values[~used], *learnability(curves), notes=(
      f'k1 and k2 are read off losses at {first:.3g} and {last:.3g} tokens (means over N), not '
      f'before training: those {used.sum()} rows are left out',))


def _domain(values: pd.DataFrame, k1: float, k2: float | None, notes: tuple[str, ...] = (),
            ) -> Domain:
  return Domain({k: values[k].to_numpy() for k in NEEDED[:3]}, values['loss'].to_numpy(),
                np.arange(len(values)), k1, k2, notes=notes)
