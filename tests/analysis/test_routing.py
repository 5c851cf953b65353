"""The routing law: its dense limit, saturation, effective parameters, and the unit of N."""

import numpy as np
import pytest

from analysis import fit, laws
from analysis.laws import routing
from tests.analysis.law_cases import CASES

LAW, CASE = laws.get('routing'), CASES['routing']


def test_experts_saturate_between_start_and_maximum():
  assert float(routing.saturated(CASE.truth, 1.0)) == pytest.approx(1.8)
  assert float(routing.saturated(CASE.truth, 1e12)) == pytest.approx(280.0)


def test_effective_parameters_are_those_of_a_dense_model_of_the_same_loss():
  for n, experts in ((5e7, 64.0), (1.3e9, 8.0), (1e9, 1.0)):
    dense = float(routing.effective_parameters(CASE.truth, n, experts))
    assert LAW.predict(CASE.truth, {'N': dense, 'experts': 1.0}) == pytest.approx(
        LAW.predict(CASE.truth, {'N': n, 'experts': experts}), rel=1e-5)
    assert dense > n if experts > 1 else dense == pytest.approx(n, rel=1e-4)


def test_experts_stop_helping_at_the_cutoff():
  n = routing.cutoff(CASE.truth)
  losses = LAW.predict(CASE.truth, {'N': n, 'experts': np.array([1.0, 8.0, 512.0])})
  assert np.ptp(losses) < 1e-9


def test_the_unit_of_parameters_does_not_matter():
  loss = LAW.predict(CASE.truth, CASE.inputs) * np.exp(
      0.01 * np.random.default_rng(0).normal(size=60))
  raw = fit.fit(LAW, CASE.inputs, loss, bootstrap=0)
  millions = CASE.inputs | {'N': CASE.inputs['N'] / 1e6}
  scaled = fit.fit(LAW, millions, loss, bootstrap=0)
  np.testing.assert_allclose(scaled.predict(millions), raw.predict(CASE.inputs), rtol=1e-6)
  for name in ('a', 'c', 'Es', 'Em'):
    assert scaled.params[name] == pytest.approx(raw.params[name], rel=1e-4)
