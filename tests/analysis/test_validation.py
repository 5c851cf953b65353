"""What a law predicts of rows left out: the splits, the metrics, and laws compared."""

import json

import numpy as np
import pytest

from analysis import comparison, laws, validation
from analysis.reading.points import Points
from scaling.errors import InputError
from tests.analysis.commands import run

CHINCHILLA = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 2e9, 5), np.geomspace(1e9, 4e10, 4)))
X = {'N': N, 'D': D}
LOSS = CHINCHILLA.predict(TRUTH, X) * np.exp(1e-3 * np.random.default_rng(0).normal(size=20))
GROUPS = np.arange(20)


def test_levels_are_values_or_quantiles_of_many():
  assert sorted(set(validation.levels(N))) == [0, 1, 2, 3, 4]
  many = np.geomspace(1, 1e6, 100)
  rank = validation.levels(many)
  assert len(set(rank)) == validation.LEVELS and np.all(np.diff(rank) >= 0)
  assert list(validation.levels(np.array([0.0, 0.5, 1.0, 0.5]))) == [0, 1, 2, 1]


def test_a_k_fold_predicts_every_row_once_from_other_values():
  folds = validation.split('N', X, GROUPS, 5)
  assert len(folds) == 5
  assert sorted(np.concatenate([test for _, test in folds])) == list(range(20))
  for train, test in folds:
    assert not set(N[train]) & set(N[test])


def test_rolling_origin_predicts_the_next_budget_from_the_cheaper_ones():
  cost = 6 * N * D
  folds = validation.split('rolling', X, GROUPS)
  assert len(folds) >= 4
  for train, test in folds:
    assert cost[train].max() < cost[test].min()
  assert [len(t) for t, _ in folds] == sorted(len(t) for t, _ in folds)


def test_the_largest_size_is_held_out():
  (train, test), = validation.split('largest', X, GROUPS)
  assert set(N[test]) == {N.max()} and len(train) == 16


def test_runs_do_not_straddle():
  """Checkpoints of one run are never both fitted and predicted when extrapolating."""
  runs = np.unique(N, return_inverse=True)[1]
  for train, test in validation.split('rolling', X, runs):
    assert not set(runs[train]) & set(runs[test])


def test_unknown_splits_and_single_values_are_one_line():
  with pytest.raises(InputError, match='largest, rolling'):
    validation.split('V', X, GROUPS)
  with pytest.raises(InputError, match='one value'):
    validation.split('N', {'N': np.ones(4), 'D': D[:4]}, np.arange(4))


def test_metrics_of_a_law_that_holds():
  found, = validation.all_of(CHINCHILLA, X, LOSS, ['largest'], groups=GROUPS, bootstrap=50)
  measured = found.metrics
  assert measured['mean_relative_error'] < 3e-3 and measured['r2'] > 0.9
  assert measured['coverage'] >= 0.75 and found.to_dict()['n'] == 4


def test_folds_too_small_for_a_law_are_counted():
  found = validation.validate(CHINCHILLA, X, LOSS, 'rolling', [(np.arange(3), np.arange(3, 20))],
                              groups=GROUPS)
  assert found.folds == 0 and '5 parameters' in found.failed[0] and found.metrics['r2'] is None


def test_the_law_behind_the_data_extrapolates_best_and_failures_are_lines():
  both = {name: laws.get(name) for name in ('kaplan_n', 'chinchilla', 'kaplan_c')}
  x = X | {'C': 6 * N * D}
  points = {name: Points({k: x[k] for k in law.inputs}, LOSS, GROUPS, {}, {})
            for name, law in both.items()}
  points['kaplan_c'].inputs['C'][:] = 1e20  # one value: it cannot be fitted, or not well
  found = comparison.compare(both, points, ['largest'])
  assert next(iter(found.entries)) == 'chinchilla' and found.common == 4
  assert found.extrapolation['chinchilla'] < 0.1 * found.extrapolation['kaplan_n']
  assert json.dumps(found.to_dict())


def test_the_command(tmp_path):
  table = '\n'.join(f'{n},{0.8 * n},{d},{y}' for n, d, y in zip(N, D, LOSS))
  (tmp_path / 'runs.csv').write_text('params,body,tokens,loss\n' + table)
  done = run('analysis.compare', '--laws=chinchilla,kaplan,kaplan_c',
             f'--data={tmp_path}/runs.csv', '--columns=N=params,N_nonembedding=body,D=tokens',
             '--splits=largest', '--bootstrap=0', f'--out={tmp_path}/compare.json',
             f'--plot={tmp_path}/compare.png')
  assert done.returncode == 0, done.stderr
  result = json.loads((tmp_path / 'compare.json').read_text())
  assert result['ranked'][0] == 'chinchilla' and set(result['failed']) == {'kaplan_c'}
  assert 'kaplan_c failed' in done.stdout and (tmp_path / 'compare.png').stat().st_size > 10_000
  # kaplan took its own N: the same coefficients from the columns of analysis.fit
  assert result['laws']['kaplan']['params']['N_c'] > 0
