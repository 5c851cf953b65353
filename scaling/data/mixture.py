"""The shares of the domains at every step: the one place where a schedule of them belongs."""

from __future__ import annotations

import numpy as np

from scaling.specs import DataSpec


def names(spec: DataSpec) -> tuple[str, ...]:
  """The domains in the order of every array that has one axis for them: sorted by name."""
  return tuple(sorted(spec.domains))


def weights(spec: DataSpec, steps: np.ndarray) -> np.ndarray:
  """float64 [K, M]: the domains' shares r at the given steps (0-based), rows summing to 1.

  Constant here. A mixture that moves changes this module alone: the sampler takes any rows, and
  the trained model sees only the windows they lead to.
  """
  return np.tile(_row(spec), (len(steps), 1))


def sums(spec: DataSpec, steps: np.ndarray) -> np.ndarray:
  """float64 [K, M]: the sum of `weights` over all steps before each of the given ones.

  A function of the step alone, bit for bit, so that a chunk of steps may begin anywhere.
  """
  return np.asarray(steps, np.float64)[:, None] * _row(spec)


def _row(spec: DataSpec) -> np.ndarray:
  return np.array([spec.domains[name].weight for name in names(spec)], np.float64)
