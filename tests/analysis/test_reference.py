"""Published fits, from published runs, to the digits (where the data are at hand)."""

import os

import pandas as pd
import pytest

from analysis import fit, laws
from analysis.laws import chinchilla

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


@pytest.mark.parametrize('starts', [None, chinchilla.HOFFMANN_STARTS])
def test_huber_optimum(runs, starts):
  found = fit.fit(LAW, *runs, starts=starts, bootstrap=0)
  assert found.value == pytest.approx(0.00101827402, rel=1e-8)
  for name, value in HUBER.items():
    assert found.params[name] == pytest.approx(value, rel=2e-6)
  assert found.warnings == []


def test_the_published_headline_is_the_least_absolute_deviations_optimum(runs):
  found = fit.fit(LAW, *runs, objective='lad_log', bootstrap=0)
  assert found.value <= 1.1294947 + 5e-8
  for name, value in LAD.items():
    assert found.params[name] == pytest.approx(value, rel=1e-4)
