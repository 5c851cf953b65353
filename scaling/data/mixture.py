"""The shares of the domains at every step: the one place where a schedule of them belongs.

With t the 0-based step, T the steps of the run, w the domains' `weight`s:

  constant      r(t) = w
  step          w before step round(change_at T), the `late_weight`s from then on: domain upsampling
                at the end of training (Blakeney et al. 2024, arXiv 2406.03476)
  temperature   r_i(t) = w_i^(1 / tau(t)) / sum_j w_j^(1 / tau(t)), tau going linearly from
                `temperature` at the first step to `final_temperature` at the last (Li et al. 2024,
                arXiv 2410.04579: a high temperature lowered during training)

The trained model sees only the windows that the shares lead to: the sampler takes any rows.
"""

from __future__ import annotations

import functools

import numpy as np

from scaling.specs import DataSpec, MixtureSpec


def names(spec: DataSpec) -> tuple[str, ...]:
  """The domains in the order of every array that has one axis for them: sorted by name."""
  return tuple(sorted(spec.domains))


def moves(spec: DataSpec) -> bool:
  """Whether the shares depend on the step."""
  return spec.mixture.schedule != 'constant'


def weights(spec: DataSpec, steps: np.ndarray, total: int) -> np.ndarray:
  """float64 [K, M]: the domains' shares r at the given steps (0-based) of a run of `total`.

  Rows sum to 1; a domain of weight 0 has share 0 throughout, unless its late weight is another.
  """
  steps = np.asarray(steps)
  match spec.mixture.schedule:
    case 'step':
      return np.where((steps >= _change(spec, total))[:, None], _row(spec, 'late_weight'),
                      _row(spec))
    case 'temperature':
      return _moving(spec.mixture, tuple(_row(spec)), total)[0][steps]
  return np.tile(_row(spec), (len(steps), 1))


def sums(spec: DataSpec, steps: np.ndarray, total: int) -> np.ndarray:
  """float64 [K, M]: the sum of `weights` over all steps before each of the given ones.

  A function of the step alone, bit for bit, so that a chunk of steps may begin anywhere.
  """
  before = np.asarray(steps, np.float64)[:, None]
  match spec.mixture.schedule:
    case 'step':
      change = float(_change(spec, total))
      return (np.minimum(before, change) * _row(spec)
              + np.maximum(before - change, 0.0) * _row(spec, 'late_weight'))
    case 'temperature':
      return _moving(spec.mixture, tuple(_row(spec)), total)[1][np.asarray(steps)]
  return before * _row(spec)


def _row(spec: DataSpec, field: str = 'weight') -> np.ndarray:
  return np.array([getattr(spec.domains[name], field) for name in names(spec)], np.float64)


def _change(spec: DataSpec, total: int) -> int:
  assert spec.mixture.change_at is not None  # The spec's check demands it.
  return round(spec.mixture.change_at * total)


@functools.lru_cache(maxsize=64)
def _moving(mixture: MixtureSpec, row: tuple[float, ...], total: int,
            ) -> tuple[np.ndarray, np.ndarray]:
  """The shares of every step [T, M] and their sums before every step and the end [T + 1, M]."""
  base = np.array(row)
  tau = np.linspace(mixture.temperature, mixture.final_temperature, total)[:, None]
  with np.errstate(divide='ignore'):
    logs = np.log(base) / tau
  shares = np.exp(logs - logs.max(1, keepdims=True))
  shares /= shares.sum(1, keepdims=True)
  return shares, np.concatenate([np.zeros((1, len(row))), np.cumsum(shares, 0)])
