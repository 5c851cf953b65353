"""The matrix over the laws of mixtures; the other laws are in test_laws.py."""

import pytest

from tests.analysis import law_matrix
from tests.analysis.law_cases import CASES

NAMES = sorted(law_matrix.MIXTURES)


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
