"""Learning-rate schedules against their closed forms."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.optim import schedules
from scaling.specs import SCHEDULES, InitSpec, OptimSpec, RunSpec

T = 101


def rates(**fields):
  spec = OptimSpec(peak_lr=2e-3, **fields)
  return schedules.learning_rate(spec, T, np.arange(T)) / 2e-3


def test_constant():
  np.testing.assert_array_equal(rates(schedule='constant'), 1)


def test_cosine_is_one_then_the_mean_then_final():
  lr = rates(schedule='cosine', final_lr=0.1)
  np.testing.assert_allclose(lr[[0, 50, 100]], [1, 0.55, 0.1], rtol=1e-14)
  np.testing.assert_allclose(lr + lr[::-1], 1.1, rtol=1e-14)  # odd about its middle


def test_linear():
  np.testing.assert_allclose(rates(schedule='linear', final_lr=0.0), 1 - np.arange(T) / 100,
                             rtol=1e-13)


def test_inverse_sqrt():
  lr = rates(schedule='inverse_sqrt', warmup_steps=3)
  np.testing.assert_allclose(lr[:4], [0.25, 0.5, 0.75, 1])
  np.testing.assert_allclose(lr[3:], np.sqrt(4 / np.arange(4, T + 1)))


def test_wsd_decays_over_its_last_share_only():
  lr = rates(schedule='wsd', warmup_steps=9, decay_fraction=0.2, final_lr=0.5)
  np.testing.assert_allclose(lr[:10], np.arange(1, 11) / 10)
  np.testing.assert_array_equal(lr[9:81], 1)  # round(0.2 * 101) = 20 updates decay
  np.testing.assert_allclose(lr[81:], 1 - 0.5 * np.arange(1, 21) / 20)


def test_infinite_has_four_phases():
  lr = rates(schedule='infinite', warmup_steps=9, cooldown_steps=40, constant_lr=0.55,
             decay_fraction=0.2, final_lr=0.1)
  np.testing.assert_allclose(lr[:10], np.arange(1, 11) / 10)
  np.testing.assert_allclose(lr[[9, 29, 49]], [1, (1 + 0.55) / 2, 0.55], rtol=1e-14)
  np.testing.assert_array_equal(lr[49:81], 0.55)
  np.testing.assert_allclose(lr[100], 0.1, rtol=1e-14)
  np.testing.assert_allclose(np.diff(np.log(lr[80:])), np.log(0.1 / 0.55) / 20, rtol=1e-9)


def test_infinite_with_an_inverse_square_root():
  lr = rates(schedule='infinite', cooldown_steps=80, constant_lr=0.5, decay_fraction=0.0,
             cooldown='inverse_sqrt', cooldown_curvature=3.0)
  x = np.arange(81) / 80
  np.testing.assert_allclose(lr[:81], 1 - 0.5 * (1 - 1 / np.sqrt(1 + 3 * x)) / 0.5, rtol=1e-13)
  np.testing.assert_array_equal(lr[80:], lr[80])


def test_a_child_may_go_on_in_its_parents_schedule():
  optim = OptimSpec(schedule='wsd', warmup_steps=10, decay_fraction=0.2)
  whole = schedules.learning_rate(optim, 100, np.arange(100))
  child = RunSpec(optim=optim, steps=40, init=InitSpec('0' * 16, 60, schedule=True))
  np.testing.assert_array_equal(schedules.of_run(child, np.arange(40)), whole[60:])
  alone = dataclasses.replace(child, init=InitSpec('0' * 16, 60))
  np.testing.assert_array_equal(schedules.of_run(alone, np.arange(40)),
                                schedules.learning_rate(optim, 40, np.arange(40)))


def test_warmup_as_a_fraction_is_that_many_steps():
  np.testing.assert_array_equal(rates(warmup_fraction=0.1), rates(warmup_steps=10))


def test_decay_starts_at_the_peak_after_the_warmup():
  for schedule in ('cosine', 'linear'):
    lr = rates(schedule=schedule, warmup_steps=20, final_lr=0.0)
    assert lr.argmax() == 20 and lr[20] == 1
    assert abs(lr[60] - 0.5) < 1e-14 and abs(lr[100]) < 1e-14


@given(schedule=st.sampled_from(SCHEDULES), steps=st.integers(1, 500),
       warmup=st.floats(0, 1), final=st.floats(1e-3, 1), decay=st.floats(0, 1))
def test_rates_are_positive_bounded_and_the_same_one_at_a_time(schedule, steps, warmup, final,
                                                               decay):
  phases = {'constant_lr': 0.5, 'cooldown_fraction': 0.25} if schedule == 'infinite' else {}
  spec = OptimSpec(peak_lr=0.5, schedule=schedule, warmup_fraction=warmup, final_lr=final,
                   decay_fraction=decay, **phases)
  lr = schedules.learning_rate(spec, steps, np.arange(steps))
  assert lr.dtype == np.float64 and ((lr >= 0) & (lr <= 0.5)).all()
  assert lr[0] > 0
  one = [float(schedules.learning_rate(spec, steps, t)) for t in range(min(steps, 5))]
  np.testing.assert_array_equal(lr[:5], one)


@pytest.mark.parametrize('schedule', ['constant', 'inverse_sqrt'])
def test_what_does_not_decay_does_not_look_at_the_length(schedule):
  spec = OptimSpec(schedule=schedule, warmup_steps=5)
  t = np.arange(40)
  np.testing.assert_array_equal(schedules.learning_rate(spec, 50, t),
                                schedules.learning_rate(spec, 500, t))


def test_unknown_schedule():
  spec = dataclasses.replace(OptimSpec(), schedule='step')
  with pytest.raises(InputError, match=r"optim.schedule: 'step'"):
    schedules.learning_rate(spec, 10, 0)
