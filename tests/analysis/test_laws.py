"""The matrix over the laws that are not of mixtures (those: test_laws_of_mixtures.py)."""

import pytest

from analysis import laws
from analysis.laws.law import powers_of
from tests.analysis import law_matrix
from tests.analysis.law_cases import CASES

NAMES = sorted(set(CASES) - set(law_matrix.MIXTURES))


def test_every_law_is_in_the_matrix():
  assert set(laws.names()) == {name for name, case in CASES.items() if case.law is None}


@pytest.mark.parametrize('name', law_matrix.fitted(NAMES))
def test_recovers_its_parameters_from_noiseless_data(name):
  law_matrix.recovers(name)


@pytest.mark.parametrize('name', law_matrix.fitted(NAMES, law_matrix.SLOW_UNITS))
def test_a_change_of_units_changes_only_the_coefficients(name):
  law_matrix.units_change_only_coefficients(name)


@pytest.mark.parametrize('name', NAMES)
def test_gradients_agree_with_finite_differences(name):
  law_matrix.gradients_are_finite_differences(name)


@pytest.mark.parametrize('name', [n for n in NAMES if CASES[n].edges])
def test_smooth_at_the_edges(name):
  law_matrix.edges_are_smooth(name)


@pytest.mark.parametrize('name', sorted(CASES))
def test_says_where_it_comes_from(name):
  law = CASES[name].of(name)
  assert set(law.linear) <= {p.name for p in law.parameters if p.scale == 'log'}
  assert law.source and law.formula and len(set(law.names)) == len(law.names)
  powers = {name for parameter in law.parameters for _, p in parameter.units
            if isinstance(p, str) for name in powers_of(p)}
  linear = {p.name for p in law.parameters if p.scale == 'linear' and not p.units}
  assert powers <= linear
