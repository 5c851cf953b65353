"""Sparse pre-training: which count of parameters puts sparse and dense runs on one law.

  python -m analysis.sparse --logs=DIR --study=sparse --out=sparse.json --plot_dir=DIR
  python -m analysis.sparse --data=runs.csv

Its flags are in analysis/commands/sparse.py, what it computes in analysis/sparsities/;
docs/sparse.md describes the tables.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.sparsities import counts, differences, pairs, techniques
from analysis.sparsities.counts import Joint
from analysis.sparsities.runs import PRUNED


def study(runs: pd.DataFrame, *, folds: int = 5, bootstrap: int = 200, level: float = 0.9,
          tolerance: float = 0.03, seed: int = 0, **options: Any) -> tuple[dict[str, Any], Joint]:
  """sparse.json as Python values, and the fits; runs of analysis/sparsities/runs.py.

  tolerance: relative difference of N_average in matched pairs. options: of analysis.fit.fit.
  Raises InputError when there are too few dense runs or no sparse ones.
  """
  both = runs[runs['kind'].isin(PRUNED)].reset_index(drop=True)
  counts.check(both)
  found = counts.joint(both, folds=folds, bootstrap=bootstrap, level=level, seed=seed,
                       parts=differences.parts(both), **options)
  by = {f'by_{name}': differences.table(found, name) for name in differences.BY}
  matched = pairs.table(found, tolerance)

  def dense_law(N: float, D: float) -> float:
    return float(found.dense[0].predict({'N': [N], 'D': [D]})[0])

  kinds = runs['kind'].value_counts()
  answer = {
      'runs': {name: int(count) for name, count in kinds.items()},
      'lineages': int(both['lineage'].nunique()), 'level': level,
      'folds': int(found.folds.max()) + 1,
      'units': 'parameters, tokens and FLOPs one by one; losses in nats per token',
      'counts': counts.summary(found), 'ranking': counts.ranking(found),
      'dense_law': {'params': found.dense[0].params, 'metrics': found.dense[0].metrics},
      **by, 'duration_is_of': differences.duration(both),
      'begins_to_hold_at': differences.begins(by['by_duration']),
      'windows': differences.windows(found), 'pairs': matched, 'pairs_count': pairs.count(matched),
      'noise': pairs.noise(found)[None][0], 'spdf': techniques.spdf(runs, dense_law, level),
      'low_rank': techniques.low_rank(runs, level), 'warnings': list(found.warnings)}
  return answer, found


if __name__ == '__main__':
  from analysis.commands import sparse as sparse_command
  sparse_command.start()
