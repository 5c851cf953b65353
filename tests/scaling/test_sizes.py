"""The ladder of shapes and its rules."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling import accounting
from scaling.errors import InputError
from scaling.model import sizes
from scaling.specs import ModelSpec

targets = st.floats(math.log(1e3), math.log(1e12)).map(math.exp)


@settings(deadline=None)
@given(targets, st.sampled_from(['swiglu', 'gelu']), st.booleans())
def test_shapes_are_valid_and_near_the_target(target, activation, qk_norm):
  model = sizes.shape(target, ModelSpec(activation=activation, qk_norm=qk_norm))
  model.check('model')
  assert model.width % 8 == 0 and model.head_size % 2 == 0 and model.head_size >= 8
  off = abs(math.log(accounting.non_embedding(model) / target))
  assert off < (0.41 if target < 5e4 else 0.2 if target < 1e6 else 0.08)


@settings(deadline=None)
@given(targets)
def test_depth_follows_width(target):
  model = sizes.shape(target)
  ratio = model.layers / (math.sqrt(model.width) / 2)
  assert (0.4 < ratio < 4) if target < 5e4 else (0.6 < ratio < 1.7)


def test_shapes_that_people_use():
  """Depth and width of GPT-2 small (12 x 768, 85M) and of LLaMA 7B (32 x 4,096, 6.5G)."""
  small, large = sizes.shape(85e6), sizes.shape(6.5e9)
  assert small.layers in (11, 12, 13, 14) and 700 < small.width < 850 and small.head_size == 64
  assert large.layers in (31, 32, 33) and 3900 < large.width < 4300 and large.head_size == 128


def test_the_rest_of_the_model_is_kept():
  base = ModelSpec(feed_forward=100, activation='gelu', qk_norm=True, rope_base=500.0)
  model = sizes.shape(2e4, base)
  assert (model.feed_forward, model.activation, model.rope_base) == (100, 'gelu', 500.0)


@pytest.mark.parametrize('target', [0, -5, math.inf, math.nan, 10, 200, '6k'])
def test_impossible_targets(target):
  with pytest.raises(InputError, match=r'config\.size'):
    sizes.shape(target)


def test_the_rules_have_the_exponents_of_the_paper():
  """Porian et al. 2024: 4.7e-3 and 160 sequences of 2,048 tokens at 108M; N^(-1/3), N^(2/3)."""
  ladder = sizes.PORIAN
  assert ladder.learning_rate(108e6) == 4.7e-3
  assert ladder.learning_rate(8 * 108e6) == pytest.approx(4.7e-3 / 2, rel=1e-2)
  assert ladder.batch(108e6, 2048) == 128  # 160, as a power of two
  assert ladder.batch(8 * 108e6, 2048) == 512
  assert ladder.batch(8 * 108e6, 4096) == 256


@settings(deadline=None)
@given(targets, st.sampled_from([32, 128, 2048]))
def test_batches_are_few_and_grow(target, length):
  batch = sizes.CPU.batch(target, length)
  assert batch >= 1 and batch & (batch - 1) == 0
  assert batch <= sizes.CPU.batch(2 * target, length) <= 4 * batch
  assert sizes.CPU.learning_rate(2 * target) < sizes.CPU.learning_rate(target)


def test_the_cpu_constants_pass_through_the_trial():
  """Best of a small trial at 512 tokens a step: 1e-2 at 6k, 6e-3 at 37k, 5e-3 at 83k."""
  for parameters, best in ((6e3, 1e-2), (37e3, 6e-3), (83e3, 5e-3)):
    assert sizes.CPU.learning_rate(parameters) == pytest.approx(best, rel=0.2)
    assert sizes.CPU.batch(parameters, 128) == 4


def test_bad_constants():
  with pytest.raises(InputError, match=r'config\.ladder\.peak_lr: 0 is not allowed'):
    sizes.Ladder(peak_lr=0)
  with pytest.raises(InputError, match=r'config\.ladder\.lr_exponent'):
    sizes.Ladder(lr_exponent=math.nan)
