"""Runs of a known Chinchilla law, at equal compute and along training curves."""

from __future__ import annotations

import numpy as np

from analysis import laws

LAW = laws.get('chinchilla')
TRUTH = {'E': 1.82, 'A': 480.0, 'B': 2085.0, 'alpha': 0.348, 'beta': 0.366}
A, B = TRUTH['alpha'], TRUTH['beta']
SLOPE = B / (A + B)  # of ln N* in ln C


BUDGETS = np.geomspace(1e18, 1e21, 7)
SIZES = np.geomspace(3e7, 3e9, 13)


def isoflop(budgets=BUDGETS, sizes=9, reach=8.0, noise=0.0, seed=0, law=TRUTH):
  """{'N', 'D', 'C'} and loss: `sizes` around each budget's optimum, within a factor of `reach`."""
  best = LAW.best(law, budgets)['N']
  n = (best[:, None] * np.geomspace(1 / reach, reach, sizes)).ravel()
  c = np.repeat(budgets, sizes)
  x = {'N': n, 'D': c / 6 / n, 'C': c}
  return x, LAW.predict(law, x) * np.exp(noise * np.random.default_rng(seed).normal(size=len(n)))


def curves(sizes=SIZES, points=40, noise=0.0, seed=0, law=TRUTH):
  """{'N', 'D', 'C'}, loss and the curve of each row: sizes over one range of C."""
  n = np.repeat(sizes, points)
  c = np.tile(np.geomspace(1e17, 3e21, points), len(sizes))
  x = {'N': n, 'D': c / 6 / n, 'C': c}
  shift = np.repeat(noise * np.random.default_rng(seed).normal(size=len(sizes)), points)
  return x, LAW.predict(law, x) * np.exp(shift), np.repeat(np.arange(len(sizes)), points)
