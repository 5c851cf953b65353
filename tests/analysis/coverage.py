"""How often intervals hold the truth over synthetic studies: the figures of docs/fit.md.

  python tests/analysis/coverage.py --studies=500 [--law=dcpt] [--objective=mse_log] [--heavy]

Each study draws losses around a known law, and asks whether the 90 % intervals hold the true
parameters, the law at ten times the largest N and D, and a new noisy run at twice and ten times.

chinchilla: a grid of sizes and budgets, log-normal noise of 0.5 % (or Student's with three degrees
of freedom and the same variance), every row a group. dcpt: sizes x nine ratios, six checkpoints a
run; a run's noise of 0.4 %, shared by its rows, which are a group, and 0.3 % a row.

Fits start from the truth, and the refits of all studies are one batch of programs; what is done
with them, and the intervals of a study, are those of analysis.fit (tests/analysis/test_coverage.py
compares).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time

import jax.numpy as jnp
import numpy as np

from analysis import fit, laws
from analysis.fitting import bootstrap, objectives, solver
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.objectives import Objective

LEVEL = 0.9
FACTORS = np.array([2.0, 10.0])


@dataclasses.dataclass(frozen=True)
class Study:
  """What is drawn: a law's truth at inputs, noise per group and per row (standard deviations)."""

  law: str
  truth: dict[str, float]
  x: dict[str, np.ndarray]
  groups: np.ndarray
  of_group: float
  of_row: float

  def places(self) -> dict[str, np.ndarray]:
    """2 and 10 times the largest N and D at once; every ratio of a few."""
    if 'r' not in self.x:
      return {k: FACTORS * v.max() for k, v in self.x.items()}
    return {k: np.repeat(FACTORS, 2) * v.max() if k != 'r' else np.tile([0.2, 0.8], 2)
            for k, v in self.x.items()}

  def labels(self) -> list[str]:
    return [f'{f:.0f}x' + (f' r={r}' if 'r' in self.x else '')
            for f in FACTORS for r in ((0.2, 0.8) if 'r' in self.x else (0,))]

  def noise(self, random: np.random.Generator, heavy: bool, shape: tuple[int, ...] = ()):
    def draw(size):
      return random.standard_t(3, size) / np.sqrt(3) if heavy else random.normal(size=size)

    if shape:  # of new runs
      return np.hypot(self.of_group, self.of_row) * draw(shape)
    names = np.unique(self.groups, return_inverse=True)[1]
    return (self.of_group * draw(names.max() + 1)[names] + self.of_row * draw(len(names)))


def chinchilla(points: int) -> Study:
  """N over 50M to 2B, D over 1B to 40B: the corner where both terms matter."""
  sizes, budgets = {12: (4, 3), 20: (5, 4), 40: (8, 5), 120: (12, 10)}[points]
  n, d = np.meshgrid(np.geomspace(5e7, 2e9, sizes), np.geomspace(1e9, 4e10, budgets))
  return Study('chinchilla', {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37},
               {'N': n.ravel(), 'D': d.ravel()}, np.arange(points), 0.0, 0.005)


def dcpt(points: int) -> Study:
  """`points` runs: a multiple of nine ratios; six checkpoints each."""
  n, r, d = (v.ravel() for v in np.meshgrid(
      np.geomspace(1e8, 4e9, points // 9), [0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0],
      np.geomspace(2e8, 2.6e10, 6), indexing='ij'))
  return Study('dcpt', {'E': 1.2, 'A': 480.0, 'B': 2100.0, 'C': 0.1, 'alpha': 0.35, 'beta': 0.37,
                        'gamma': 0.6, 'eta': 1.3, 'eps': 0.05},
               {'N': n, 'D': d, 'r': r}, np.repeat(np.arange(points), 6), 0.004, 0.003)


STUDIES = {'chinchilla': chinchilla, 'dcpt': dcpt}
POINTS = {'chinchilla': (12, 20, 40, 120), 'dcpt': (27, 45)}


@functools.cache
def of_lanes(law: laws.Law):
  """Residuals with a data set for every lane."""

  def residuals(u, data, lane):
    found = law.equation(objectives.natural(law, u, data), data['x'])
    return jnp.log(found) - lane['y']

  return residuals


def fits(study: Study, objective: Objective, losses: np.ndarray, refits: int, interval: str,
         seed: int) -> list[fit.Fit]:
  """What fit.fit gives for every row of losses [S, n], from refits in one batch."""
  law, count = laws.get(study.law), len(losses)
  groups = len(np.unique(study.groups))
  if interval == 'profile' or (interval == 'auto' and groups < 3 * len(law.parameters)):
    starts = {p.name: [np.log(study.truth[p.name]) if p.scale == 'log' else study.truth[p.name]]
              for p in law.parameters}
    return [fit.fit(law, study.x, y, objective=objective.name, level=LEVEL, groups=study.groups,
                    starts=starts, interval=interval) for y in losses]
  plain = interval == 'percentile'
  coordinates = Coordinates.of(law, study.x, np.exp(np.log(losses).mean(0)))
  lower, upper = coordinates.bounds()
  data = {'x': study.x, 'reference': coordinates.reference}
  rows, lanes = len(study.groups), np.log(losses)
  delta = np.full(rows, objective.deltas[-1])

  def solve(u, y, weights):
    return solver.minimise(of_lanes(law), u, data, {'y': y}, weights, delta, lower, upper,
                           steps=bootstrap.STEPS, tolerance=1e-10).u

  start = np.repeat(coordinates.internal(study.truth)[None], count, 0)
  centre = solve(start, lanes, np.ones((1, rows)))
  member = np.unique(study.groups, return_inverse=True)[1]
  drawn = np.concatenate([bootstrap.draws(study.groups, None, refits, seed + i, plain)
                          for i in range(count)])
  parts = []
  for first in range(0, count, 50):  # 50 studies at a time, for the memory
    of = np.repeat(np.arange(first, min(first + 50, count)), refits)
    some = drawn[first * refits:first * refits + len(of)]
    parts.append(solve(centre[of], lanes[of], lambda k, some=some: some[k][:, member]))
  samples = np.concatenate(parts).reshape(count, refits, -1)
  method = fit.PERCENTILE if plain else fit.BOOTSTRAP
  found = []
  for i in range(count):
    params = {k: float(v) for k, v in coordinates.natural(centre[i]).items()}
    own = Coordinates.of(law, study.x, losses[i])
    one = fit.Fit(law=law, params=params, objective=objective, value=0.0, inputs=study.x,
                  loss=losses[i], groups=study.groups, weights=np.ones(rows), level=LEVEL,
                  interval_method=method, samples=own.internal(coordinates.natural(samples[i])))
    refitted = one.refits()
    ends = {n: np.quantile(refitted[n], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) for n in law.names}
    found.append(dataclasses.replace(one, intervals={n: [float(a), float(b)]
                                                     for n, (a, b) in ends.items()}))
  return found


def coverage(study: Study, studies: int, objective: str = 'huber_log', heavy: bool = False,
             refits: int = 200, interval: str = 'auto', seed: int = 0) -> dict[str, float]:
  """The share of studies whose intervals hold the truth, by quantity."""
  law = laws.get(study.law)
  random = np.random.default_rng(seed)
  exact = law.predict(study.truth, study.x)
  losses = exact * np.exp([study.noise(random, heavy) for _ in range(studies)])
  places = study.places()
  truth = law.predict(study.truth, places)
  chosen = Objective.of(objective, 1e-3)
  hits: dict[str, list[bool]] = {}

  def note(name: str, low: float, high: float, value: float) -> None:
    hits.setdefault(name, []).append(bool(low <= value <= high))

  for found in fits(study, chosen, losses, refits, interval, seed):
    for name, (low, high) in found.intervals.items():
      note(name, low, high, study.truth[name])
    new = truth * np.exp(study.noise(random, heavy, truth.shape))
    for kind, name, values in (('confidence', 'law', truth), ('prediction', 'run', new)):
      low, high = found.interval(places, kind)
      for k, label in enumerate(study.labels()):
        note(f'{name} {label}', low[k], high[k], values[k])
  return {name: float(np.mean(values)) for name, values in hits.items()}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--studies', type=int, default=500)
  parser.add_argument('--law', default='chinchilla', choices=list(STUDIES))
  parser.add_argument('--points', type=int, nargs='*')
  parser.add_argument('--objective', default='huber_log')
  parser.add_argument('--interval', default='auto')
  parser.add_argument('--refits', type=int, default=200)
  parser.add_argument('--heavy', action='store_true', help='Student noise with 3 degrees')
  options = parser.parse_args()
  for points in options.points or POINTS[options.law]:
    start = time.time()
    found = coverage(STUDIES[options.law](points), options.studies, options.objective,
                     options.heavy, options.refits, options.interval)
    shown = '  '.join(f'{name} {value:.3f}' for name, value in found.items())
    print(f'{options.law}, {points} groups, {options.objective}, {options.interval}'
          f'{", heavy" if options.heavy else ""}: {shown}  ({time.time() - start:.0f} s)',
          flush=True)


if __name__ == '__main__':
  main()
