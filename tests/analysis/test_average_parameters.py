"""Dense and sparse runs: the average number of parameters against the final one."""

import numpy as np
import pytest

from analysis import average_parameters, laws
from scaling.sparsity import Ramp

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


def test_of_dense_runs_alone_both_are_the_same_law(runs):
  average, final, d, loss = (v[runs[0] == runs[1]] for v in runs)
  found = average_parameters.compare(average, final, d, loss, bootstrap=0)
  assert found.average.value == found.final.value
  assert list(found.average.params.values()) == list(found.final.params.values())


def test_optimum_is_chinchillas_with_another_name():
  best = laws.get('average_parameters').best(TRUTH, 1e21)
  assert best['N_average'] == laws.get('chinchilla').best(TRUTH, 1e21)['N']
  assert 6 * best['N_average'] * best['D'] == pytest.approx(1e21)
