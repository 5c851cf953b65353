"""Curves of known regions are cut where they were made."""

import numpy as np
import pytest

from analysis.training_curves import regions
from scaling.errors import InputError

DATA = np.geomspace(1.3e3, 1e11, 25)


def curve(noise=0.0, seed=0, data=DATA):
  """Guessing below 1e5, alpha m^-.3, half of what is left irreducible at 2e9."""
  made = 0.1 * (1 + (np.maximum(data, 1e5) / 2e9) ** -0.3)
  return made * np.exp(noise * np.random.default_rng(seed).normal(size=len(data)))


@pytest.mark.parametrize('noise', [0.0, 0.01])
def test_all_three_regions(noise):
  found = regions.of_curve(DATA, curve(noise))
  tolerance = 1e-4 if noise == 0 else 0.15
  assert found.small_end == pytest.approx(1e5, rel=tolerance)
  assert found.irreducible_start == pytest.approx(2e9, rel=3 * tolerance)
  assert found.beta_g == pytest.approx(-0.3, rel=tolerance)
  assert found.guess == pytest.approx(curve()[0], rel=tolerance)
  assert found.gamma == pytest.approx(0.1, rel=tolerance)
  wanted = np.where(DATA < 1e5, regions.SMALL,
                    np.where(DATA > 2e9, regions.IRREDUCIBLE, regions.POWER))
  assert np.mean(np.array(found.labels) == wanted) >= (1 if noise == 0 else 0.9)


def test_only_the_regions_that_are_there():
  power = 30 * DATA**-0.2 * np.exp(0.01 * np.random.default_rng(0).normal(size=len(DATA)))
  found = regions.of_curve(DATA, power)
  assert set(found.labels) == {regions.POWER} and found.small_end is None
  assert found.irreducible_start is None and found.gamma == 0
  assert found.beta_g == pytest.approx(-0.2, abs=0.005)
  below = regions.of_curve(DATA[:15], curve(0.003)[:15])
  assert below.small_end == pytest.approx(1e5, rel=0.1) and below.irreducible_start is None
  above = regions.of_curve(DATA[8:], curve(0.003)[8:])
  assert above.small_end is None and above.irreducible_start == pytest.approx(2e9, rel=0.4)
  flat = regions.of_curve(DATA, 3 * np.exp(0.01 * np.random.default_rng(1).normal(size=25)))
  assert set(flat.labels) == {regions.SMALL} and flat.guess == pytest.approx(3, rel=0.01)


def test_order_and_units_do_not_matter():
  order = np.random.default_rng(2).permutation(len(DATA))
  one, two = regions.of_curve(DATA, curve(0.01)), regions.of_curve(DATA[order] / 1e6,
                                                                   7 * curve(0.01)[order])
  assert [one.labels[i] for i in order] == list(two.labels)
  assert two.small_end == pytest.approx(one.small_end / 1e6, rel=1e-3)
  assert two.gamma == pytest.approx(7 * one.gamma, rel=1e-3)


@pytest.mark.parametrize('data, error', [([1, 2, 3, 4], [4, 3, 2, 1]), ([1, 2, 3, 4, 0], [1] * 5),
                                         ([1, 2, 3, 4, 5], [1, 2, 3, 4, np.nan]),
                                         ([1, 2, 3, 4, 5], [1, 2])])
def test_bad_curves_are_one_line(data, error):
  with pytest.raises(InputError) as raised:
    regions.of_curve(data, error)
  assert '\n' not in str(raised.value)
