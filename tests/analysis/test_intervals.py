"""Intervals by every method, strata, tests of given values, and the minima a search reports."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from scipy import special

from analysis import fit, laws
from analysis.fitting import bootstrap, hypothesis, projection
from analysis.fitting.padding import Padding
from analysis.laws import Law, Parameter
from scaling.errors import InputError
from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
CHINCHILLA = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 2e9, 6), np.geomspace(1e9, 4e10, 5)))
X = {'N': N, 'D': D}
LOSS = CHINCHILLA.predict(TRUTH, X) * np.exp(5e-3 * np.random.default_rng(0).normal(size=30))


def test_weights_of_groups_have_mean_one_within_strata():
  groups = np.repeat(np.arange(6), 2)
  strata = np.repeat(['a', 'a', 'b', 'b', 'b', 'b'], 2)
  for plain in (True, False):
    drawn = bootstrap.draws(groups, strata, 50, 0, plain)
    np.testing.assert_allclose(drawn[:, :2].sum(1), 2)
    np.testing.assert_allclose(drawn[:, 2:].sum(1), 4)
    assert np.all(drawn >= 0) and (np.all(drawn == np.round(drawn)) == plain)
  with pytest.raises(InputError, match='several strata'):
    bootstrap.draws(groups, np.arange(12), 5, 0, True)


@pytest.mark.parametrize('interval, method', [
    ('auto', fit.BOOTSTRAP), ('percentile', fit.PERCENTILE), ('profile', fit.PROFILE)])
def test_every_method_holds_the_truth_and_its_test_agrees(interval, method):
  wrong = TRUTH | {'alpha': 0.25}
  found = fit.fit(CHINCHILLA, X, LOSS, interval=interval, level=0.99, strata=np.ones(30),
                  test=TRUTH)
  assert found.interval_method == method
  for name, (low, high) in found.intervals.items():
    assert low < TRUTH[name] < high
  result, = found.extra['tests']
  assert result['p'] > 1e-3
  values = {'alpha': wrong['alpha'], 'E': 1.8}
  held = (hypothesis.likelihood(found.profile, 30, values) if interval == 'profile' else
          hypothesis.wald(CHINCHILLA, found.params, found.refits(), values))
  assert held['p'] < 1e-3


def test_the_likelihood_test_of_a_linear_law_is_the_textbooks():
  line = Law(name='line2', formula='y = a + b D', source='Legendre 1805', inputs=('D',),
             parameters=(Parameter('a', (0.0, 1.0), (-1e6, 1e6), 'linear'),
                         Parameter('b', (0.0, 1.0), (-1e6, 1e6), 'linear')),
             equation=lambda p, x: p['a'] + p['b'] * x['D'])
  x = np.linspace(1, 5, 12)
  y = 2 + 3 * x + np.random.default_rng(0).normal(size=12)
  result, = fit.fit(line, {'D': x}, y, objective='mse', interval='profile',
                    test={'b': 2.5}).extra['tests']
  design = np.stack([np.ones(12), x], 1)
  best, (ssr,), *_ = np.linalg.lstsq(design, y)
  t = (best[1] - 2.5) / np.sqrt(np.linalg.inv(design.T @ design)[1, 1] * ssr / 10)
  assert result['F'] == pytest.approx(t**2, rel=1e-4)
  assert result['p'] == pytest.approx(2 * special.stdtr(10, -abs(t)), rel=1e-3)


@pytest.mark.parametrize('change, said', [
    ({'interval': 'wald'}, 'auto, bootstrap'), ({'test': {'Z': 1.0}}, 'free parameters'),
    ({'test': {'A': -1.0}}, 'positive'), ({'strata': np.ones(3)}, 'strata')])
def test_bad_options_are_one_line(change, said):
  with pytest.raises(InputError, match=said):
    fit.fit(CHINCHILLA, X, LOSS, **change)


def test_linear_parameters_are_solved_for():
  """On noiseless data the projected start at the true exponents is the truth."""
  from analysis.fitting import objectives
  from analysis.fitting.coordinates import Coordinates
  exact = CHINCHILLA.predict(TRUTH, X)
  coordinates = Coordinates.of(CHINCHILLA, X, exact)
  data = objectives.problem(CHINCHILLA, coordinates, True, X, exact)
  start = coordinates.internal(TRUTH | {'A': 1.0, 'B': 9.0, 'E': 0.1})[None]
  found = projection.starts(CHINCHILLA, coordinates, True, data, np.ones(30), start)[-1]
  np.testing.assert_allclose(found, coordinates.internal(TRUTH), atol=1e-4)


def test_coefficients_are_not_negative():
  random = np.random.default_rng(0)
  design = random.normal(size=(40, 20, 3))
  target = random.normal(size=(40, 20))
  from scipy import optimize
  found = projection.nonnegative(np.einsum('sik,sil->skl', design, design),
                                 np.einsum('sik,si->sk', design, target))
  for c, a, b in zip(found, design, target):
    np.testing.assert_allclose(c, optimize.nnls(a, b)[0], atol=1e-6)


def test_padded_rows_change_nothing():
  """17 rows run as 24; the same program serves 18."""
  data = {'x': {'D': np.arange(1.0, 18.0)}, 'y': np.arange(17.0)}
  padding = Padding.of(data)
  assert padding.total == 24 and len(padding.data(data)['y']) == 24
  values = np.arange(18.0)[None]  # one row more, a profile's
  longer = padding.rows(values, 0.0)
  assert longer.shape == (1, 25) and longer[0, -1] == 17
  np.testing.assert_array_equal(padding.strip(longer, 1), values)


def test_bounds_and_convergence_are_told():
  found = fit.fit(CHINCHILLA, X, LOSS, bootstrap=0)
  search = found.extra['search']
  assert search['converged'] and search['gradient'] < 1e-6 and search['restarts'] >= 0


TWO = {'N': np.repeat([1e8, 1e9], 12), 'D': np.tile(np.geomspace(1e9, 4e10, 12), 2)}


def test_two_sizes_say_nothing_of_alpha():
  """E + A / N^alpha through two sizes is a ridge; a new fit ends anywhere on it."""
  far = {'N': np.array([1e10]), 'D': np.array([4e10])}
  exact, law_there = CHINCHILLA.predict(TRUTH, TWO), CHINCHILLA.predict(TRUTH, far)[0]
  hits = {'alpha': 0, 'beta': 0, 'law': 0}
  seeds = 20
  start = {'E': [0.3], 'A': [6.0], 'B': [7.0], 'alpha': [0.5], 'beta': [0.4]}
  for seed in range(seeds):
    loss = exact * np.exp(3e-3 * np.random.default_rng(seed).normal(size=24))
    found = fit.fit(CHINCHILLA, TWO, loss, starts=start, seed=seed)
    assert found.interval_method == fit.PROFILE
    assert any('refits would stay' in w for w in found.warnings)
    for name in ('alpha', 'beta'):
      low, high = found.intervals[name]
      hits[name] += low <= TRUTH[name] <= high
    (low,), (high,) = found.interval(far, 'confidence')
    hits['law'] += low <= law_there <= high
    # What two sizes leave open: from E = 0 to a term that is gone beyond the second.
    assert found.intervals['alpha'][0] < 0.1 and found.intervals['alpha'][1] == pytest.approx(3)
    assert low < 2.06 and high > 2.37
  assert hits['alpha'] == hits['law'] == seeds  # whatever the noise, for the ridge has the truth
  assert hits['beta'] >= 14  # of .90, three standard errors: .70


def test_one_cell_gives_no_narrow_number():
  one = {'N': np.full(30, 1e8), 'D': np.full(30, 1e9)}
  loss = 2.9 * np.exp(3e-3 * np.random.default_rng(0).normal(size=30))
  found = fit.fit(CHINCHILLA, one, loss)
  assert found.interval_method == fit.PROFILE
  for name in ('alpha', 'beta'):
    assert found.intervals[name][0] < 0.01 and found.intervals[name][1] > 2.9
  for name in ('E', 'A', 'B'):
    assert found.intervals[name][0] < 0.01 < 2.8 < found.intervals[name][1]
  (low,), (high,) = found.interval({'N': np.array([1e9]), 'D': np.array([1e10])}, 'confidence')
  assert low < 0.01 and high > 2.89
  forced = fit.fit(CHINCHILLA, one, loss, interval='bootstrap', bootstrap=20)
  assert any('too narrow here' in w for w in forced.warnings)


def test_three_sizes_are_resampled():
  three = {'N': np.repeat([1e8, 4e8, 2e9], 12), 'D': np.tile(np.geomspace(1e9, 4e10, 12), 3)}
  loss = CHINCHILLA.predict(TRUTH, three) * np.exp(3e-3 * np.random.default_rng(0).normal(size=36))
  assert fit.fit(CHINCHILLA, three, loss, bootstrap=20).interval_method == fit.BOOTSTRAP


@pytest.mark.parametrize('interval', ['bootstrap', 'profile'])
def test_copies_of_rows_narrow_nothing(interval):
  copied = {name: np.tile(v, 4) for name, v in X.items()}
  one = fit.fit(CHINCHILLA, X, LOSS, objective='mse_log', interval=interval)
  four = fit.fit(CHINCHILLA, copied, np.tile(LOSS, 4), objective='mse_log', interval=interval)
  assert len(np.unique(four.groups)) == 30
  assert any('in one group' in w for w in four.warnings)
  for name, (low, high) in one.intervals.items():
    np.testing.assert_allclose(four.intervals[name], (low, high), rtol=1e-3)
  apart = fit.fit(CHINCHILLA, copied, np.tile(LOSS, 4), groups=np.arange(120), bootstrap=0)
  assert any('several measurements' in w for w in apart.warnings)


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_noiseless_data_have_profiles():
  found = fit.fit(CHINCHILLA, X, CHINCHILLA.predict(TRUTH, X), interval='profile')
  for name, (low, high) in found.intervals.items():
    assert low <= found.params[name] <= high and high / low < 1 + 1e-6
  low, high = found.interval({'N': np.array([1e10]), 'D': np.array([4e11])}, 'confidence')
  assert np.all(high / low < 1 + 1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/chinchilla_epoch'), reason='no reference data')
def test_the_published_test_of_hoffmanns_parameters(tmp_path):
  """chi2(5) 238.4, p = 1.7e-49, around the LAD optimum in (E, ln A, ln B, ..), arXiv 2404.10102."""
  table = pd.read_csv(f'{FOLDER}/chinchilla_epoch/runs.csv').nsmallest(240, 'loss')
  table.to_csv(tmp_path / 'runs.csv')
  done = run(
      'analysis.fit', '--law=chinchilla', f'--data={tmp_path}/runs.csv',
      '--columns=N=`Model Size`,D=`Training FLOP`/(6*`Model Size`)', '--objective=lad_log',
      '--interval=percentile', '--bootstrap=4000', '--level=0.95', f'--out={tmp_path}/fit.json',
      '--test=E=1.6934,A=406.4,B=410.7,alpha=0.3392,beta=0.2849')
  assert done.returncode == 0, done.stderr
  assert 'chi2(5)' in done.stdout
  result, = json.loads((tmp_path / 'fit.json').read_text())['tests']
  assert result['df'] == 5
  assert result['chi2'] == pytest.approx(238.4, rel=0.03)
  assert np.log(result['p']) == pytest.approx(np.log(1.7e-49), rel=0.03)
  found = fit.Fit.load(str(tmp_path / 'fit.json'))
  for name, (low, high) in {'A': (285, 744), 'B': (1042, 5810), 'E': (1.769, 1.871),
                            'alpha': (0.317, 0.373), 'beta': (0.331, 0.415)}.items():
    width = np.log(high / low)
    assert abs(np.log(found.intervals[name][0] / low)) < 0.06 * width
    assert abs(np.log(found.intervals[name][1] / high)) < 0.06 * width
