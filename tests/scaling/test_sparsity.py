"""Density schedules: the closed forms and the schedule of Jin et al. 2025 (arXiv 2501.12486)."""

import numpy as np
import pytest

from scaling.errors import InputError
from scaling.sparsity import Ramp, kept, mean_density


def test_the_papers_1b_schedule_is_25_50_25_percent_of_the_compute():
  """72,200 steps, pruning every 100 from 12,500 to 47,200, half the weights at the end."""
  ramp = Ramp(72_200, 12_500, 47_200, 0.5)
  assert ramp.start == 12_500
  assert 34_700 * mean_density(0.5) == pytest.approx(25_030, abs=1)
  assert 25_000 * float(ramp.density(72_200)) == 12_500
  assert ramp.compute() == pytest.approx((0.25, 0.75), abs=3e-4)
  events = kept(0.5, 348)
  assert events[-1] == pytest.approx(0.5) and np.allclose(events[1:] / events[:-1], events[0])
  assert events.mean() == pytest.approx(mean_density(0.5), rel=1e-3)


@pytest.mark.parametrize('sparsity', [0.2, 0.4, 0.5, 0.6, 0.8])
def test_average_density_of_a_ramp_over_the_middle_half_of_the_compute(sparsity):
  ramp = Ramp.of_compute(1000, 0.25, 0.75, sparsity)
  q = -np.log(1 - sparsity)
  expected = 1 / (0.25 + 0.5 * q / sparsity + 0.25 / (1 - sparsity))
  assert ramp.average() == pytest.approx(expected, rel=1e-12)
  assert ramp.compute() == pytest.approx((0.25, 0.75), rel=1e-12)
  if sparsity == 0.5:
    assert expected == pytest.approx(0.693, abs=5e-4)
    assert ramp.start / 1000 == pytest.approx(0.173, abs=5e-4)
    assert ramp.end / 1000 == pytest.approx(0.654, abs=5e-4)


def test_average_density_of_a_ramp_over_the_middle_half_of_the_steps():
  found = [Ramp(1.0, 0.25, 0.75, s).average() for s in (0.2, 0.4, 0.5, 0.6, 0.8)]
  assert found == pytest.approx([0.898, 0.792, 0.736, 0.677, 0.549], abs=5e-4)


@pytest.mark.parametrize('shape', ['geometric', 'cubic'])
@pytest.mark.parametrize('sparsity', [0.0, 0.3, 0.9])
@pytest.mark.parametrize('prunable', [1.0, 0.7])
def test_averages_are_the_integrals_of_the_density(shape, sparsity, prunable):
  ramp = Ramp.of_compute(500.0, 0.2, 0.6, sparsity, shape, prunable)
  steps = (np.arange(400_000) + 0.5) / 400_000 * 500
  share = 1 - prunable * (1 - ramp.density(steps))
  assert ramp.average() == pytest.approx(share.mean(), rel=1e-6)
  spent = np.cumsum(share) / share.sum()
  at = [np.interp(t, steps, spent) for t in (ramp.start, ramp.end)]
  assert at == pytest.approx([0.2, 0.6], abs=1e-5)
  assert ramp.compute() == pytest.approx((0.2, 0.6), rel=1e-12)


def test_cubic_ramp():
  ramp = Ramp(100, 20, 60, 0.8, 'cubic')
  assert ramp.density([0, 20, 40, 60, 100]) == pytest.approx([1, 1, 1 - 0.8 * 0.875, 0.2, 0.2])
  assert ramp.average() == pytest.approx(0.2 + 0.4 * (1 - 0.6) + 0.4 * 0.2)


def test_a_ramp_without_length_is_one_pruning():
  ramp = Ramp(100, 40, 40, 0.5)
  assert ramp.density([39, 40, 41]) == pytest.approx([1, 1, 0.5])
  assert ramp.average() == pytest.approx(0.7)


@pytest.mark.parametrize('wrong', [dict(sparsity=1.0), dict(sparsity=-0.1), dict(shape='linear'),
                                   dict(start=70), dict(end=101), dict(prunable=0),
                                   dict(sparsity=float('nan')), dict(steps=float('inf'))])
def test_wrong_ramps_are_one_line(wrong):
  with pytest.raises(InputError):
    Ramp(**{'steps': 100, 'start': 20, 'end': 60, 'sparsity': 0.5, **wrong})
