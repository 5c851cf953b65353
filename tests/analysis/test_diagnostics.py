"""Each warning appears where it should, and only there."""

import numpy as np
import pytest

from analysis import fit, laws
from analysis.fitting import diagnostics, objectives
from analysis.fitting.coordinates import Coordinates
from analysis.laws import Law, Parameter
from scaling.errors import InputError

CHINCHILLA = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 2e9, 4), np.geomspace(1e9, 4e10, 4)))
X = {'N': N, 'D': D}


def parts(x, params=TRUTH, law=CHINCHILLA):
  loss = law.predict(params, x)
  coordinates = Coordinates.of(law, x, loss)
  return (law, coordinates.internal(params), objectives.problem(law, coordinates, True, x, loss),
          True)


def test_a_good_grid_warns_of_nothing():
  assert diagnostics.identified(*parts(X)) == []
  assert diagnostics.coverage_of(X) == [] and diagnostics.bracketed(CHINCHILLA, TRUTH, X) == []


def test_parameters_that_the_data_hardly_tell_apart():
  near = {'N': np.geomspace(1e9, 1.02e9, 16), 'D': D}  # one power of N is like another
  said, = diagnostics.identified(*parts(near))
  assert 'hardly identified apart' in said and 'condition' in said


def test_a_parameter_that_does_nothing():
  law = Law(name='idle', formula='', source='', inputs=('D',),
            parameters=(Parameter('a', (1.0,)), Parameter('b', (1.0,))),
            equation=lambda p, x: p['a'] + 0.0 * p['b'] * x['D'])
  said, = diagnostics.identified(*parts({'D': D}, {'a': 2.0, 'b': 1.0}, law))
  assert said.startswith('parameter b is not identified')


def test_too_few_sizes_and_budgets():
  assert 'only 2 values of N' in diagnostics.coverage_of({'N': np.tile([1e8, 1e9], 8), 'D': D})[0]
  size = np.geomspace(1e8, 1e9, 8)
  said, = diagnostics.coverage_of({'N': size, 'D': 1e19 / 6 / size})
  assert 'only 1 budget C' in said


def test_bounds_are_named():
  coordinates = Coordinates.of(CHINCHILLA, X, CHINCHILLA.predict(TRUTH, X))
  lower, upper = coordinates.bounds()
  u = coordinates.internal(TRUTH)
  assert diagnostics.at_bounds(CHINCHILLA, coordinates, u) == []
  u[0], u[3] = lower[0], upper[3]
  said = diagnostics.at_bounds(CHINCHILLA, coordinates, u)
  assert 'E is at its lower bound' in said[0] and 'alpha is at its upper bound' in said[1]


def test_an_extrapolation_by_more_than_ten():
  assert diagnostics.far(X, {'N': np.array([1.9e10]), 'D': D}) == []
  said, = diagnostics.far(X, {'N': np.array([2.1e10]), 'D': D})
  assert 'N is extrapolated by a factor of 10.5' in said


def test_an_optimum_outside_the_data():
  above = {'N': N * 1e-4, 'D': D}
  assert 'above the largest' in diagnostics.bracketed(CHINCHILLA, TRUTH, above)[0]
  assert 'below the smallest' in diagnostics.bracketed(CHINCHILLA, TRUTH, {'N': N * 1e5, 'D': D})[0]


def test_duplicates_and_dropped_rows_are_counted():
  assert diagnostics.duplicates({'D': np.array([1.0, 1.0, 2.0])}, np.array([3.0, 3.0, 3.0]),
                                np.arange(3))
  assert not diagnostics.duplicates({'D': np.array([1.0, 1.0])}, np.array([3.0, 3.1]),
                                    np.arange(2))
  with pytest.raises(InputError, match=r'16 rows were dropped: D missing: 1, N not positive: 15'):
    fit.fit(CHINCHILLA, {'N': -N, 'D': np.append(np.nan, D[1:])}, np.ones(16))


def test_a_flat_profile_is_told():
  """Three sizes so close that no power can be read from them."""
  x = {'N': np.tile([1.0e9, 1.01e9, 1.02e9], 4), 'D': np.repeat(np.geomspace(1e9, 4e10, 4), 3)}
  loss = CHINCHILLA.predict(TRUTH, x) * np.exp(5e-3 * np.random.default_rng(0).normal(size=12))
  assert any('its profile is flat' in w for w in fit.fit(CHINCHILLA, x, loss).warnings)
