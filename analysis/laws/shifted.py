"""L(N, D) = E + A (N + s_N)^-alpha + B (D + s_D)^-beta: power laws that flatten at the small end.

N parameters, D training tokens, L nats per token; the shifts s_N >= 0, in parameters, and s_D >= 0,
in tokens, are where the curves bend: below them more of N or D hardly helps yet. With both zero it
is Chinchilla. A shift is known only from runs not much larger than it, and together with its
exponent: noise soon hides both, and a fit to large runs ends at shifts of zero.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from analysis.laws import chinchilla
from analysis.laws.combine import of_inputs
from analysis.laws.law import Parameter, Values

GRID = 512  # sizes among which the optimum is bracketed


def moved(p: Values, x: Values) -> dict[str, Any]:
  """N + s_N and D + s_D."""
  return {'N': x['N'] + p['s_N'], 'D': x['D'] + p['s_D']}


def optimum(p: Values, flops: Any) -> dict[str, Any]:
  """N and D of least loss for C FLOPs, C = 6 N D; no closed form.

  The loss along C = 6 N D is looked at from N = 1 to D = 1, and Newton steps in ln N follow from
  the lowest; two more carry the derivatives.
  """
  total = jnp.log(flops / 6)

  def loss(z: Any, q: Any) -> Any:
    values, log_product = q
    x = moved(values, {'N': jnp.exp(z), 'D': jnp.exp(log_product - z)})
    return chinchilla.equation(values, x)

  def least(q: Any) -> Any:
    fixed = jax.lax.stop_gradient(q)
    z = jnp.linspace(0.0, 1.0, GRID) * fixed[1]
    gap = fixed[1] / (GRID - 1)
    at = z[jnp.argmin(loss(z, fixed))]
    slope, bend = jax.grad(loss), jax.grad(jax.grad(loss))

    def newton(_: int, here: Any) -> Any:
      step = slope(here, fixed) / jnp.maximum(bend(here, fixed), 1e-300)
      return jnp.clip(here - step, at - gap, at + gap)

    here = jax.lax.stop_gradient(jax.lax.fori_loop(0, 12, newton, at))
    for _ in range(2):
      curved = bend(here, q) > 0  # else the lowest is an end: shifts beyond what C can reach
      here = here - jnp.where(curved, slope(here, q) / jnp.where(curved, bend(here, q), 1.0), 0.0)
    return here

  names = ('A', 'B', 'alpha', 'beta', 's_N', 's_D')
  arrays = jnp.broadcast_arrays(total, *(p[name] for name in names))
  flat = [v.ravel() for v in arrays]
  given = dict(zip(names, flat[1:])) | {'E': jnp.zeros_like(flat[0])}
  n = jnp.exp(jax.vmap(lambda v, t: least((v, t)))(given, flat[0])).reshape(arrays[0].shape)
  return {'N': n, 'D': flops / 6 / n}


LAW = of_inputs(
    chinchilla.LAW, 'shifted', ('N', 'D'), moved,
    parameters=tuple(
        Parameter(f's_{of}', start=(0.0, 0.3), bounds=(0.0, 1e3), scale='linear',
                  units=((of, 1.0),)) for of in ('N', 'D')),
    formula='L = E + A (N + s_N)^-alpha + B (D + s_D)^-beta',
    source='shifted power laws; s_N = s_D = 0 is Hoffmann et al. 2022, arXiv 2203.15556',
    optimum=optimum)
