"""Which size is lowest where, along training curves: the staircase of compute-optimal sizes.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 1: every curve is interpolated (here linearly in
ln C and ln loss), the lowest one is looked for at 1,500 log-spaced C, and a power law goes through
the sizes found. Only whole steps of the staircase count (the first and the last are cut off), and
the regression is that of ln C on ln N, which steps and noise do not bias.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from analysis.frontiers.frontier import Line
from analysis.frontiers.minima import Curve

STEPS = 1500


@dataclasses.dataclass(frozen=True, eq=False)
class Envelope:
  """Interpolated losses of every curve at log-spaced C, and who is lowest where."""

  ln_c: np.ndarray  # [T]
  ln_loss: np.ndarray  # [curves, T], inf outside the curve
  ln_n: np.ndarray  # [curves]
  ln_d: np.ndarray  # [curves, T]

  def steps(self, kept: np.ndarray | None = None, shift: np.ndarray | float = 0.0,
            ) -> tuple[np.ndarray, np.ndarray]:
    """Which of the T values lie on whole steps [T], and the lowest curve at each [T].

    A step is whole when its size takes over from another and gives way to another, each time while
    both have a curve there; elsewhere it is not known where it begins or ends. kept [curves]: which
    to use; shift [curves]: added to ln loss.
    """
    loss = self.ln_loss + np.reshape(shift, (-1, 1))
    if kept is not None:
      loss = np.where(kept[:, None], loss, np.inf)
    lowest = np.argmin(loss, 0)
    seen = np.isfinite(loss.min(0))
    size = np.where(seen, np.round(self.ln_n[lowest], 9), np.nan)
    ends = np.flatnonzero(np.diff(size) != 0)  # nan differs from everything
    met = [self._both(loss, int(t), size) for t in ends]
    whole = np.zeros(len(self.ln_c), bool)
    for left, right, fine in zip(ends[:-1], ends[1:], np.logical_and(met[:-1], met[1:])):
      whole[left + 1:right + 1] = fine
    return whole, lowest

  def _both(self, loss: np.ndarray, t: int, size: np.ndarray) -> bool:
    """Whether the sizes lowest at t and t + 1 both have a curve at both: they cross there."""
    return all(bool(np.isfinite(loss[np.isclose(self.ln_n, size[a], atol=1e-8), b]).any())
               for a, b in ((t, t + 1), (t + 1, t)))

  def slices(self) -> list[Curve]:
    """Loss against size at every 40th C."""
    found = []
    for t in range(20, len(self.ln_c), 40):
      ok = np.isfinite(self.ln_loss[:, t])
      if ok.any():
        found.append(Curve.of(np.exp(self.ln_n[ok]), np.exp(self.ln_d[ok, t]),
                              np.full(ok.sum(), np.exp(self.ln_c[t])),
                              np.exp(self.ln_loss[ok, t])))
    return found

  def lines(self, shifts: np.ndarray, counts: np.ndarray | None) -> tuple[Line, Line]:
    """The lines of ln N and ln D, with draws in which curves move by shifts [S, curves] or, if

    counts [S, curves] are given, only those counted are there. Draws that leave fewer than two
    sizes are left out.
    """
    draws = [self._line(*(self.steps(shift=shifts[s]) if counts is None
                          else self.steps(kept=counts[s] > 0))) for s in range(len(shifts))]
    ends = np.array([d for d in draws if d is not None]).reshape(-1, 4)
    whole, lowest = self.steps()
    found = self._line(whole, lowest)
    assert found is not None
    r2 = float(np.corrcoef(self.ln_c[whole], self.ln_n[lowest[whole]])[0, 1] ** 2)
    return (Line(found[0], found[1], r2, ends[:, 0], ends[:, 1]),
            Line(found[2], found[3], r2, ends[:, 2], ends[:, 3]))

  def _line(self, whole: np.ndarray, lowest: np.ndarray,
            ) -> tuple[float, float, float, float] | None:
    """Slope and intercept of ln N and of ln D in ln C along whole steps; None for less than two.

    N is exact and steps, C where a size is lowest is what varies: so ln C is regressed on ln N.
    The regression of ln N on ln C has a slope too small by one part in steps^2 and more with noise.
    """
    c, n = self.ln_c[whole], self.ln_n[lowest[whole]]
    d = self.ln_d[lowest, np.arange(len(self.ln_c))][whole]
    if len(np.unique(np.round(n, 9))) < 2:
      return None
    (q, p), (s, r) = np.polyfit(n, c, 1), np.polyfit(n, d, 1)
    return float(1 / q), float(-p / q), float(s / q), float(r - s * p / q)


def of(n: np.ndarray, d: np.ndarray, c: np.ndarray, loss: np.ndarray, curve: np.ndarray,
       ) -> tuple[Envelope, np.ndarray, Counter[str]]:
  """Curves interpolated in ln C, the names of those used, and how many others there are, and why.
  """
  ln_c = np.linspace(np.log(c.min()), np.log(c.max()), STEPS)
  losses, tokens, sizes, names = [], [], [], []
  left: Counter[str] = Counter()
  for name in np.unique(curve):
    mine = np.flatnonzero(curve == name)
    mine = mine[np.argsort(c[mine], kind='stable')]
    mine = mine[np.append(True, np.diff(c[mine]) > 0)]
    if len(mine) < 2:
      left['curve of one point'] += 1
      continue
    if np.ptp(np.log(n[mine])) > 0.01:
      left['N changes along the curve'] += 1
      continue
    at = np.log(c[mine])
    inside = (ln_c >= at[0] - 1e-12) & (ln_c <= at[-1] + 1e-12)
    losses.append(np.where(inside, np.interp(ln_c, at, np.log(loss[mine])), np.inf))
    tokens.append(np.interp(ln_c, at, np.log(d[mine])))
    sizes.append(float(np.log(n[mine]).mean()))
    names.append(name)
  shape = (len(names), STEPS)
  return (Envelope(ln_c, np.array(losses).reshape(shape), np.array(sizes),
                   np.array(tokens).reshape(shape)), np.array(names), left)
