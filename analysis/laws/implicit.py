"""Equations that hold their unknown on both sides, solved to float64 and differentiable.

The root is found by Newton's method on constants (no derivative passes through the loop); two more
Newton steps then carry the derivatives. One such step has the exact first derivatives of the root
and two have the exact second ones: each step doubles the order that is right, as it doubles the
digits. It works under every transformation: jit, vmap, forward over reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

LIMIT = 100  # Newton steps at most; the laws here need fewer than ten


def root(function: Callable[[Any, Any], tuple[Any, Any]], start: Any, given: Any) -> Any:
  """z with f(z, given) = 0, elementwise; function gives (f, df/dz), of z's shape.

  f must be increasing and either concave with f(start) <= 0 or convex with f(start) >= 0: Newton's
  method then moves towards the root from one side and never passes it, wherever it starts.
  """
  def newton(z: Any, values: Any) -> Any:
    f, slope = function(z, values)
    return z - f / slope

  constants = lax.stop_gradient(given)

  def unfinished(state: Any) -> Any:
    count, z, before = state
    return (count < LIMIT) & jnp.any(jnp.abs(z - before) > 1e-15 * (1 + jnp.abs(z)))

  def step(state: Any) -> Any:
    count, z, _ = state
    return count + 1, newton(z, constants), z

  first = lax.stop_gradient(start)
  z = lax.while_loop(unfinished, step, (1, newton(first, constants), first))[1]
  z = lax.stop_gradient(z)
  return newton(newton(z, given), given)


def softplus(z: Any) -> Any:
  """ln(1 + e^z)."""
  return jnp.logaddexp(z, 0.0)


def sigmoid(z: Any) -> Any:
  return jax.nn.sigmoid(z)
