"""One matrix over every law: recovery, gradients, units; and what is particular to some."""

import dataclasses

import jax
import numpy as np
import pytest

from analysis import fit, laws
from analysis.laws import chinchilla
from scaling.errors import InputError

# Per law: true parameters, and inputs on its paper's kind of grid.
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 1e10, 7), np.geomspace(1e9, 3e11, 6)))
CASES = {'chinchilla': ({'E': 1.82, 'A': 480.0, 'B': 2085.0, 'alpha': 0.348, 'beta': 0.366},
                        {'N': N, 'D': D})}


def test_every_law_is_in_the_matrix():
  assert set(CASES) == set(laws.names())


@pytest.mark.parametrize('name', laws.names())
@pytest.mark.parametrize('objective', ['huber_log', 'lad_log', 'mse_log', 'huber', 'mse'])
def test_recovers_its_parameters_from_noiseless_data(name, objective):
  law, (truth, inputs) = laws.get(name), CASES[name]
  found = fit.fit(law, inputs, law.predict(truth, inputs), objective=objective, bootstrap=0)
  for parameter in law.parameters:
    if not parameter.weak:
      assert found.params[parameter.name] == pytest.approx(truth[parameter.name], rel=1e-3)
  np.testing.assert_allclose(found.predict(inputs), law.predict(truth, inputs), rtol=1e-6)


@pytest.mark.parametrize('name', laws.names())
def test_gradients_agree_with_finite_differences(name):
  law, (truth, inputs) = laws.get(name), CASES[name]
  with jax.enable_x64(True):
    def total(params):
      return law.equation(params, inputs).sum()

    gradient = jax.grad(total)({k: np.float64(v) for k, v in truth.items()})
    for key, value in truth.items():
      step = 1e-6 * value
      slope = (total({**truth, key: value + step}) - total({**truth, key: value - step})) / 2 / step
      assert float(gradient[key]) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize('name', laws.names())
def test_a_change_of_units_changes_only_the_coefficients(name):
  law, (truth, inputs) = laws.get(name), CASES[name]
  noise = np.exp(0.01 * np.random.default_rng(0).normal(size=len(inputs['N'])))
  loss = law.predict(truth, inputs) * noise
  raw = fit.fit(law, inputs, loss, bootstrap=0)
  scaled = fit.fit(law, {k: v / 1e9 for k, v in inputs.items()}, loss / np.log(2), bootstrap=0)
  assert scaled.value == pytest.approx(raw.value, rel=1e-9)
  np.testing.assert_allclose(scaled.predict({k: v / 1e9 for k, v in inputs.items()}) * np.log(2),
                             raw.predict(inputs), rtol=1e-7)
  for parameter in law.parameters:
    if not parameter.units:
      assert scaled.params[parameter.name] == pytest.approx(raw.params[parameter.name], rel=1e-5)


@pytest.mark.parametrize('name', laws.names())
def test_says_where_it_comes_from(name):
  law = laws.get(name)
  assert law.source and law.formula and len(set(law.names)) == len(law.names)
  powers = {p for parameter in law.parameters for _, p in parameter.units if isinstance(p, str)}
  linear = {p.name for p in law.parameters if p.scale == 'linear' and not p.units}
  assert powers <= linear


def test_unknown_law_lists_the_known_ones():
  with pytest.raises(InputError, match='chinchilla'):
    laws.get('chinchila')


def test_hoffmann_optimum_at_the_budget_of_gopher():
  """59 tokens a parameter with the unrounded coefficients, 93 with the rounded ones."""
  unrounded = {'E': 1.69337368, 'A': 406.401018, 'B': 410.722827, 'alpha': 0.33917084,
               'beta': 0.2849083}
  rounded = {'E': 1.69, 'A': 406.4, 'B': 410.7, 'alpha': 0.34, 'beta': 0.28}
  law = laws.get('chinchilla')
  for params, ratio in ((unrounded, 59), (rounded, 93)):
    best = law.best(params, 5.76e23)
    assert best['D'] / best['N'] == pytest.approx(ratio, abs=0.6)
    assert 6 * best['N'] * best['D'] == pytest.approx(5.76e23)


def test_the_optimum_is_a_minimum():
  law, params = laws.get('chinchilla'), CASES['chinchilla'][0]
  n = float(law.best(params, 1e21)['N'])
  beside = law.predict(params, {'N': n * np.array([0.99, 1, 1.01]),
                                'D': 1e21 / 6 / n / np.array([0.99, 1, 1.01])})
  assert beside.argmin() == 1


def test_hoffmann_starts_are_the_papers_4500():
  assert np.prod([len(v) for v in chinchilla.HOFFMANN_STARTS.values()]) == 4500


@pytest.mark.parametrize('inputs', [{'N': 1e9}, {'N': 0.0, 'D': 1e9}, {'N': 1e9, 'D': np.nan},
                                    {'N': 'many', 'D': 1e9}, {'N': [1e9, 2e9], 'D': [1, 2, 3]}])
def test_bad_inputs_are_one_line(inputs):
  with pytest.raises(InputError) as error:
    laws.get('chinchilla').predict(CASES['chinchilla'][0], inputs)
  assert '\n' not in str(error.value)


def test_a_law_without_an_optimum_says_so():
  law = dataclasses.replace(laws.get('chinchilla'), optimum=None)
  with pytest.raises(InputError, match='no compute optimum'):
    law.best(CASES['chinchilla'][0], 1e21)
