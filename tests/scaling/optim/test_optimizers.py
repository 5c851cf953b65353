"""AdamW against optax, with other numbers in every lane."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling.optim import optimizers
from scaling.optim.optimizers import Hyper


def tree(rng, size=1.0):
  return {'matrix': jnp.asarray(size * rng.standard_normal((5, 7)), jnp.float32),
          'scale': jnp.asarray(size * rng.standard_normal(7), jnp.float32)}


@pytest.mark.parametrize('hyper', [
    Hyper(0.9, 0.95, 1e-8, 0.1, 1.0),
    Hyper(0.8, 0.999, 1e-6, 0.0, np.inf),
    Hyper(0.0, 0.9, 1e-3, 0.5, 0.1),
])
def test_thirty_updates_are_those_of_optax(hyper):
  rng = np.random.default_rng(0)
  params = ours = tree(rng)
  rates = np.linspace(1e-2, 1e-3, 30).astype(np.float32)
  reference = optax.chain(
      optax.clip_by_global_norm(hyper.clip_norm) if np.isfinite(hyper.clip_norm)
      else optax.identity(),
      optax.adamw(lambda t: jnp.asarray(rates)[t], hyper.b1, hyper.b2, hyper.eps,
                  weight_decay=hyper.weight_decay,
                  mask=lambda params: jax.tree.map(optimizers.decays, params)))
  state = reference.init(params)
  update = jax.jit(reference.update)
  adamw = jax.jit(optimizers.adamw)
  mu = nu = jax.tree.map(jnp.zeros_like, params)
  for t, rate in enumerate(rates):
    grads = tree(rng, size=10.0 ** rng.integers(-3, 2))
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
    norm = optimizers.global_norm(grads)
    ours, mu, nu = adamw(ours, mu, nu, grads, norm, jnp.int32(t), rate, hyper)
  for name, expected in params.items():
    np.testing.assert_allclose(ours[name], expected, rtol=2e-5, atol=1e-6)


def test_global_norm():
  assert optimizers.global_norm({'a': jnp.array([3.0]), 'b': jnp.array([[0.0, 4.0]])}) == 5.0


def test_decay_acts_on_matrices_times_the_learning_rate():
  params = {'matrix': jnp.ones((2, 2)), 'scale': jnp.ones(2)}
  zeros = jax.tree.map(jnp.zeros_like, params)
  hyper = Hyper(0.9, 0.95, 1e-8, 0.5, np.inf)
  new, *_ = optimizers.adamw(params, zeros, zeros, zeros, jnp.float32(0), jnp.int32(0), 0.1, hyper)
  np.testing.assert_allclose(new['matrix'], 1 - 0.1 * 0.5, rtol=1e-6)
  np.testing.assert_array_equal(new['scale'], 1)
