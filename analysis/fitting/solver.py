"""Many small robust least-squares problems at once: damped Newton steps, one compiled program.

Minimises, in every lane, f(u) = sum_i w_i rho(r_i(u), delta_i) over lower <= u <= upper, where
rho(r, d) = r^2 / 2 for |r| <= d, d (|r| - d / 2) beyond (Huber 1964; d = inf is least squares).
Two curvatures: 'gauss', J' diag(w min(1, d/|r|)) J, never indefinite and good far away (it is
iteratively reweighted least squares), and 'newton', the true second derivative with its
eigenvalues made positive, which ends a Huber fit in a handful of exact steps where reweighting
creeps. Coordinates at a bound with the gradient pointing outwards are held (projected Newton).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.fitting.padding import Padding

CHUNK = 64  # lanes a program, fewer of many rows: the working set should stay in the cache
ROWS = 640  # from here on
ROUND = 12  # steps before the lanes that are done make room; doubled from round to round
TOLERANCE = 1e-13  # stop when a step promises less than this share of f
# XLA's older emitters compile these programs in two thirds of the time and run them as fast
# (docs/performance.md): a fit compiles for longer than it computes.
QUICK = {'xla_cpu_use_fusion_emitters': False}


@dataclasses.dataclass(frozen=True)
class Solution:
  """What came out, a row a lane: u [S, P], f [S], converged [S]."""

  u: np.ndarray
  f: np.ndarray
  converged: np.ndarray


def huber(r: Any, delta: Any) -> Any:
  """rho(r, delta), finite for delta = inf."""
  size = jnp.abs(r)
  inner = jnp.minimum(size, delta)
  return inner * (size - inner / 2)


def minimise(residuals: Callable[[Any, Any, Any], Any], u: np.ndarray, data: Any, lanes: Any,
             weights: np.ndarray | Callable[[np.ndarray], np.ndarray], delta: np.ndarray,
             lower: np.ndarray, upper: np.ndarray, *, steps: int, curvature: str = 'newton',
             free: np.ndarray | None = None, tolerance: float = TOLERANCE) -> Solution:
  """Solves S problems from the starts u [S, P].

  residuals(u [P], data, lane) -> r [M]; it must be a module-level function or a cached closure,
  for it is compiled once per identity and number of rows, of which there are few (`padded`). data
  is common to all lanes, the leaves of `lanes` and `weights` [S, M] have one row a lane (a leading
  size of 1 serves all); weights may also be a function of lane numbers [K] that gives theirs
  [K, M], which keeps no more of them than are at work. delta [M]. free [S, P]: which coordinates
  may move.
  """
  count, size = u.shape
  free = np.ones((count, size), bool) if free is None else np.broadcast_to(free, (count, size))
  padding = Padding.of(data)
  data, delta = padding.data(data), padding.rows(np.asarray(delta, np.float64), 1.0)
  chunk = lanes_of(len(delta))

  def part(x: Any, rows: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    return np.repeat(x, len(rows), 0) if x.shape[0] == 1 else x[rows]

  u = np.array(u, np.float64)
  f, damping = np.full(count, np.inf), np.full(count, 5e-2)
  converged, active = np.zeros(count, bool), np.ones(count, bool)

  def run(rows: np.ndarray, take: int) -> None:
    with jax.enable_x64(True):  # a setting of the thread
      full = np.resize(rows, chunk)
      weight = weights(full) if callable(weights) else part(weights, full)
      out = _solve(residuals, curvature == 'newton', u[full], damping[full], data,
                   jax.tree.map(lambda x: part(x, full), lanes), padding.rows(weight, 0.0), delta,
                   lower, upper, free[full], np.arange(chunk) < len(rows), take, tolerance)
      for whole, piece in zip((u, f, damping, converged, active), out):
        whole[rows] = np.asarray(piece)[:len(rows)]

  taken, take = 0, ROUND
  while taken < steps and active.any():
    take = min(take, steps - taken)
    left = np.flatnonzero(active)
    _threads(lambda i, left=left, take=take: run(left[i:i + chunk], take),  # type: ignore[misc]
             range(0, len(left), chunk), compiled=taken > 0)
    taken, take = taken + take, 2 * take
  return Solution(u, f, converged)


def lanes_of(rows: int) -> int:
  """How many lanes a program has."""
  chunk = CHUNK
  while chunk > 4 and chunk * rows > CHUNK * ROWS:
    chunk //= 2
  return chunk


def batch(residuals: Callable[[Any, Any, Any], Any], u: np.ndarray, data: Any, lanes: Any,
          ) -> np.ndarray:
  """r [S, M] at u [S, P], a lane's data for each."""
  padding = Padding.of(data)
  with jax.enable_x64(True):
    return padding.strip(np.asarray(_batch(residuals, u, padding.data(data), lanes)), 1)


def derivatives(residuals: Callable[[Any, Any, Any], Any], u: np.ndarray, data: Any, lane: Any,
                ) -> tuple[np.ndarray, np.ndarray]:
  """r [M] and its Jacobian [M, P] at u [P]."""
  padding = Padding.of(data)
  with jax.enable_x64(True):
    r, jacobian = _derivatives(residuals, u, padding.data(data), lane)
    return padding.strip(np.asarray(r), 0), padding.strip(np.asarray(jacobian), 0)


def _threads(run: Callable[[int], None], items: range, compiled: bool) -> None:
  """Chunks in as many threads as cores: XLA leaves the interpreter free while it computes."""
  if not compiled or len(items) == 1:
    run(items[0])  # alone: two threads would compile it twice
    items = items[1:]
  if items:
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
      list(pool.map(run, items))


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _batch(residuals, u, data, lanes):
  return jax.vmap(lambda v, lane: residuals(v, data, lane))(u, lanes)


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _derivatives(residuals, u, data, lane):
  return residuals(u, data, lane), jax.jacfwd(residuals)(u, data, lane)


def _model(residuals, newton, u, data, lane, weights, delta):
  """f, its gradient and the curvature at u, for one lane."""
  function = functools.partial(residuals, data=data, lane=lane)

  def with_value(v):
    r = function(v)
    return r, r

  jacobian, r = jax.jacfwd(with_value, has_aux=True)(u)  # [M, P]
  f = jnp.sum(weights * huber(r, delta))
  slope = weights * jnp.clip(r, -delta, delta)
  gradient = slope @ jacobian

  def second(v):
    return jax.jacfwd(jax.grad(lambda z: jax.lax.stop_gradient(slope) @ function(z)))(v)

  size = jnp.abs(r)
  bent = weights * jnp.where(newton, size <= delta,
                             jnp.minimum(1.0, delta / jnp.maximum(size, 1e-300)))
  # A branch, not a factor: a step that reweights does not pay for second derivatives.
  rest = jax.lax.cond(newton, second, lambda v: jnp.zeros((v.size, v.size), v.dtype), u)
  return f, gradient, (jacobian.T * bent) @ jacobian + rest


def _step(u, gradient, hessian, damping, lower, upper, free):
  """Damped steps [S, P] inside the bounds, and the decreases of f that they promise."""
  held = ((u <= lower) & (gradient > 0)) | ((u >= upper) & (gradient < 0)) | ~free
  size = jnp.abs(jnp.diagonal(hessian, axis1=1, axis2=2))
  largest = jnp.max(size, -1, keepdims=True)
  scale = jnp.where(held, 0.0, 1 / jnp.sqrt(jnp.maximum(size, 1e-12 * largest + 1e-300)))
  scaled = hessian * scale[:, :, None] * scale[:, None, :]
  scaled = scaled + jnp.where(held, 1.0, 0.0)[:, None, :] * jnp.eye(u.shape[1])
  # One matrix a call: a batch is spread over XLA's threads and waits there for them, and two
  # programs at once that do so wait for ever (jax 0.10, nine parameters, 64 lanes, two cores).
  value, vector = jax.lax.map(jnp.linalg.eigh, scaled)
  value = jnp.maximum(jnp.abs(value), 1e-14) + damping[:, None]
  along = jnp.einsum('spk,sp->sk', vector, scale * gradient) / value
  move = -scale * jnp.einsum('spk,sk->sp', vector, along)
  longest = jnp.max(jnp.abs(move), -1, keepdims=True)
  move = move * jnp.minimum(1.0, 3.0 / jnp.maximum(longest, 1e-300))
  move = jnp.clip(u + move, lower, upper) - u
  curved = jnp.einsum('sp,spq,sq->s', move, hessian, move)
  return u + move, -(jnp.sum(gradient * move, -1) + curved / 2)


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _solve(residuals, newton, u, damping, data, lanes, weights, delta, lower, upper, free, active,
           steps, tolerance):
  model = jax.vmap(lambda v, lane, w: _model(residuals, newton, v, data, lane, w, delta))
  u = jnp.clip(u, lower, upper)

  def usable(f, g, h):
    return (jnp.isfinite(f) & jnp.all(jnp.isfinite(g), -1) & jnp.all(jnp.isfinite(h), (-1, -2)))

  def body(state):
    i, u, f, g, h, damping, active, converged = state
    trial, promised = _step(u, g, h, damping, lower, upper, free)
    promised = jnp.where(active, promised, 0.0)
    small = jnp.isfinite(f) & (promised <= tolerance * f + 1e-33)
    f1, g1, h1 = model(trial, lanes, weights)
    accept = active & (f1 < f) & usable(f1, g1, h1)
    gain = (f - f1) / jnp.where(promised > 0, promised, 1.0)
    easier = jnp.where(gain > 0.75, damping * 0.2, jnp.where(gain < 0.25, damping * 2, damping))
    damping = jnp.where(accept, jnp.maximum(easier, 1e-12), damping * 5)
    u = jnp.where(accept[:, None], trial, u)
    g = jnp.where(accept[:, None], g1, g)
    h = jnp.where(accept[:, None, None], h1, h)
    f = jnp.where(accept, f1, f)
    converged = converged | (active & small)
    active = active & ~small & (damping < 1e12) & jnp.isfinite(f)
    return i + 1, u, f, g, h, damping, active, converged

  # The first pass stays where it is, from f = inf: the model is compiled once, in the loop.
  count, size = u.shape
  state = (-1, u, jnp.full(count, jnp.inf), jnp.zeros_like(u), jnp.zeros((count, size, size)),
           damping, active, jnp.zeros_like(active))
  state = jax.lax.while_loop(lambda s: (s[0] < steps) & jnp.any(s[6]), body, state)
  return state[1], state[2], state[5], state[7], state[6]
