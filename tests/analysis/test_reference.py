"""Published fits, from published runs, to the digits (where the data are at hand)."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from analysis import fit, laws
from analysis.laws import chinchilla
from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
pytestmark = pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/chinchilla_epoch'),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
LAW = laws.get('chinchilla')
HUBER = {'A': 477.826, 'B': 2143.417, 'E': 1.817218, 'alpha': 0.347311, 'beta': 0.367172}
LAD = {'A': 482.006, 'B': 2085.434, 'E': 1.81686, 'alpha': 0.34781, 'beta': 0.36585}


@pytest.fixture(scope='module')
def runs():
  """The 240 points of arXiv 2404.10102: the five largest losses dropped."""
  table = pd.read_csv(f'{FOLDER}/chinchilla_epoch/runs.csv').nsmallest(240, 'loss')
  n = table['Model Size'].to_numpy()
  return {'N': n, 'D': table['Training FLOP'].to_numpy() / 6 / n}, table['loss'].to_numpy()


def test_huber_optimum_from_the_papers_starts(runs):
  found = fit.fit(LAW, *runs, starts=chinchilla.HOFFMANN_STARTS, bootstrap=0)
  assert found.value == pytest.approx(0.00101827402, rel=1e-8)
  assert found.params == pytest.approx(HUBER, rel=2e-6)
  assert found.warnings == []


def typed(tmp_path, *options):
  done = run('analysis.fit', '--law=chinchilla', f'--data={FOLDER}/chinchilla_epoch/runs.csv',
             '--columns=N=`Model Size`,D=`Training FLOP`/(6*`Model Size`),loss=loss',
             '--where=loss < 3.41', '--bootstrap=0', f'--out={tmp_path}/fit.json', *options)
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'fit.json').read_text())
  assert found['n_points'] == 240 and found['warnings'] == []
  return found


def test_huber_optimum_by_the_command(tmp_path):
  found = typed(tmp_path)
  assert found['objective']['value'] == pytest.approx(0.00101827402, rel=1e-8)
  assert found['params'] == pytest.approx(HUBER, rel=2e-6)


def test_the_published_headline_is_the_least_absolute_deviations_optimum(tmp_path):
  found = typed(tmp_path, '--objective=lad_log')
  assert found['objective']['value'] <= 1.1294947 + 5e-8
  assert found['params'] == pytest.approx(LAD, rel=1e-4)


def test_a_mean_instead_of_a_sum_stops_scipy_early(runs):
  """Besiroglu et al.: Hoffmann et al.'s L-BFGS-B met its tolerances before the optimum.

  One start, scipy's default tolerances: the gradient of the mean is small enough at twice the
  objective at which the sum's descent ends.
  """
  inputs, loss = runs
  n, d, y = np.log(inputs['N']), np.log(inputs['D']), np.log(loss)

  def huber(x, count):
    terms = np.stack([x[0] - x[3] * n, x[1] - x[4] * d, np.full(len(n), x[2])])
    r, share = special.logsumexp(terms, axis=0) - y, special.softmax(terms, axis=0)
    slope = np.clip(r, -1e-3, 1e-3)
    value = np.where(abs(r) <= 1e-3, r**2 / 2, 1e-3 * (abs(r) - 5e-4))
    gradient = share @ slope
    return value.sum() / count, np.array([*gradient, -(slope * share[0]) @ n,
                                          -(slope * share[1]) @ d]) / count

  start = [10, 10, 0.5, 0.5, 0.5]  # one of the paper's: ln A, ln B, ln E, alpha, beta
  of_sum, of_mean = (optimize.minimize(huber, start, args=(count,), jac=True, method='L-BFGS-B')
                     for count in (1, len(y)))
  assert of_sum.fun == pytest.approx(0.00102, rel=0.05)
  assert 'GRADIENT' in of_mean.message and of_mean.nit < of_sum.nit
  assert of_mean.fun * len(y) > 1.5 * of_sum.fun
