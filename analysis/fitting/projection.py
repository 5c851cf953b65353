"""Variable projection of starts (Golub and Pereyra 1973): the linear parameters solved for exactly.

A law that is linear in some parameters, L = b(u) + sum_k c_k phi_k(u) with c_k >= 0, has for given
nonlinear parameters u its best c in closed form, by least squares. With a `_log` objective rows are
weighted by 1 / loss^2, for then relative residuals are small where log residuals are. The grid of
starts shrinks from a product over all parameters to one over the nonlinear ones, each of them
starting low on its valley; the joint solver goes on from there.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.fitting import objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.laws.law import Law

LEAST = 1e-3  # of a coefficient, a share of the loss: at zero its logarithm would be stuck
MANY = 192  # more starts of laws with three nonlinear parameters or more, drawn between the grid's
MOST_LINEAR = 6


def starts(law: Law, coordinates: Coordinates, log: bool, data: dict[str, Any],
           weights: np.ndarray, grid: np.ndarray, seed: int = 0) -> np.ndarray:
  """grid [S, P] and, for a law with linear parameters, projected starts after it."""
  linear = [i for i, p in enumerate(law.parameters) if p.name in law.linear and p.scale == 'log']
  if not linear or len(linear) > MOST_LINEAR:
    return grid
  others = [i for i in range(grid.shape[1]) if i not in linear]
  nonlinear = np.unique(grid[:, others], axis=0)
  if len(others) >= 3:
    low, high = nonlinear.min(0), nonlinear.max(0)
    margin = 0.25 * (high - low)
    more = np.random.default_rng(seed).uniform(low - margin, high + margin, (MANY, len(others)))
    nonlinear = np.concatenate([nonlinear, more])
  u = np.zeros((len(nonlinear), grid.shape[1]))
  u[:, others] = nonlinear
  u = np.clip(u, *coordinates.bounds())
  u[:, linear] = 0.0  # coefficients count in units of their own
  square, product = _normal(law, log, tuple(linear), u, data, weights)
  usable = np.all(np.isfinite(square), (1, 2)) & np.all(np.isfinite(product), 1)
  u = u[usable]
  if not len(u):
    return grid
  found = nonnegative(square[usable], product[usable])
  u[:, linear] = np.log(np.maximum(found, LEAST))
  return np.concatenate([grid, u])


def nonnegative(square: np.ndarray, product: np.ndarray) -> np.ndarray:
  """argmin over c >= 0 of c' square c / 2 - product' c, for [S, K, K] and [S, K]: all 2^K sets."""
  count, size = product.shape
  scale = 1 / np.sqrt(np.maximum(np.diagonal(square, axis1=1, axis2=2), 1e-300))
  square = square * scale[:, :, None] * scale[:, None, :] + 1e-10 * np.eye(size)
  product = product * scale
  best, least = np.zeros((count, size)), np.zeros(count)
  for chosen in itertools.product((False, True), repeat=size):
    on = np.flatnonzero(chosen)
    if not len(on):
      continue
    c = np.zeros((count, size))
    c[:, on] = np.linalg.solve(square[:, on[:, None], on], product[:, on, None])[..., 0]
    value = -np.einsum('sk,sk->s', product, c) / 2
    better = np.all(c >= 0, 1) & (value < least)
    best[better], least[better] = c[better], value[better]
  return best * scale


def _normal(law: Law, log: bool, linear: tuple[int, ...], u: np.ndarray, data: dict[str, Any],
            weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The normal equations [S, K, K] and [S, K] of starts u [S, P]."""
  padding = solver.Padding.of(data)
  data, row = padding.data(data), padding.rows(weights, 0.0)
  chunk = solver.lanes_of(padding.total)
  parts = []
  with jax.enable_x64(True):
    for first in range(0, len(u), chunk):
      some = np.resize(u[first:first + chunk], (chunk, u.shape[1]))
      parts.append([np.asarray(x) for x in _equations(law, log, linear)(some, data, row)])
  return (np.concatenate([a for a, _ in parts])[:len(u)],
          np.concatenate([b for _, b in parts])[:len(u)])


@functools.cache
def _equations(law: Law, log: bool, linear: tuple[int, ...]) -> Callable[..., Any]:
  names = [law.parameters[i].name for i in linear]

  def of(v: Any, data: Any, row: Any) -> Any:
    params = objectives.natural(law, v, data)
    target = jnp.exp(data['y']) if log else data['y']
    row = row / target**2 if log else row
    none = {name: 0.0 * params[name] for name in names}
    base = law.equation(params | none, data['x'])
    columns = jnp.stack([law.equation(params | none | {name: params[name]}, data['x']) - base
                         for name in names])
    return (columns * row) @ columns.T, (columns * row) @ (target - base)

  return jax.jit(jax.vmap(of, (0, None, None)), compiler_options=solver.QUICK)
