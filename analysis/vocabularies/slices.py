"""Approach 1 on a study: the vocabulary of least loss at equal compute, size by size.

The losses of one size and one vocabulary are interpolated in ln C; at a C that several vocabularies
reach, a parabola in ln V through those within a factor of the lowest has its vertex at the best
one. The paper (Tao et al. 2024, arXiv 2407.13623, 4.1) takes the lowest points of all sizes
together; with the few sizes of a small study they say more one by one:

  ln N_v = k + a ln C + g ln N_nv

which along N_nv = const C^.5 is the paper's N_v = const C^(a + g / 2). A minimum counts if the
lowest vocabulary has one tried on either side of it, and the vertex lies among those of the
parabola.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from analysis.vocabularies.runs import FEWEST, Runs

BUDGETS = 12  # a size's, from its cheapest run to its dearest
WINDOW = 4.2  # the parabola goes through vocabularies within this factor of the lowest
SMALLEST, LARGEST, DOWN, OUTSIDE = (
    'lowest at the smallest vocabulary', 'lowest at the largest vocabulary',
    'parabola opens downward', 'vertex outside the data')


@dataclasses.dataclass(frozen=True)
class Slice:
  """Losses of one size at one budget: V [K] ascending, loss [curves] of each curve, its V in `at`
  [curves], and the curves' numbers."""

  N_nv: float
  d: float
  C: float
  V: np.ndarray
  at: np.ndarray
  loss: np.ndarray
  curves: np.ndarray


@dataclasses.dataclass(frozen=True)
class Minimum:
  """The best vocabulary of a slice; points: vocabularies in its parabola; why: what keeps it from
  being one ('' if nothing does)."""

  N_nv: float
  C: float
  V: float
  N_v: float
  loss: float
  points: int
  why: str = ''


def slices(runs: Runs, metric: str) -> list[Slice]:
  """The slices of every size that have enough vocabularies."""
  found = []
  curves = {int(c): np.flatnonzero(runs.curve == c) for c in np.unique(runs.curve)}
  for size, d in zip(runs.scale.sizes, runs.scale.widths):
    own = {c: rows for c, rows in curves.items()
           if runs.N_nv[rows[0]] == size and len(np.unique(runs.C[rows])) > 1}
    if not own:
      continue
    lines = {c: _line(np.log(runs.C[rows]), runs.losses[metric][rows]) for c, rows in own.items()}
    costs = runs.C[np.concatenate(list(own.values()))]
    for C in np.geomspace(costs.min(), costs.max(), BUDGETS):
      x = np.log(C)
      known = [c for c, (low, high, _) in lines.items() if low - 1e-9 <= x <= high + 1e-9]
      V, at = np.unique([runs.V[own[c][0]] for c in known], return_inverse=True)
      if len(V) >= FEWEST:
        loss = np.array([float(lines[c][2](np.clip(x, *lines[c][:2]))) for c in known])
        found.append(Slice(size, d, float(C), V, at, loss, np.array(known)))
  return found


def minimum(of: Slice, weights: np.ndarray | None = None) -> Minimum:
  """The minimum of a slice; weights: of its curves, of which the losses of one V are averaged."""
  w = np.ones(len(of.loss)) if weights is None else weights
  total = np.maximum(np.bincount(of.at, w), 1e-12)
  loss = np.bincount(of.at, w * of.loss) / total
  x, low = np.log(of.V), int(np.argmin(loss))
  used = np.abs(x - x[low]) <= np.log(WINDOW) + 1e-9
  middle = min(max(low, 1), len(x) - 2)
  used[middle - 1:middle + 2] = True
  root = np.sqrt(total[used] / total[used].max())
  design = np.vander(x[used] - x[low], 3) * root[:, None]
  c2, c1, c0 = np.linalg.lstsq(design, loss[used] * root, rcond=None)[0]
  vertex = x[low] - c1 / (2 * c2) if c2 > 0 else x[low]
  why = (SMALLEST if low == 0 else LARGEST if low == len(x) - 1 else DOWN if c2 <= 0 else
         OUTSIDE if not x[used][0] < vertex < x[used][-1] else '')
  best = of.V[low] if why else np.exp(vertex)
  height = loss[low] if why else c0 - c1**2 / (4 * c2)
  return Minimum(of.N_nv, of.C, float(best), float(best * of.d), float(height), int(used.sum()),
                 why)


def power_law(minima: list[Minimum]) -> dict[str, float] | None:
  """k, a, g of the bracketed minima by least squares; None with fewer than three of them.

  With one size alone g is 0, with budgets that hardly differ so is a.
  """
  good = [m for m in minima if not m.why]
  if len(good) < 3:
    return None
  C, n = np.log([m.C for m in good]), np.log([m.N_nv for m in good])
  free = [True, np.ptp(C) > 0.1, np.ptp(n) > 0.1]
  design = np.stack([np.ones_like(C), C, n], -1)[:, free]
  solved = np.zeros(3)
  solved[free] = np.linalg.lstsq(design, np.log([m.N_v for m in good]), rcond=None)[0]
  return dict(zip(('k', 'a', 'g'), map(float, solved)))


def refused(minima: list[Minimum]) -> dict[str, int]:
  """How many minima are none, by reason."""
  return dict(Counter(m.why for m in minima if m.why))


def weights_of(runs: Runs, of: list[Slice], drawn: np.ndarray) -> list[np.ndarray]:
  """Weights of each slice's curves from those of groups: a curve counts as its rows do on average.
  """
  count = np.bincount(runs.curve)
  by_curve = np.bincount(runs.curve, drawn[runs.group]) / np.maximum(count, 1)
  return [by_curve[s.curves] for s in of]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, Any]:
  """(lowest x, highest x, y of x): the polynomial through three points or two, else monotone
  cubics. Rows of one x are averaged."""
  x, at = np.unique(x, return_inverse=True)
  y = np.bincount(at, y) / np.bincount(at)
  if len(x) > 3:
    return float(x[0]), float(x[-1]), PchipInterpolator(x, y)
  middle = x.mean()
  coefficients = np.polyfit(x - middle, y, len(x) - 1)
  return float(x[0]), float(x[-1]), lambda z: np.polyval(coefficients, z - middle)
