"""Parameter counts and FLOPs against the model itself, numbers by hand, and XLA."""

import functools

import jax
import jax.numpy as jnp
import pytest

from scaling import accounting
from scaling.errors import InputError
from scaling.model import transformer
from scaling.specs import ModelSpec
from scaling.train import step

SPECS = [
    ModelSpec(layers=2, width=32, heads=2),
    ModelSpec(layers=1, width=48, heads=3, activation='gelu', tied_embeddings=False),
    ModelSpec(layers=3, width=16, heads=1, qk_norm=True, feed_forward=40),
]


@pytest.mark.parametrize('spec', SPECS)
def test_parameters_are_those_of_the_model(spec):
  shapes = jax.eval_shape(lambda: transformer.init(spec, 64, 0))
  total = sum(leaf.size for leaf in shapes.values())
  outside = sum(shapes[name].size for name in ('embedding', 'head') if name in shapes)
  assert accounting.parameters(spec, 64) == total
  assert accounting.non_embedding(spec) == total - outside
  assert accounting.vocabulary(spec, 64) == shapes['embedding'].size


def test_gpt2_small_by_hand():
  """12 layers of 12 * 768^2, embeddings 50257 * 768: 124 M; no biases, no learned positions."""
  spec = ModelSpec(layers=12, width=768, heads=12, activation='gelu')
  assert accounting.non_embedding(spec) == 12 * (12 * 768**2 + 2 * 768) + 768 == 84_953_856
  assert accounting.parameters(spec, 50257) == 84_953_856 + 38_597_376
  assert accounting.flops_6n(124_000_000) == 744_000_000
  # Per token at length 1024: 2 * (84.9 M matrices + 38.6 M head) + 12 layers * 4 * 768 * 1024.
  forward = 2 * (12 * 12 * 768**2 + 38_597_376) + 12 * 4 * 768 * 1024
  assert accounting.counted_flops(spec, 50257, 1024) == 3 * forward
  half = accounting.counted_flops(spec, 50257, 1024, 'half')
  assert 3 * forward - half == 3 * 12 * 4 * 768 * (1024 - 1025 / 2)


def test_counted_flops_approach_6n_for_short_sequences():
  spec = ModelSpec(layers=4, width=256, heads=4)
  ratio = accounting.counted_flops(spec, 512, 1) / (6 * accounting.parameters(spec, 512))
  assert 0.99 < ratio < 1.01


@pytest.mark.parametrize('spec', [
    ModelSpec(layers=1, width=128, heads=2),
    ModelSpec(layers=2, width=128, heads=4, activation='gelu', tied_embeddings=False),
])
def test_forward_products_are_those_xla_counts(spec):
  """XLA adds the elementwise operations, a few per cent, and never fewer."""
  params = jax.eval_shape(lambda: transformer.init(spec, 512, 0))
  tokens = jax.ShapeDtypeStruct((2, 64), jnp.int32)
  lowered = jax.jit(transformer.apply_fn(spec, 512)).lower(params, tokens)
  counted = 2 * 64 * sum(accounting.forward_flops(spec, 512, 64).values())
  assert 1 <= lowered.cost_analysis()['flops'] / counted < 1.06


def test_training_products_are_three_times_the_forward_ones():
  """Every product has two derivatives of its own size, the first layer's inputs included."""
  spec = ModelSpec(layers=2, width=128, heads=2)
  params = jax.eval_shape(lambda: transformer.init(spec, 512, 0))
  tokens = jax.ShapeDtypeStruct((2, 65), jnp.int32)
  grad = jax.jit(functools.partial(step.gradients, spec, 512))
  counted = 2 * 64 * accounting.counted_flops(spec, 512, 64)
  assert 0.99 <= grad.lower(params, tokens).cost_analysis()['flops'] / counted < 1.08


def test_unknown_attention_convention():
  with pytest.raises(InputError, match='attention'):
    accounting.forward_flops(SPECS[0], 64, 16, 'quarter')
