"""One matrix over every law: recovery, gradients, units; and what is particular to some."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import fit, laws
from analysis.fitting import objectives
from analysis.laws import chinchilla
from analysis.laws.law import powers_of
from scaling.errors import InputError
from tests.analysis.law_cases import CASES

NAMES = sorted(CASES)


def test_every_law_is_in_the_matrix():
  assert set(laws.names()) == {name for name, case in CASES.items() if case.law is None}


def recovers(name, objective=None):
  case = CASES[name]
  law, inputs = case.of(name), case.inputs
  exact = law.predict(case.truth, inputs)
  found = fit.fit(law, inputs, exact, objective=objective, bootstrap=0)
  for parameter in law.parameters:
    if not parameter.weak:
      assert found.params[parameter.name] == pytest.approx(case.truth[parameter.name], rel=1e-3)
  np.testing.assert_allclose(found.predict(inputs), exact, rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_recovers_its_parameters_from_noiseless_data(name):
  recovers(name)


@pytest.mark.parametrize('objective', objectives.NAMES)
def test_recovery_under_every_objective(objective):
  recovers('chinchilla', objective)


@pytest.mark.parametrize('name', NAMES)
def test_gradients_agree_with_finite_differences(name):
  case = CASES[name]
  law = case.of(name)
  with jax.enable_x64(True):
    total = jax.jit(lambda params: jnp.sum(law.equation(params, case.inputs)))
    gradient = jax.grad(total)({k: np.float64(v) for k, v in case.truth.items()})
    size = abs(float(total(case.truth)))
    for key, value in case.truth.items():
      step = 1e-5 * abs(value)
      ends = [float(total({**case.truth, key: value + k * step})) for k in (-2, -1, 1, 2)]
      slope = np.dot([1, -8, 8, -1], ends) / 12 / step
      assert float(gradient[key]) == pytest.approx(slope, rel=1e-6, abs=1e-9 * size / abs(value))


@pytest.mark.parametrize('name', [n for n in NAMES if CASES[n].edges])
def test_finite_with_finite_gradients_at_the_edges(name):
  case = CASES[name]
  law = case.of(name)
  with jax.enable_x64(True):
    params = {k: np.float64(v) for k, v in case.truth.items()}
    inputs = {k: np.asarray(v, np.float64) for k, v in case.edges.items()}
    assert np.all(np.isfinite(law.equation(params, inputs)))
    for values in jax.jacfwd(lambda p: law.equation(p, inputs))(params).values():
      assert np.all(np.isfinite(values))
    second = jax.jacfwd(jax.grad(lambda p: jnp.sum(law.equation(p, inputs))))(params)
    assert all(np.all(np.isfinite(v)) for row in second.values() for v in row.values())


@pytest.mark.parametrize('name', NAMES)
def test_a_change_of_units_changes_only_the_coefficients(name):
  case = CASES[name]
  law, inputs = case.of(name), case.inputs
  exact = law.predict(case.truth, inputs)
  noise = 0.01 * np.random.default_rng(0).normal(size=exact.shape)
  loss = exact * np.exp(noise) if law.objective[0].endswith('_log') else exact * (1 + noise)
  factors = {k: 1e-9 if k in case.units(name) else 1.0 for k in inputs}
  scaled_inputs = {k: v * factors[k] for k, v in inputs.items()}
  unit = 1 / np.log(2) if case.loss_scaled else 1.0
  raw = fit.fit(law, inputs, loss, bootstrap=0)
  scaled = fit.fit(law, scaled_inputs, loss * unit, bootstrap=0)
  assert scaled.value == pytest.approx(raw.value, rel=1e-6)
  tolerance = 1e-3 if any(p.weak for p in law.parameters) else 1e-6
  np.testing.assert_allclose(scaled.predict(scaled_inputs) / unit, raw.predict(inputs),
                             rtol=tolerance)
  for parameter in law.parameters:
    if not parameter.units and not parameter.weak:
      assert scaled.params[parameter.name] == pytest.approx(raw.params[parameter.name], rel=1e-4)


@pytest.mark.parametrize('name', NAMES)
def test_says_where_it_comes_from(name):
  law = CASES[name].of(name)
  assert set(law.linear) <= {p.name for p in law.parameters if p.scale == 'log'}
  assert law.source and law.formula and len(set(law.names)) == len(law.names)
  powers = {name for parameter in law.parameters for _, p in parameter.units
            if isinstance(p, str) for name in powers_of(p)}
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
  law, params = laws.get('chinchilla'), CASES['chinchilla'].truth
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
    laws.get('chinchilla').predict(CASES['chinchilla'].truth, inputs)
  assert '\n' not in str(error.value)


def test_a_law_without_an_optimum_says_so():
  law = dataclasses.replace(laws.get('chinchilla'), optimum=None)
  with pytest.raises(InputError, match='no compute optimum'):
    law.best(CASES['chinchilla'].truth, 1e21)


def test_a_tied_and_fixed_law_is_the_law_with_these_values():
  truth, inputs = CASES['chinchilla'].truth, CASES['chinchilla'].inputs
  tied = laws.tie(laws.get('chinchilla'), {'beta': 'alpha'})
  law = laws.fix(tied, {'alpha': 0.35})
  assert law.names == ('E', 'A', 'B') and dict(law.fixed) == {'alpha': 0.35}
  params = {name: truth[name] for name in law.names}
  whole = {**truth, 'alpha': 0.35, 'beta': 0.35}
  np.testing.assert_array_equal(law.predict(params, inputs),
                                laws.get('chinchilla').predict(whole, inputs))
  assert law.best(params, 1e21)['N'] == laws.get('chinchilla').best(whole, 1e21)['N']
  loss = law.predict(params, inputs)
  found = fit.fit(law, inputs, loss, bootstrap=0)
  assert found.params == pytest.approx(params, rel=1e-6)
  assert fit.fit(tied, inputs, loss, bootstrap=0).params['alpha'] == pytest.approx(0.35, rel=1e-6)


def test_a_restricted_law_comes_back_from_its_file(tmp_path):
  case = CASES['chinchilla']
  law = laws.fix(laws.tie(laws.get('chinchilla'), {'beta': 'alpha'}), {'E': 1.8})
  exact = laws.get('chinchilla').predict(case.truth, case.inputs)
  noise = np.exp(0.01 * np.random.default_rng(0).normal(size=exact.shape))
  found = fit.fit(law, case.inputs, exact * noise, bootstrap=20)
  found.save(str(tmp_path / 'fit.json'))
  again = fit.Fit.load(str(tmp_path / 'fit.json'))
  assert again.law.names == law.names and again.params == found.params
  np.testing.assert_allclose(again.interval(case.inputs), found.interval(case.inputs),
                             rtol=1e-5)


@pytest.mark.parametrize('wrong', [lambda law: laws.fix(law, {'Z': 1.0}),
                                   lambda law: laws.fix(law, {'A': -1.0}),
                                   lambda law: laws.tie(law, {'beta': 'Z'}),
                                   lambda law: laws.tie(law, {'beta': 'beta'})])
def test_wrong_restrictions_are_one_line(wrong):
  with pytest.raises(InputError) as error:
    wrong(laws.get('chinchilla'))
  assert '\n' not in str(error.value)


def test_a_law_of_other_inputs_is_the_law_at_those_inputs():
  base, case = laws.get('chinchilla'), CASES['chinchilla']
  law = laws.of_inputs(base, 'ratio', ('N', 'M'), lambda p, x: {'N': x['N'], 'D': x['M'] * x['N']},
                       units={'D': 'M'})
  inputs = {'N': case.inputs['N'], 'M': case.inputs['D'] / case.inputs['N']}
  exact = base.predict(case.truth, case.inputs)
  np.testing.assert_allclose(law.predict(case.truth, inputs), exact, rtol=1e-14)
  found = fit.fit(law, inputs, exact, bootstrap=0)
  assert found.params == pytest.approx(case.truth, rel=1e-3)


def test_weights_count_rows():
  """A row of weight three is three rows."""
  case = CASES['chinchilla']
  law = laws.get('chinchilla')
  loss = law.predict(case.truth, case.inputs)
  loss = loss * np.exp(0.01 * np.random.default_rng(1).normal(size=loss.shape))
  counts = np.random.default_rng(2).integers(1, 4, loss.size)
  repeated = {k: np.repeat(v, counts) for k, v in case.inputs.items()}
  for objective in ('huber_log', 'lad_log', 'mse'):
    once = fit.fit(law, case.inputs, loss, weights=counts, objective=objective, bootstrap=0)
    often = fit.fit(law, repeated, np.repeat(loss, counts), objective=objective, bootstrap=0)
    assert once.value == pytest.approx(often.value, rel=1e-9)
    assert once.params == pytest.approx(often.params, rel=1e-5)
