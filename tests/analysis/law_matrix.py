"""What holds of every law: recovery, gradients, units. Two test files share the laws out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import fit
from tests.analysis.law_cases import CASES

MIXTURES = tuple(name for name in CASES if name.startswith(('dcpt', 'mixing')))
# Fits of laws that differ from dcpt or a vocabulary law by a term, or whose command's tests recover
# the truth (weighted_parameters: test_sparse.py); their values and gradients are quick.
SLOW = ('dcpt_cross', 'dcpt_cross_k1', 'dcpt_cross_k2', 'dcpt_l1', 'dcpt_l4', 'dcpt_monotone',
        'vocabulary_bits', 'vocabulary_rows', 'weighted_parameters')
# In other units these as well: kaplan_steps, critical_batch and repetition are fitted in them.
SLOW_UNITS = (*SLOW, 'trajectory', 'repetition_geometric')

# A program that runs ten times compiles for longer than it computes.
QUICK = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}


def fitted(names, slow=SLOW):
  """Names as parameters of a test that fits, the long ones marked."""
  return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


def recovers(name, objective=None):
  """Every parameter from data without noise, also those that noise would hide."""
  case = CASES[name]
  law, inputs = case.of(name), case.inputs
  exact = law.predict(case.truth, inputs)
  found = fit.fit(law, inputs, exact, objective=objective, bootstrap=0)
  assert found.params == pytest.approx(case.truth, rel=1e-3)
  np.testing.assert_allclose(found.predict(inputs), exact, rtol=1e-6)


def gradients_are_finite_differences(name):
  case = CASES[name]
  _compare(case.of(name), case.truth, case.inputs, 1e-6)


def edges_are_smooth(name):
  """Finite values and derivatives to second order; the first are those of finite differences."""
  case = CASES[name]
  _compare(case.of(name), {**case.truth, **case.edge_truth}, case.edges, 1e-4, second=True)


def units_change_only_coefficients(name):
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
  np.testing.assert_allclose(scaled.predict(scaled_inputs) / unit, raw.predict(inputs), rtol=1e-6)
  for parameter in law.parameters:
    if not parameter.units:
      assert scaled.params[parameter.name] == pytest.approx(raw.params[parameter.name], rel=1e-4)


def _compare(law, truth, inputs, tolerance, second=False):
  """The gradient of the values' sum against differences; `second`: all derivatives are finite."""
  inputs = {k: np.asarray(v, np.float64) for k, v in inputs.items()}

  def total(params):
    return jnp.sum(law.equation(params, inputs))

  def derivatives(params):
    first = jax.jacfwd(lambda p: law.equation(p, inputs))(params)
    return first, jax.jacfwd(jax.grad(total))(params)

  with jax.enable_x64(True):
    params = {k: np.float64(v) for k, v in truth.items()}
    if second:
      found = law.equation(params, inputs), jax.jit(derivatives, compiler_options=QUICK)(params)
      assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
    # One program for the sum and its gradient.
    both = jax.jit(jax.value_and_grad(total), compiler_options=QUICK)
    value, gradient = both(params)
    size = abs(float(value))
    for key, value in params.items():
      step = 1e-5 * abs(value) or 1.0  # zero is a count of parameters or tokens here
      ends = [float(both({**params, key: value + k * step})[0]) for k in (-2, -1, 1, 2)]
      slope = np.dot([1, -8, 8, -1], ends) / 12 / step
      assert float(gradient[key]) == pytest.approx(slope, rel=tolerance, abs=1e-14 * size / step)
