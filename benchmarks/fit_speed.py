"""How long fits take, against what they must reach (docs/performance.md has the figures).

  python benchmarks/fit_speed.py [--only=chinchilla,bootstrap,scipy,dcpt,cold,memory]

Every part runs in a process of its own, so compilation counts and no part warms another.
`chinchilla`: approach 3 on 240 points, the paper's 4,500 starts, then 4,000 bootstrap refits.
`scipy`: the same fit by scipy's serial L-BFGS-B, finite differences, a sample of the starts.
`dcpt`: nine parameters on 2,430 rows, 512 starts and 200 bootstraps. `cold`: `python -m
analysis.fit` on a small CSV. `memory`: 4,000 bootstraps of 5,000 rows, the largest resident size.
Wall time and processor time are both printed: on a machine that others use, the latter tells.
The 240 points are those of arXiv 2404.10102 where SCALING_REFERENCE_DATA names a folder that has
them, else synthetic ones on a grid like theirs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

TRUTH = {'E': 1.82, 'A': 480.0, 'B': 2085.0, 'alpha': 0.348, 'beta': 0.366}
DCPT = {'E': 1.2, 'A': 480.0, 'B': 2100.0, 'C': 0.1, 'alpha': 0.35, 'beta': 0.37, 'gamma': 0.6,
        'eta': 1.3, 'eps': 0.05}
SAMPLE = 24  # starts that scipy takes


def points() -> tuple[dict[str, np.ndarray], np.ndarray]:
  """240 (N, D) and losses: the published ones, or such as they are."""
  path = os.path.join(os.environ.get('SCALING_REFERENCE_DATA', ''), 'chinchilla_epoch', 'runs.csv')
  if os.path.isfile(path):
    import pandas as pd
    table = pd.read_csv(path).nsmallest(240, 'loss')
    n = table['Model Size'].to_numpy()
    return {'N': n, 'D': table['Training FLOP'].to_numpy() / 6 / n}, table['loss'].to_numpy()
  return synthetic(240)


def synthetic(count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """N of 44M to 16B and C of 6e18 to 3e21 FLOPs, ten tokens a parameter or so."""
  random = np.random.default_rng(0)
  c = np.exp(random.uniform(np.log(6e18), np.log(3e21), count))
  n = np.clip(np.sqrt(c / 120) * np.exp(random.normal(scale=0.8, size=count)), 4.4e7, 1.6e10)
  x = {'N': n, 'D': c / 6 / n}
  return x, chinchilla_loss(TRUTH, x) * np.exp(0.01 * random.normal(size=count))


def chinchilla_loss(p: dict[str, float], x: dict[str, np.ndarray]) -> np.ndarray:
  return p['E'] + p['A'] / x['N'] ** p['alpha'] + p['B'] / x['D'] ** p['beta']


def said(name: str, wall: float, processor: float, limit: str, more: str = '') -> None:
  print(f'{name:44} {wall:8.2f} s wall {processor:8.2f} s processor   ({limit}) {more}', flush=True)


class Clock:
  """Wall and processor time (of all threads) since it was made."""

  def __init__(self) -> None:
    self.wall, self.processor = time.perf_counter(), time.process_time()

  def read(self) -> tuple[float, float]:
    return time.perf_counter() - self.wall, time.process_time() - self.processor


def chinchilla() -> None:
  from analysis import fit, laws
  from analysis.laws import chinchilla as law
  x, loss = points()
  clock = Clock()
  found = fit.fit(laws.get('chinchilla'), x, loss, starts=law.HOFFMANN_STARTS, bootstrap=0)
  said('4,500 starts on 240 points, cold', *clock.read(), 'under 5 s',
       f'objective {found.value:.12g}')
  clock = Clock()
  fit.fit(laws.get('chinchilla'), x, loss, starts=law.HOFFMANN_STARTS, bootstrap=0)
  said('  again', *clock.read(), '')
  clock = Clock()
  fit.fit(laws.get('chinchilla'), {k: v[:-3] for k, v in x.items()}, loss[:-3], bootstrap=0)
  said('  237 points: nothing is compiled again', *clock.read(), '')


def bootstrap() -> None:
  from analysis import fit, laws
  x, loss = points()
  clock = Clock()
  fit.fit(laws.get('chinchilla'), x, loss, bootstrap=4000)
  said('fit and 4,000 bootstrap refits, cold', *clock.read(), 'under 10 s')


def scipy() -> None:
  """L-BFGS-B with finite differences, as the papers' own scripts do it, one start after another."""
  import itertools

  from scipy import optimize, special

  from analysis.laws import chinchilla as law
  x, loss = points()
  n, d, y = np.log(x['N']), np.log(x['D']), np.log(loss)

  def objective(p: np.ndarray) -> float:
    e, a, b, alpha, beta = p
    r = special.logsumexp(np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)]), 0) - y
    inner = np.minimum(np.abs(r), 1e-3)
    return float(np.sum(inner * (np.abs(r) - inner / 2)))

  grid = list(itertools.product(*law.HOFFMANN_STARTS.values()))
  chosen = np.random.default_rng(0).permutation(len(grid))[:SAMPLE]
  clock = Clock()
  best = min(optimize.minimize(objective, grid[i], method='L-BFGS-B').fun for i in chosen)
  wall, processor = clock.read()
  said(f'scipy, {SAMPLE} of the 4,500 starts', wall, processor, '',
       f'{wall / SAMPLE:.3f} s a start, 4,500 of them {4500 * wall / SAMPLE:.0f} s wall, '
       f'{4500 * processor / SAMPLE:.0f} s processor; lowest {best:.12g}')


def dcpt() -> None:
  from analysis import fit, laws
  law = laws.get('dcpt')
  n, r, d = (v.ravel() for v in np.meshgrid(
      np.geomspace(1e8, 4e9, 5), [0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0],
      np.geomspace(2e8, 2.6e10, 54), indexing='ij'))
  x = {'N': n, 'D': d, 'r': r}
  random = np.random.default_rng(0)
  group = np.repeat(np.arange(45), 54)
  noise = 0.003 * random.normal(size=n.size) + 0.003 * random.normal(size=45)[group]
  loss = law.predict(DCPT, x) * np.exp(noise)
  starts = {p.name: [np.log(DCPT[p.name]) + s for s in (-0.7, 0.7)] if p.scale == 'log' else
            [0.6 * DCPT[p.name], 1.5 * DCPT[p.name]] for p in law.parameters}
  clock = Clock()
  found = fit.fit(law, x, loss, groups=group, bootstrap=200, starts=starts)
  said('D-CPT, 2,430 rows, 512 starts, 200 refits, cold', *clock.read(), 'under 90 s',
       f'objective {found.value:.9g}')


def cold() -> None:
  x, loss = synthetic(60)
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'runs.csv')
    with open(path, 'w', encoding='utf-8') as file:
      file.write('N,D,loss\n' + ''.join(f'{n!r},{d!r},{y!r}\n' for n, d, y in zip(
          x['N'].tolist(), x['D'].tolist(), loss.tolist())))
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, '-m', 'analysis.fit', '--law=chinchilla', f'--data={path}',
                    f'--out={folder}/fit.json'], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said('python -m analysis.fit, 60 rows, cold', time.perf_counter() - wall,
         after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 'under 8 s')


def memory() -> None:
  from analysis import fit, laws
  x, loss = synthetic(5000)
  clock = Clock()
  fit.fit(laws.get('chinchilla'), x, loss, bootstrap=4000)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  said('4,000 bootstraps of 5,000 rows', *clock.read(), 'under 2 GB',
       f'largest resident size {peak:.2f} GB')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='parts, comma-separated')
  parser.add_argument('--here', default='', help=argparse.SUPPRESS)  # one part, in this process
  options = parser.parse_args()
  parts = {'chinchilla': chinchilla, 'bootstrap': bootstrap, 'scipy': scipy, 'dcpt': dcpt,
           'cold': cold, 'memory': memory}
  if options.here:
    parts[options.here]()
    return
  print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}', flush=True)
  wanted = [p for p in options.only.split(',') if p] or list(parts)
  for part in wanted:
    if part not in parts:
      parser.error(f'--only: {part}; the parts are {", ".join(parts)}')
    subprocess.run([sys.executable, os.path.abspath(__file__), f'--here={part}'], check=True)


if __name__ == '__main__':
  main()
