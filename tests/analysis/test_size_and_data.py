"""Laws of N and D: how they contain one another, and their compute optima."""

import jax
import numpy as np
import pytest
from scipy import optimize

from analysis import fit, laws
from analysis.laws import law as law_module
from tests.analysis.law_cases import CASES, grid

CHINCHILLA, COUPLED, SHIFTED, KAPLAN, OVER = (
    laws.get(name) for name in ('chinchilla', 'coupled', 'shifted', 'kaplan', 'overtraining'))
TRUTH = CASES['chinchilla'].truth
INPUTS = grid(N=np.geomspace(5e7, 1e10, 7), D=np.geomspace(1e9, 3e11, 6))


def test_chinchilla_is_the_log_sum_exp_of_the_paper():
  """LSE(a - alpha ln N, b - beta ln D, e), with a, b, e the logarithms of A, B, E."""
  a, b, e = (np.log(TRUTH[k]) for k in 'ABE')
  n, d = np.log(INPUTS['N']), np.log(INPUTS['D'])
  terms = np.logaddexp(np.logaddexp(a - TRUTH['alpha'] * n, b - TRUTH['beta'] * d), e)
  np.testing.assert_allclose(np.log(CHINCHILLA.predict(TRUTH, INPUTS)), terms, rtol=1e-14)


def test_tied_exponents_split_compute_evenly():
  """beta = alpha: N = (A / B)^(1 / 2 alpha) sqrt(C / 6), the same tokens a parameter at every C."""
  tied = laws.tie(CHINCHILLA, {'beta': 'alpha'})
  params = {k: TRUTH[k] for k in ('E', 'A', 'B', 'alpha')}
  c = np.array([1e18, 1e21, 1e24])
  best = tied.best(params, c)
  balance = (TRUTH['A'] / TRUTH['B']) ** (1 / (2 * TRUTH['alpha']))
  np.testing.assert_allclose(best['N'], balance * np.sqrt(c / 6), rtol=1e-12)
  np.testing.assert_allclose(best['D'] / best['N'], balance**-2, rtol=1e-12)
  found = fit.fit(tied, INPUTS, tied.predict(params, INPUTS), bootstrap=0)
  assert found.params['alpha'] == pytest.approx(TRUTH['alpha'], rel=1e-4)


def test_tied_exponents_of_single_epoch_runs_are_released_ones():
  """What Muennighoff et al. released for C4: ratio D / N = (B / A)^(1 / alpha)."""
  params = {'E': np.exp(0.6254804), 'A': np.exp(6.255414), 'B': np.exp(7.3049974),
            'alpha': 0.3526596}
  best = laws.tie(CHINCHILLA, {'beta': 'alpha'}).best(params, 1e21)
  assert best['D'] / best['N'] == pytest.approx(np.exp((7.3049974 - 6.255414) / 0.3526596))
  assert best['N'] / np.sqrt(1e21 / 6) == pytest.approx(0.2258, abs=5e-5)  # their G


def test_coupled_with_k_one_is_chinchilla():
  params = {'E': TRUTH['E'], 'A': TRUTH['A'], 'R': TRUTH['B'] / TRUTH['A'],
            'alpha': TRUTH['alpha'], 'beta': TRUTH['beta'], 'k': 1.0}
  np.testing.assert_allclose(COUPLED.predict(params, INPUTS), CHINCHILLA.predict(TRUTH, INPUTS),
                             rtol=1e-13)
  for name, value in COUPLED.best(params, 1e21).items():
    assert value == pytest.approx(CHINCHILLA.best(TRUTH, 1e21)[name], rel=1e-12)
  found = fit.fit(laws.fix(COUPLED, {'k': 1.0}), INPUTS, CHINCHILLA.predict(TRUTH, INPUTS),
                  bootstrap=0)
  assert found.params['R'] * found.params['A'] == pytest.approx(TRUTH['B'], rel=1e-3)


def test_coupled_with_a_data_exponent_of_one_is_kaplan():
  """--fix=beta=1,E=0: [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D, by value and by fit."""
  truth = CASES['kaplan'].truth
  x = CASES['kaplan'].inputs
  inner = truth['alpha_N'] / truth['alpha_D']
  params = {'E': 0.0, 'A': truth['N_c'] ** truth['alpha_N'],
            'R': truth['D_c'] / truth['N_c'] ** inner, 'alpha': inner, 'beta': 1.0,
            'k': truth['alpha_D']}
  loss = KAPLAN.predict(truth, x)
  np.testing.assert_allclose(COUPLED.predict(params, x), loss, rtol=1e-12)
  for name, value in COUPLED.best(params, 1e20).items():
    assert value == pytest.approx(KAPLAN.best(truth, 1e20)[name], rel=1e-9)
  found = fit.fit(laws.fix(COUPLED, {'beta': 1.0, 'E': 0.0}), x, loss, bootstrap=0)
  assert found.params['k'] == pytest.approx(truth['alpha_D'], rel=1e-4)
  assert found.params['alpha'] == pytest.approx(inner, rel=1e-4)


@pytest.mark.parametrize('shifts', [(0.0, 0.0), (4e6, 3e8), (3e8, 0.0), (0.0, 5e10)])
def test_the_shifted_optimum_is_the_lowest_point_at_its_compute(shifts):
  params = TRUTH | dict(zip(('s_N', 's_D'), shifts))
  for c in (1e18, 1e21, 1e24):
    best = SHIFTED.best(params, c)

    def loss(z, c=c):
      return float(SHIFTED.predict(params, {'N': np.exp(z), 'D': c / 6 / np.exp(z)}))

    z = np.linspace(0, np.log(c / 6), 800)
    start = z[SHIFTED.predict(params, {'N': np.exp(z), 'D': c / 6 / np.exp(z)}).argmin()]
    ends = max(start - 0.1, 0), min(start + 0.1, np.log(c / 6))
    least = optimize.minimize_scalar(loss, bounds=ends, method='bounded', options={'xatol': 1e-9})
    assert loss(np.log(best['N'])) <= least.fun * (1 + 1e-9)
    assert best['D'] == pytest.approx(c / 6 / best['N'])
  if shifts == (0.0, 0.0):
    assert best['N'] == pytest.approx(CHINCHILLA.best(TRUTH, c)['N'], rel=1e-9)


def test_the_shifted_optimum_has_a_derivative():
  params = {k: np.float64(v) for k, v in (TRUTH | {'s_N': 4e6, 's_D': 3e8}).items()}
  with jax.enable_x64(True):
    def size(alpha):
      return SHIFTED.optimum(params | {'alpha': alpha}, np.float64(1e20))['N']

    step = 1e-5
    slope = (size(TRUTH['alpha'] + step) - size(TRUTH['alpha'] - step)) / (2 * step)
    assert float(jax.jacfwd(size)(TRUTH['alpha'])) == pytest.approx(float(slope), rel=1e-6)


def test_shifts_of_zero_are_chinchilla_and_are_found():
  found = fit.fit(SHIFTED, INPUTS, CHINCHILLA.predict(TRUTH, INPUTS), bootstrap=0)
  assert found.params['s_N'] < 1e-4 * INPUTS['N'].min()
  np.testing.assert_allclose(found.predict(INPUTS), CHINCHILLA.predict(TRUTH, INPUTS), rtol=1e-6)


def test_over_training_is_tied_chinchilla_in_other_letters():
  a, b, alpha = TRUTH['A'], TRUTH['B'], TRUTH['alpha']
  m = INPUTS['D'] / INPUTS['N']
  params = {'E': TRUTH['E'], 'a': a, 'c': b * 6 ** (alpha / 2), 'b': -alpha}
  loss = CHINCHILLA.predict(TRUTH | {'beta': alpha}, INPUTS)
  np.testing.assert_allclose(OVER.predict(params, {'N': INPUTS['N'], 'M': m}), loss, rtol=1e-13)
  # The paper's form in C = 6 M N^2 and M: E + (A 6^eta M^eta + B 6^eta M^-eta) C^-eta.
  eta, c = alpha / 2, 6 * m * INPUTS['N'] ** 2
  np.testing.assert_allclose(
      loss, TRUTH['E'] + (a * 6**eta * m**eta + b * 6**eta * m**-eta) * c**-eta, rtol=1e-13)
  best, other = OVER.best(params, 1e21), CHINCHILLA.best(TRUTH | {'beta': alpha}, 1e21)
  assert best['N'] == pytest.approx(other['N'])
  assert best['N'] * best['M'] == pytest.approx(other['D'])
  found = fit.fit(OVER, {'N': INPUTS['N'], 'M': m}, loss, bootstrap=0)
  tied = fit.fit(laws.tie(CHINCHILLA, {'beta': 'alpha'}), INPUTS, loss, bootstrap=0)
  assert -found.params['b'] == pytest.approx(tied.params['alpha'], rel=1e-5)


def test_error_falls_from_guessing_as_the_loss_does():
  law, params = laws.get('error_from_loss'), CASES['error_from_loss'].truth
  errors = law.predict(params, {'L': np.array([2.0, 3.0, 30.0])})
  assert np.all(np.diff(errors) > 0)
  assert errors[2] == pytest.approx(params['eps'], rel=1e-8)
  assert law.output == 'error'


def test_powers_of_units_may_be_products():
  values = {'alpha': 0.5, 'k': 4.0}
  assert law_module.power('alpha*k', values) == 2.0
  assert law_module.power('-alpha*k', values) == -2.0
  assert law_module.power('1/k', values) == 0.25
  held = laws.fix(COUPLED, {'k': 2.0})
  units = dict(next(p for p in held.parameters if p.name == 'A').units)
  assert law_module.power(units['N'], {'alpha': 0.5}) == 1.0
  both = dict(next(p for p in laws.fix(held, {'alpha': 0.25}).parameters if p.name == 'A').units)
  assert both['N'] == 0.5
  tied = dict(next(p for p in laws.tie(COUPLED, {'alpha': 'beta'}).parameters
                   if p.name == 'A').units)
  assert law_module.power(tied['N'], {'beta': 0.5, 'k': 3.0}) == 1.5
