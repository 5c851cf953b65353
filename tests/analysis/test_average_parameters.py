"""Dense and sparse runs: the average number of parameters against the final one."""

import numpy as np
import pandas as pd
import pytest

from analysis import average_parameters, laws
from scaling.sparsity import Ramp
from tests.analysis.commands import run

TRUTH = {'E': 1.8, 'A': 420.0, 'B': 1900.0, 'alpha': 0.34, 'beta': 0.36}


@pytest.fixture(scope='module')
def runs():
  """58M to 468M, five sparsities, up to 400 tokens a parameter, with .3 % of noise."""
  n, s, ratio = (v.ravel() for v in np.meshgrid([58e6, 120e6, 240e6, 468e6],
                                                [0, 0.2, 0.4, 0.6, 0.8], [20, 80, 400]))
  average = n * [Ramp.of_compute(1.0, 0.25, 0.75, v).average() for v in s]
  d = ratio * n
  exact = laws.get('average_parameters').predict(TRUTH, {'N_average': average, 'D': d})
  noise = np.random.default_rng(0).normal(scale=0.003, size=exact.shape)
  return average, n * (1 - s), d, exact * np.exp(noise)


def test_the_average_count_describes_dense_and_sparse_runs_together(runs):
  found = average_parameters.compare(*runs, bootstrap=0)
  average, final = found.table()
  assert average['rmse_log'] < 0.0035 < 3 * average['rmse_log'] < final['rmse_log']
  assert average['r2'] > final['r2'] and average['objective'] < final['objective']
  assert average['structure'] < 0.1 and final['structure'] > 0.2
  assert found.average.params['alpha'] == pytest.approx(TRUTH['alpha'], rel=0.1)


def test_rows_that_cannot_be_used_are_left_out_of_both(runs):
  average, final, d, loss = (np.append(v, [1.0, 1.0]) for v in runs)
  loss[-1] = np.nan
  final[-2] = 0
  found = average_parameters.compare(average, final, d, loss, bootstrap=0)
  again = average_parameters.compare(*runs, bootstrap=0)
  assert found.table() == again.table()


def test_the_comparison_is_a_command(runs, tmp_path, monkeypatch):
  """Held out: the largest runs; the average count predicts them, the final one does not."""
  average, final, d, loss = runs
  pd.DataFrame({'average': average, 'final': final, 'tokens': d, 'loss': loss}).to_csv(
      tmp_path / 'runs.csv', index=False)
  done = run(
      'analysis.compare', '--laws=chinchilla,average_parameters', f'--data={tmp_path}/runs.csv',
      '--columns=N_average=average,N=final,D=tokens', '--splits=largest', '--bootstrap=0')
  assert done.returncode == 0, done.stderr
  rows = [line.split() for line in done.stdout.splitlines() if line[:7] in ('average', 'chinchi')]
  assert [row[0] for row in rows] == ['average_parameters', 'chinchilla']
  assert float(rows[0][2]) < 0.5 * float(rows[1][2])


def test_of_dense_runs_alone_both_are_the_same_law(runs):
  average, final, d, loss = (v[runs[0] == runs[1]] for v in runs)
  found = average_parameters.compare(average, final, d, loss, bootstrap=0)
  assert found.average.value == found.final.value
  assert list(found.average.params.values()) == list(found.final.params.values())


def test_optimum_is_chinchillas_with_another_name():
  best = laws.get('average_parameters').best(TRUTH, 1e21)
  assert best['N_average'] == laws.get('chinchilla').best(TRUTH, 1e21)['N']
  assert 6 * best['N_average'] * best['D'] == pytest.approx(1e21)
