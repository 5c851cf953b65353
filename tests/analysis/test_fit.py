"""Fits: what they find, what they drop, what they warn of, and how they are saved."""

import json

import numpy as np
import pytest
from scipy import special

from analysis import fit, laws, metrics
from analysis.laws import Law, Parameter
from scaling.errors import InputError
from tests.analysis.law_cases import CASES

CHINCHILLA = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
# A law that is linear in its parameters: its intervals are in every textbook.
LINE = Law(name='line', formula='y = a + b D', source='Legendre 1805', inputs=('D',),
           parameters=(Parameter('a', (0.0, 1.0), (-1e6, 1e6), 'linear'),
                       Parameter('b', (0.0, 1.0), (-1e6, 1e6), 'linear')),
           equation=lambda p, x: p['a'] + p['b'] * x['D'])


def data(sizes=4, budgets=3, noise=0.005, seed=0):
  n, d = np.meshgrid(np.geomspace(5e7, 2e9, sizes), np.geomspace(1e9, 4e10, budgets))
  x = {'N': n.ravel(), 'D': d.ravel()}
  return x, CHINCHILLA.predict(TRUTH, x) * np.exp(
      noise * np.random.default_rng(seed).normal(size=n.size))


def line(count, seed=0):
  random = np.random.default_rng(seed)
  x = np.linspace(1, 5, count)
  y = 2 + 3 * x + random.normal(size=count)
  found = fit.fit(LINE, {'D': x}, y, objective='mse', level=0.9, bootstrap=400)
  return x, y, found


def test_profile_intervals_of_a_linear_law_are_the_textbooks():
  x, y, found = line(5)
  assert found.interval_method == fit.PROFILE
  design = np.stack([np.ones(5), x], 1)
  best, (ssr,), *_ = np.linalg.lstsq(design, y)
  covariance = np.linalg.inv(design.T @ design) * ssr / 3
  t = special.stdtrit(3, 0.95)
  for i, name in enumerate('ab'):
    half = t * np.sqrt(covariance[i, i])
    np.testing.assert_allclose(found.intervals[name], [best[i] - half, best[i] + half], rtol=1e-3)
  at = np.array([1.0, 9.0])
  variance = at @ covariance @ at
  for kind, width in (('confidence', variance), ('prediction', variance + ssr / 3)):
    low, high = found.interval({'D': 9.0}, kind)
    half = t * np.sqrt(width)
    np.testing.assert_allclose([low, high], [at @ best - half, at @ best + half], rtol=1e-3)


def test_bootstrap_of_a_linear_law_is_near_the_textbook():
  x, y, found = line(80)
  assert found.interval_method == fit.BOOTSTRAP
  design = np.stack([np.ones(80), x], 1)
  _, (ssr,), *_ = np.linalg.lstsq(design, y)
  half = special.stdtrit(78, 0.95) * np.sqrt(np.linalg.inv(design.T @ design)[1, 1] * ssr / 78)
  low, high = found.intervals['b']
  assert high - low == pytest.approx(2 * half, rel=0.25)


def test_intervals_of_a_small_study_hold_the_truth_and_say_how_they_were_made():
  x, loss = data()
  found = fit.fit(CHINCHILLA, x, loss, level=0.99)
  assert found.interval_method == 'profile likelihood'
  assert any('fewer than three times' in w for w in found.warnings)
  for name, (low, high) in found.intervals.items():
    assert low < TRUTH[name] < high
  place = {'N': 4e9, 'D': 8e10}
  low, high = found.interval(place, 'prediction')
  inner = found.interval(place, 'confidence')
  assert low < inner[0] < CHINCHILLA.predict(TRUTH, place) < inner[1] < high
  best = found.optimum(1e21)
  truth = CHINCHILLA.best(TRUTH, 1e21)
  assert best['N_low'] < truth['N'] < best['N_high']
  assert best['D_low'] < truth['D'] < best['D_high']


def test_rows_of_one_run_are_one_group():
  """Each run's rows share their noise: intervals must be as wide as for one row a run."""
  x, loss = data(6, 4)
  x = {k: np.repeat(v, 10) for k, v in x.items()}
  many = fit.fit(CHINCHILLA, x, np.repeat(loss, 10), groups=np.repeat(np.arange(24), 10))
  rows = fit.fit(CHINCHILLA, x, np.repeat(loss, 10), groups=np.arange(240))
  width = {f: np.diff(f.intervals['alpha'])[0] for f in (many, rows)}
  assert width[many] > 2 * width[rows]


def test_a_noise_floor_widens_the_intervals():
  x, loss = data(noise=1e-5)
  narrow = fit.fit(CHINCHILLA, x, loss).interval({'N': 4e9, 'D': 8e10})
  wide = fit.fit(CHINCHILLA, x, loss, noise_floor=0.01).interval({'N': 4e9, 'D': 8e10})
  assert wide[1] - wide[0] > 20 * (narrow[1] - narrow[0])


def test_it_comes_back_from_its_file(tmp_path):
  x, loss = data(6, 4)
  for bootstrap, many in ((0, 24), (50, 24), (50, 12)):
    found = fit.fit(CHINCHILLA, {k: v[:many] for k, v in x.items()}, loss[:many],
                    bootstrap=bootstrap, extra={'columns': {'N': 'N'}})
    found.save(str(tmp_path / 'fit.json'))
    again = fit.Fit.load(str(tmp_path / 'fit.json'))
    assert again.params == found.params and again.intervals == found.intervals
    assert again.warnings == found.warnings and again.extra == found.extra
    if bootstrap:
      place = {'N': 4e9, 'D': 8e10}
      np.testing.assert_allclose(again.interval(place), found.interval(place), rtol=1e-6)
  written = json.loads((tmp_path / 'fit.json').read_text())
  assert {'law', 'params', 'intervals', 'interval_method', 'level', 'objective', 'metrics',
          'n_points', 'n_dropped', 'n_groups', 'columns', 'warnings'} <= set(written)
  assert set(written['metrics']) == {'r2', 'mean_relative_error', 'rmse_log'}


@pytest.mark.parametrize('content', ['', '{', '[]', '{"law": "chinchilla"}', '{"law": "x"}',
                                     '{"law": "chinchilla", "points": {"N": "a"}}'])
def test_a_file_that_is_no_fit_is_one_line(tmp_path, content):
  (tmp_path / 'fit.json').write_text(content)
  with pytest.raises(InputError):
    fit.Fit.load(str(tmp_path / 'fit.json'))


def test_unusable_rows_are_dropped_and_counted():
  x, loss = data(6, 4)
  x['N'][0], x['N'][1], x['D'][2], loss[3], loss[4] = np.nan, -1, np.inf, 0, np.nan
  found = fit.fit(CHINCHILLA, x, loss, bootstrap=0)
  assert found.dropped == {'N missing': 1, 'N not positive': 1, 'D infinite': 1,
                           'loss not positive': 1, 'loss missing': 1}
  assert len(found.loss) == 19


def test_warnings():
  x, loss = data(6, 4)

  def warned(inputs, y):
    return ' | '.join(fit.fit(CHINCHILLA, inputs, y, bootstrap=0).warnings)

  assert warned(x, loss) == ''
  assert 'only 1 value of N' in warned({**x, 'N': np.full(24, 1e9)}, loss)
  assert 'duplicate' in warned({k: np.append(v, v[0]) for k, v in x.items()},
                               np.append(loss, loss[0]))
  flat = 2.0 + 1000 * x['N'] ** -0.4  # nothing depends on D
  assert 'parameter B is at its lower bound' in warned(x, flat) or 'beta' in warned(x, flat)
  far = {'N': x['N'] * 1e-5, 'D': x['D']}
  assert 'minimum not bracketed' in warned(far, CHINCHILLA.predict(TRUTH, far))


def test_no_more_groups_than_parameters_gives_no_intervals():
  x, loss = data()
  found = fit.fit(CHINCHILLA, {k: v[[0, 3, 5, 8, 11]] for k, v in x.items()},
                  loss[[0, 3, 5, 8, 11]])
  assert found.interval_method is None and found.intervals == {}
  assert any('no intervals' in w for w in found.warnings)
  with pytest.raises(InputError, match='no intervals'):
    found.interval({'N': 1e9, 'D': 1e10})


@pytest.mark.parametrize('change, said', [
    ({'inputs': {'N': np.ones(3)}}, 'D is missing'),
    ({'inputs': {'N': np.ones(3), 'D': np.ones(4)}}, 'rows of one length'),
    ({'inputs': {'N': ['a'] * 24, 'D': np.ones(24)}}, 'must be numbers'),
    ({'loss': np.full(24, np.nan)}, '24 rows were dropped'),
    ({'objective': 'l2'}, 'huber_log'), ({'huber_delta': 0.0}, 'positive'),
    ({'level': 1.0}, 'between 0 and 1'), ({'bootstrap': 3}, 'bootstrap'),
    ({'noise_floor': -1.0}, '>= 0'), ({'groups': np.ones(2)}, 'groups')])
def test_bad_input_is_one_line(change, said):
  x, loss = data(6, 4)
  given = {'inputs': x, 'loss': loss} | change
  with pytest.raises(InputError, match=said) as error:
    fit.fit(CHINCHILLA, given.pop('inputs'), given.pop('loss'), **given)
  assert '\n' not in str(error.value)


def test_metrics():
  actual, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.1, 2.0, 4.0])
  assert metrics.r2(actual, predicted) == pytest.approx(1 - 0.01 / (14 / 3))
  assert metrics.mean_relative_error(actual, predicted) == pytest.approx(0.1 / 3)
  assert metrics.rmse_log(actual, predicted) == pytest.approx(np.log(1.1) / np.sqrt(3))
  assert metrics.all_of(np.ones(2), np.ones(2))['r2'] is None


def test_a_law_with_every_parameter_held_is_evaluated():
  law, case = laws.get('chinchilla'), CASES['chinchilla']
  exact = law.predict(case.truth, case.inputs)
  found = fit.fit(laws.fix(law, case.truth), case.inputs, exact)
  assert found.params == {} and found.value == 0 and found.metrics['r2'] == 1
  assert found.warnings == ['every parameter is held: nothing was fitted']
  np.testing.assert_array_equal(found.predict(case.inputs), exact)
