"""Other sparse ways to train, against what costs as much: SPDF, and sparse plus low rank.

SPDF (Thangarasa et al. 2023, arXiv 2303.10464): train with a random static mask, then go on with
the dense model. Compared at matched FLOPs with dense and with sparse training all the way.
SLTrain (Han et al. 2024, arXiv 2406.02214): a low-rank product plus a sparse matrix of fixed random
support. Compared with low rank alone at equal parameters and D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from analysis.sparsities import runs as tidy

COST = 0.05  # FLOPs are matched within this
SIZE = 0.03  # so are parameters


def spdf(runs: pd.DataFrame, dense_law: Any = None, level: float = 0.9) -> list[dict[str, Any]]:
  """A row a model that went on dense: mean loss, and of the others at its FLOPs and size.

  dense, static: runs of the same N_initial (static: and of the same sparsity as the parent), those
  within 5 % of its FLOPs, else on the line of ln loss against ln FLOPs between the two around it,
  else None. dense_law {N, D} -> loss serves dense where no run does. `how`: measured, between, law.
  above_*: sparse then dense over the other - 1; *_interval: of it, over the seeds that both have.
  """
  rows = []
  parents = runs.set_index('run_id')
  after = runs[runs['kind'] == 'dense_after']
  share = np.array([_sparsity(parents, p) for p in after['parent']])
  after = after.assign(share=share, cost=np.round(np.log(after['C']), 2))
  size = tidy.size(after['N_initial'])
  for _, cell in after.groupby([size, 'share', 'cost'], dropna=False):
    first, cost = cell.iloc[0], float(cell['C'].mean())
    same = runs[np.abs(np.log(runs['N_initial'] / first['N_initial'])) < 1e-3]
    static = same[same['kind'] == 'static']
    if np.isfinite(first['share']):
      static = static[np.abs(static['sparsity'] - first['share']) < 0.01]
    row: dict[str, Any] = {
        'N': float(first['N_initial']), 'sparsity': _known(first['share']), 'C': cost,
        'D': float(cell['D'].mean()), 'sparse_then_dense': _loss(cell, 'measured')}
    for name, others in (('dense', same[same['kind'] == 'dense']), ('static', static)):
      row[name] = at_cost(others, cost)
      row[f'{name}_interval'] = _paired(cell, _near(others, cost), level)
    if row['dense'] is None and dense_law is not None:
      cheapest = same[same['kind'] == 'dense']
      if len(cheapest):
        per_token = float((cheapest['C'] / cheapest['D']).mean())
        row['dense'] = {'loss': float(dense_law(first['N_initial'], cost / per_token)),
                        'std': None, 'runs': 0, 'how': 'law'}
    for name in ('dense', 'static'):
      row[f'above_{name}'] = None if row[name] is None else (
          row['sparse_then_dense']['loss'] / row[name]['loss'] - 1)
    rows.append(row)
  return rows


def at_cost(rows: pd.DataFrame, cost: float) -> dict[str, Any] | None:
  """The loss of these runs at that many FLOPs; None outside of theirs."""
  near = _near(rows, cost)
  if len(near):
    return _loss(near, 'measured')
  near_cost = np.round(np.log(rows['C']), 2).to_numpy()
  points = rows.groupby(near_cost)[['C', 'loss']].mean()
  if len(points) < 2 or not points['C'].iloc[0] <= cost <= points['C'].iloc[-1]:
    return None
  loss = np.exp(np.interp(np.log(cost), np.log(points['C']), np.log(points['loss'])))
  return {'loss': float(loss), 'std': None, 'runs': 0, 'how': 'between'}


def _near(rows: pd.DataFrame, cost: float) -> pd.DataFrame:
  """Those of these runs that cost as much."""
  return rows[np.abs(np.log(rows['C'] / cost)) <= COST]


def low_rank(runs: pd.DataFrame, level: float = 0.9) -> list[dict[str, Any]]:
  """A row a model of sparse plus low rank that low rank alone has as many parameters as.

  difference = its loss / that of low rank - 1; interval over the seeds that both have.
  """

  found = runs.assign(cell=tidy.cells(runs))
  rows = []
  for _, cell in found[found['kind'] == 'sltrain'].groupby('cell'):
    first = cell.iloc[0]
    others = found[(found['kind'] == 'low_rank') & (np.abs(np.log(found['D'] / first['D'])) < 0.01)
                   & (np.abs(np.log(found['N_final'] / first['N_final'])) <= SIZE)]
    if not len(others):
      continue
    nearest = (others['N_final'] - first['N_final']).abs().idxmin()
    others = others[others['cell'] == others['cell'][nearest]]
    row: dict[str, Any] = {
        'N': float(first['N_final']), 'N_low_rank': float(others['N_final'].mean()),
        'D': float(first['D']), 'sltrain': _loss(cell, 'measured'),
        'low_rank': _loss(others, 'measured'), 'interval': _paired(cell, others, level)}
    row['difference'] = row['sltrain']['loss'] / row['low_rank']['loss'] - 1
    rows.append(row)
  return rows


def _paired(these: pd.DataFrame, others: pd.DataFrame, level: float) -> list[float] | None:
  """The interval of loss / other loss - 1, Student's over the seeds that both have; None: one."""
  mine, theirs = (rows.groupby('seed')['loss'].mean() for rows in (these, others))
  logs = np.log((mine / theirs).dropna().to_numpy(float))
  if len(logs) < 2:
    return None
  half = special.stdtrit(len(logs) - 1, (1 + level) / 2) * logs.std(ddof=1) / np.sqrt(len(logs))
  return [float(np.expm1(logs.mean() + k * half)) for k in (-1, 1)]


def _loss(rows: pd.DataFrame, how: str) -> dict[str, Any]:
  std = float(rows['loss'].std(ddof=1)) if len(rows) > 1 else None
  return {'loss': float(rows['loss'].mean()), 'std': std, 'runs': len(rows), 'how': how}


def _sparsity(parents: pd.DataFrame, name: str) -> float:
  return round(float(parents['sparsity'][name]), 2) if name in parents.index else np.nan


def _known(value: Any) -> float | None:
  return float(value) if np.isfinite(value) else None
