"""Kaplan's laws against the paper's own numbers, calculus and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from analysis import laws
from analysis.laws import critical_batch, learning_curves, trajectory

JOINT = {'N_c': 6.4e13, 'D_c': 1.8e13, 'alpha_N': 0.076, 'alpha_D': 0.103}  # eq 1.5, table 2
RUN = {'N_c': 6.5e13, 'S_c': 2.1e3, 'B_star': 2.1e8, 'alpha_N': 0.077, 'alpha_S': 0.76,
       'alpha_B': 0.21}  # eq 1.6, table 3
PF_DAYS = 8.64e19


def test_the_joint_law_becomes_each_power_law_where_the_other_input_is_endless():
  law = laws.get('kaplan')
  n, d = np.geomspace(1e6, 1e9, 5), np.geomspace(1e7, 1e10, 5)
  np.testing.assert_allclose(law.predict(JOINT, {'N': n, 'D': 1e300}),
                             laws.get('kaplan_n').predict(
                                 {'N_c': 6.4e13, 'alpha_N': 0.076}, {'N': n}), rtol=1e-12)
  np.testing.assert_allclose(law.predict(JOINT, {'N': 1e300, 'D': d}),
                             laws.get('kaplan_d').predict(
                                 {'D_c': 1.8e13, 'alpha_D': 0.103}, {'D': d}), rtol=1e-12)


def test_data_against_overfitting():
  """Eq 4.4: D of 5e3 N^.74 keeps the loss within 2 % of its limit."""
  n = np.geomspace(1e6, 1e9, 4)
  law = laws.get('kaplan')
  excess = law.predict(JOINT, {'N': n, 'D': 5e3 * n**0.74}) / law.predict(
      JOINT, {'N': n, 'D': 1e300}) - 1
  np.testing.assert_allclose(excess, 0.02, atol=0.005)


@pytest.mark.parametrize('flops', [1e15, 1e20, 1e26])
def test_the_joint_laws_optimum_is_where_the_loss_is_least(flops):
  law = laws.get('kaplan')
  best = law.best(JOINT, flops)
  assert 6 * best['N'] * best['D'] == pytest.approx(flops)
  found = optimize.minimize_scalar(
      lambda z: float(law.predict(JOINT, {'N': np.exp(z), 'D': flops / 6 / np.exp(z)})),
      bounds=(np.log(best['N']) - 3, np.log(best['N']) + 3), method='bounded',
      options={'xatol': 1e-10})
  assert found.x == pytest.approx(np.log(best['N']), abs=1e-5)


def test_critical_batch_at_losses_of_three_and_two():
  law = laws.get('critical_batch')
  found = law.predict({'B_star': 2.1e8, 'alpha_B': 0.21}, {'L': np.array([3.0, 2.0])})
  np.testing.assert_allclose(found, [1.12e6, 7.74e6], rtol=3e-3)


def test_conversions_agree_with_the_hyperbola():
  """(S / S_min - 1) (E / E_min - 1) = 1, B_crit = E_min / S_min, and C follows E."""
  batch, critical, least = np.geomspace(1e3, 1e9, 7), 1e6, 5e4
  contour = laws.get('batch_contour')
  steps = contour.predict({'S_min': least, 'E_min': least * critical}, {'B': batch})
  tokens = steps * batch
  np.testing.assert_allclose((steps / least - 1) * (tokens / least / critical - 1), 1, rtol=1e-12)
  np.testing.assert_allclose(critical_batch.least_steps(steps, batch, critical), least)
  np.testing.assert_allclose(critical_batch.least_tokens(tokens, batch, critical), least * critical)
  np.testing.assert_allclose(critical_batch.least_compute(6e8 * tokens, batch, critical),
                             6e8 * least * critical)


def test_the_exponent_of_compute():
  """Eq 6.3; LAWS' .052, and the shares of compute sum to one."""
  assert critical_batch.alpha_c(RUN) == pytest.approx(0.052, abs=5e-4)
  powers = critical_batch.compute_exponents(RUN)
  assert powers['N'] + powers['B'] + powers['S'] == pytest.approx(1)
  assert powers['D'] == pytest.approx(1 - powers['N'])
  # Their fits to runs: N C^.73, B C^.24, S C^.03, D C^.27; from the exponents somewhat less for N.
  assert powers['N'] == pytest.approx(0.71, abs=0.04)
  assert powers['B'] == pytest.approx(0.24, abs=0.02)


def test_compute_optimal_training_is_the_cheapest_way_to_its_loss():
  flops = np.array([1e-3, 1.0]) * PF_DAYS
  best = critical_batch.compute_optimal(RUN, flops)
  law = laws.get('kaplan_steps')
  steps = {k: RUN[k] for k in law.names}
  np.testing.assert_allclose(law.predict(steps, best), best['loss'], rtol=1e-12)
  np.testing.assert_allclose(6 * best['N'] * best['B'] * best['S_min'], flops, rtol=1e-10)
  np.testing.assert_allclose(best['B'], critical_batch.batch(RUN, best['loss']), rtol=1e-12)
  converged = laws.get('kaplan_n').predict({k: RUN[k] for k in ('N_c', 'alpha_N')}, best)
  np.testing.assert_allclose(best['loss'] / converged, 1 + 0.077 / 0.76, rtol=1e-12)  # ~10 %
  for shift in (0.9, 1.1):  # another size at the same C_min = 6 N S_min B_crit(L) loses more
    n = best['N'] * shift
    for i in range(2):
      def over(z, n=n, i=i):
        loss = float(law.predict(steps, {'N': n[i], 'S_min': np.exp(z)}))
        return np.log(6 * n[i] * float(critical_batch.batch(RUN, loss)) / flops[i]) + z
      z = optimize.brentq(over, 0, 40)
      assert law.predict(steps, {'N': n[i], 'S_min': np.exp(z)}) > best['loss'][i]
  slope = np.diff(np.log(best['loss'])) / np.diff(np.log(flops))
  assert -slope[0] == pytest.approx(critical_batch.alpha_c(RUN), rel=1e-9)


def test_trajectory_is_the_root_that_brentq_finds():
  random = np.random.default_rng(0)
  x = {'N': 10**random.uniform(3, 13, 500), 'S': 10**random.uniform(0, 9, 500),
       'B': 10**random.uniform(0, 12, 500)}
  found = laws.get('trajectory').predict(RUN, x)

  def excess(z, i):
    size = RUN['alpha_N'] * np.log(RUN['N_c'] / x['N'][i])
    waste = np.logaddexp(0, np.log(RUN['B_star'] / x['B'][i]) - z / RUN['alpha_B'])
    return z - np.logaddexp(size, RUN['alpha_S'] * (np.log(RUN['S_c'] / x['S'][i]) + waste))

  exact = [np.exp(optimize.brentq(excess, -50, 50, args=(i,), xtol=1e-15)) for i in range(500)]
  np.testing.assert_allclose(found, exact, rtol=1e-14)


@pytest.mark.parametrize('law, truth, inputs', [
    (trajectory.LAW, RUN, {'N': [1e6, 1e9, 1e3], 'S': [1e3, 1e5, 1.0], 'B': [1e4, 1e6, 1e12]}),
    (laws.get('m4'), {'e': 0.5, 'e0': 6.0, 'b': 30.0, 'c': -0.3, 'a': 0.6}, {'x': [1e2, 1e6, 1e9]}),
    (laws.get('m4'), {'e': 0.5, 'e0': 6.0, 'b': 30.0, 'c': -0.3, 'a': 2.5}, {'x': [1e2, 1e6, 1e9]}),
])
def test_implicit_laws_have_exact_second_derivatives(law, truth, inputs):
  """Forward over reverse, as the solver takes them, against differences of the gradient."""
  with jax.enable_x64(True):
    x = {k: jnp.array(v) for k, v in inputs.items()}
    values = jnp.array([truth[k] for k in law.names])

    def total(u):
      return jnp.sum(jnp.log(law.equation(dict(zip(law.names, values * jnp.exp(u))), x)))

    zero = jnp.zeros(len(values))
    second = jax.jit(jax.jacfwd(jax.grad(total)))(zero)
    gradient = jax.jit(jax.grad(total))
    step = 1e-5
    columns = [(gradient(zero.at[i].set(step)) - gradient(zero.at[i].set(-step))) / 2 / step
               for i in range(len(values))]
    np.testing.assert_allclose(second, np.stack(columns, 1), rtol=1e-6,
                               atol=1e-7 * float(jnp.max(jnp.abs(second))))


@pytest.mark.parametrize('a', [1e-3, 0.2, 1.0, 3.0, 10.0])
def test_m4_solves_its_equation(a):
  p = {'e': 1.5, 'e0': 9.0, 'b': 50.0, 'c': -0.3, 'a': a}
  x = 10 ** np.linspace(-3, 15, 200)
  with jax.enable_x64(True):
    y = np.asarray(learning_curves.m4(p, {'x': x}))
  assert np.all(np.diff(y) <= 0) and np.all((y >= 1.5) & (y <= 9.0))
  inside = (y > 1.5 + 1e-3) & (y < 9.0 - 1e-3)
  assert inside.sum() > 20
  np.testing.assert_allclose((y - 1.5)[inside] / (9 - y)[inside]**a, 50 * x[inside]**-0.3,
                             rtol=1e-10)


def test_units_follow_an_exponent_that_is_held_or_tied():
  law = laws.get('kaplan')
  assert laws.fix(law, {'alpha_N': 0.076}).parameters[0].units == (('N', 1.0), ('loss', 1 / 0.076))
  assert laws.tie(law, {'alpha_N': 'alpha_D'}).parameters[0].units == (
      ('N', 1.0), ('loss', '1/alpha_D'))
  m1 = laws.fix(laws.get('m1'), {'c': -0.2})
  assert m1.parameters[0].units == (('loss', 1.0), ('x', 0.2))
