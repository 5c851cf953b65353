"""How often intervals hold the truth over synthetic studies: the figures of docs/fit.md.

  python tests/analysis/coverage.py --studies=500

Each study draws losses around a known Chinchilla law on a grid of sizes and budgets, log-normal
noise of 0.5 %, fits it as analysis.fit does, and asks whether the 90 % intervals hold the true
parameters, the law at ten times the largest N and D, and a new noisy run at twice and ten times.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from analysis import fit, laws

LAW = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
NOISE = 0.005
LEVEL = 0.9
GRIDS = {12: (4, 3), 20: (5, 4), 40: (8, 5), 120: (12, 10)}


def grid(sizes: int, budgets: int) -> dict[str, np.ndarray]:
  """N over 50M to 2B, D over 1B to 40B: the corner where both terms matter."""
  n, d = np.meshgrid(np.geomspace(5e7, 2e9, sizes), np.geomspace(1e9, 4e10, budgets))
  return {'N': n.ravel(), 'D': d.ravel()}


def coverage(points: int, studies: int, objective: str = 'huber_log', heavy: bool = False,
             seed: int = 0, **options) -> dict[str, float]:
  """The share of studies whose intervals hold the truth, by quantity."""
  random = np.random.default_rng(seed)
  x = grid(*GRIDS[points])
  exact = LAW.predict(TRUTH, x)
  factors = np.array([2.0, 10.0])
  places = {k: factors * v.max() for k, v in x.items()}
  truth = LAW.predict(TRUTH, places)
  hits: dict[str, list[bool]] = {}

  def note(name: str, low: float, high: float, value: float) -> None:
    hits.setdefault(name, []).append(bool(low <= value <= high))

  def noise(shape):
    z = random.standard_t(3, shape) / np.sqrt(3) if heavy else random.normal(size=shape)
    return np.exp(NOISE * z)

  for i in range(studies):
    found = fit.fit(LAW, x, exact * noise(exact.shape), objective=objective, level=LEVEL, seed=i,
                    **options)
    for name, (low, high) in found.intervals.items():
      note(name, low, high, TRUTH[name])
    new = truth * noise(truth.shape)
    for kind, values in (('confidence', truth), ('prediction', new)):
      low, high = found.interval(places, kind)
      for k, factor in enumerate(factors):
        note(f'{kind} at {factor:.0f}x', low[k], high[k], values[k])
  return {name: float(np.mean(values)) for name, values in hits.items()}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--studies', type=int, default=500)
  parser.add_argument('--points', type=int, nargs='*', default=list(GRIDS))
  parser.add_argument('--objective', default='huber_log')
  parser.add_argument('--heavy', action='store_true', help='Student noise with 3 degrees')
  options = parser.parse_args()
  for points in options.points:
    start = time.time()
    found = coverage(points, options.studies, options.objective, options.heavy)
    shown = '  '.join(f'{name} {value:.3f}' for name, value in found.items())
    print(f'{points} points, {options.objective}{", heavy" if options.heavy else ""}: {shown}  '
          f'({time.time() - start:.0f} s)', flush=True)


if __name__ == '__main__':
  main()
