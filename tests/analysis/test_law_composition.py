"""Laws fixed, tied, of other inputs and with weights; their optimum, and one-line errors."""

import dataclasses

import numpy as np
import pytest

from analysis import fit, laws
from analysis.fitting import objectives
from analysis.laws import chinchilla
from scaling.errors import InputError
from tests.analysis import law_matrix
from tests.analysis.law_cases import CASES


@pytest.mark.parametrize('objective', objectives.NAMES)
def test_recovery_under_every_objective(objective):
  law_matrix.recovers('chinchilla', objective)


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
                                   lambda law: laws.fix(law, {'alpha': -5.0}),
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
