"""Which runs are left out together, and what the refits without them say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.laws.law import Law
from analysis.sparsities import lanes
from analysis.sparsities import runs as tidy
from analysis.sparsities.lanes import Samples

LEAST = 4  # lineages to fold by
UNITS = 5  # sizes, or starts and seeds, to resample


def units(runs: pd.DataFrame) -> np.ndarray:
  """What is resampled as one, [n]: of dense runs a size, of sparse runs a start and seed.

  How far a dense model lies off the law of its N persists over budgets, and sparse runs of one
  start and seed, which begin with the same weights and read the same text, mostly err together
  (docs/log.md): they are no independent witnesses. A kind with fewer than five of these is
  resampled by lineages.
  """
  found = runs['lineage'].to_numpy(object).copy()
  size = tidy.size(runs['N_initial'].to_numpy(float))
  for kind in ('dense', 'sparse'):
    rows = (runs['kind'] == kind).to_numpy()
    unit = [f'{kind} {s:g}' + (f' {seed:g}' if kind == 'sparse' else '')
            for s, seed in zip(size[rows], runs['seed'].to_numpy(float)[rows], strict=True)]
    if len(set(unit)) >= UNITS:
      found[rows] = unit
  return found.astype(str)


def folded(runs: pd.DataFrame, folds: int, seed: int, warnings: list[str]) -> np.ndarray:
  """Each sparse run's fold, [n]; -1 for dense ones. Sparse runs of a lineage share theirs."""
  sparse = (runs['kind'] == 'sparse').to_numpy()
  unit = runs['lineage'].to_numpy(str)
  if len(np.unique(unit[sparse])) < LEAST:
    warnings.append(f'folds leave out single sparse runs, for they are of fewer than {LEAST} '
                    'lineages')
    unit = np.array([f'{i}' for i in range(len(runs))])
  names, member = np.unique(unit[sparse], return_inverse=True)
  order = np.random.default_rng(seed).permutation(len(names))
  found = np.full(len(runs), -1)
  found[sparse] = order[member] % min(folds, len(names))
  return found


def apart(runs: pd.DataFrame, fold: np.ndarray, k: int) -> np.ndarray:
  """The rows that sparse runs of a fold are predicted from: of other lineages."""
  test = fold == k
  mine = runs['lineage'].isin(runs['lineage'][test]).to_numpy()
  whole = np.all(fold[mine & (runs['kind'] == 'sparse').to_numpy()] == k)
  return ~mine if whole else ~test


def seeds(runs: pd.DataFrame, least: int) -> dict[str, np.ndarray]:
  """The rows [n] of every seed, each to be left out once; {} where too few dense ones stay."""
  found = {f'seed {seed:g}': (runs['seed'] == seed).to_numpy() for seed in np.unique(runs['seed'])}
  dense = (runs['kind'] == 'dense').to_numpy()
  return found if all((dense & ~rows).sum() >= least for rows in found.values()) else {}


def left_out(law: Law, refits: dict[str, Samples], parts: dict[str, np.ndarray],
             inputs: dict[str, np.ndarray]) -> np.ndarray:
  """Rows of every part as predicted by the refits of that name, [S + 1, n]; NaN in no part."""
  found = np.array([np.nan])
  for name, rows in parts.items():
    found = np.where(rows, lanes.predict(law, refits[name], inputs), found)
  return found
