"""Repeated data: the released values of Muennighoff et al. 2023 (arXiv 2305.16264)."""

import numpy as np
import pytest

from analysis import laws

# As released: a, b, e are logarithms.
TRUTH = {'E': np.exp(0.6254804), 'A': np.exp(6.255414), 'B': np.exp(7.3049974),
         'alpha': 0.3526596, 'beta': 0.3526596}
STARS = {'R_D_star': 15.387756, 'R_N_star': 5.309743}
INPUTS = {'N': np.array([1e8, 1e9, 8e9]), 'D': np.array([4e9, 2e10, 5e11]),
          'U': np.array([4e8, 2e10, 1e10])}


@pytest.mark.parametrize('n, d, u, loss', [(6.34e9, 242e9, 25e9, 2.2256440889984477),
                                           (8.67e9, 178e9, 25e9, 2.2269634075087867)])
def test_released_values(n, d, u, loss):
  law = laws.get('repetition')
  assert law.predict({**TRUTH, **STARS}, {'N': n, 'D': d, 'U': u}) == pytest.approx(loss, rel=1e-12)


def test_nothing_decays_when_the_stars_are_large():
  law = laws.fix(laws.get('repetition'), {'R_D_star': 1e12, 'R_N_star': 1e12})
  np.testing.assert_allclose(law.predict(TRUTH, INPUTS),
                             laws.get('chinchilla').predict(TRUTH, INPUTS), rtol=1e-9)


def test_one_epoch_of_a_model_that_is_not_too_large_is_chinchilla():
  inputs = {'N': [1e8, 1e9], 'D': [1e10, 1e11], 'U': [1e10, 1e11]}
  deltas = {'delta_D': 0.1, 'delta_N': 0.3}
  for name, more in (('repetition', STARS), ('repetition_geometric', deltas)):
    np.testing.assert_allclose(laws.get(name).predict({**TRUTH, **more}, inputs),
                               laws.get('chinchilla').predict(TRUTH, inputs), rtol=1e-12)


def test_an_infinity_of_epochs_is_worth_one_plus_r_star():
  law = laws.get('repetition')
  often = law.predict({**TRUTH, **STARS}, {'N': 1e8, 'D': 1e18, 'U': 1e10})
  once = laws.get('chinchilla').predict(TRUTH, {'N': 1e8, 'D': 1e10 * (1 + STARS['R_D_star'])})
  assert often == pytest.approx(once, rel=1e-12)


def test_the_geometric_variant_sums_the_epochs():
  """Three epochs at delta .5 are worth 1 + 1/2 + 1/4 of the text."""
  law = laws.get('repetition_geometric')
  found = law.predict({**TRUTH, 'delta_D': 0.5, 'delta_N': 0.3}, {'N': 1e8, 'D': 3e10, 'U': 1e10})
  assert found == pytest.approx(
      laws.get('chinchilla').predict(TRUTH, {'N': 1e8, 'D': 1.75e10}), rel=1e-12)


def test_excess_parameters_count_less():
  law = laws.get('repetition')
  params = {**TRUTH, **STARS}
  loss = law.predict(params, {'N': np.geomspace(1e7, 1e13, 30), 'D': 1e9, 'U': 1e9})
  plain = laws.get('chinchilla').predict(TRUTH, {'N': np.geomspace(1e7, 1e13, 30), 'D': 1e9})
  assert np.all(np.diff(loss) <= 0) and loss[-1] > plain[-1] and loss[0] == plain[0]
