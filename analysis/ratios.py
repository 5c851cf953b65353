"""Optima and crossings along a grid of mixing ratios, interpolated between its points."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling.errors import InputError

RISE = 1e-3  # of a loss: a rise with the corpus's own share that is worth a warning


def crossing(ratio: Any, values: Any, limit: float) -> float:
  """The first ratio at which values [n], at increasing ratios [n], pass the limit.

  Linear between points; the last ratio if they never do. InputError if they begin above it.
  """
  r, y = np.asarray(ratio, np.float64), np.asarray(values, np.float64)
  above = np.flatnonzero(y > limit)
  if not len(above):
    return float(r[-1])
  i = int(above[0])
  if i == 0:
    raise InputError(f'the limit {limit:.5g} is passed at every ratio from {r[0]:.3g} on')
  return float(r[i - 1] + (r[i] - r[i - 1]) * (limit - y[i - 1]) / (y[i] - y[i - 1]))


def least(r: np.ndarray, loss: np.ndarray, over: np.ndarray) -> np.ndarray:
  """Where loss [S, G] is least with over [S, G] <= 0; [S], nan where over is positive everywhere.

  r [G] increases. At the edge of what `over` allows the crossing is linear between two ratios, and
  a minimum inside is the vertex of the parabola through three of them.
  """
  feasible = (over <= 0) & np.isfinite(loss)
  i = np.argmin(np.where(feasible, loss, np.inf), -1)
  rows, step, last = np.arange(len(loss)), r[1] - r[0], len(r) - 1
  found = r[i]
  inner = (i > 0) & (i < last)
  before, after = np.maximum(i - 1, 0), np.minimum(i + 1, last)
  for beside in (before, after):  # a lower loss there, which the limit forbids: go up to the limit
    a, b = over[rows, i], over[rows, beside]
    cut = (beside != i) & (b > 0) & (loss[rows, beside] < loss[rows, i])
    share = np.where(cut, a / np.where(cut, a - b, 1.0), 0.0)
    found = found + share * (r[beside] - r[i])
    inner &= ~cut
  y = loss[rows, before], loss[rows, i], loss[rows, after]
  bend = y[0] - 2 * y[1] + y[2]
  vertex = np.where(inner & (bend > 0), (y[0] - y[2]) / np.where(bend > 0, 2 * bend, 1.0), 0.0)
  found = found + step * np.clip(vertex, -1, 1)
  return np.where(feasible.any(-1), found, np.nan)


def rises(r: np.ndarray, loss: np.ndarray) -> list[str]:
  """That a law's loss [G] rises, by more than RISE of it, with its own corpus's share r [G].

  B r^eta with eta < 1 rises from r = 0 on, steeply if eta is small, where no ratio was trained.
  """
  least = np.minimum.accumulate(loss)
  i = int(np.argmax(loss - least))
  if not loss[i] > (1 + RISE) * least[i]:
    return []
  start = float(r[np.argmin(loss[:i + 1])])
  return [f'the law rises by {loss[i] - least[i]:.2g} from r = {start:.3g} to {r[i]:.3g} of its '
          'corpus, where it should fall: do not use it for ratios there']
