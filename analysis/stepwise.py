"""The constants of whole training curves, step by step from logged runs: Su et al. 2024.

  (a) L(N) = (N_c / N)^alpha_N         from the ends of (nearly) converged runs
  (b) B_crit(L) = B_star / L^(1/alpha_B)  from contours of a batch-size sweep
  (c) (S_c / S_min)^alpha_S = L - L(N)    from runs at fixed B, S_min = S / (1 + B_crit(L) / B),
                                          without the warm-up and the decay at the end
  (d) predictions for larger models: least loss, updates to a loss, B_crit, the whole curve

arXiv 2403.06563. N parameters without embeddings, S updates, B tokens an update, L nats per token.
No run converges: (a) and (c) are repeated with what (c) says is left to learn taken off the ends,
until nothing changes; the numbers of the first pass are kept too. The command is
`python -m analysis.stepwise`; its flags are in analysis/commands/stepwise.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis.laws import critical_batch, trajectory
from analysis.training_curves import contours
from analysis.training_curves.contours import Contour, Corner
from scaling.errors import InputError

PAIRS = {'a': ('N_c', 'alpha_N'), 'b': ('B_star', 'alpha_B'), 'c': ('S_c', 'alpha_S')}
NAMES = ('N_c', 'alpha_N', 'B_star', 'alpha_B', 'S_c', 'alpha_S')
LEAST = 0.03  # rows of (c): what is left to learn is at least this share of the loss
ROUNDS = 200


@dataclasses.dataclass(frozen=True)
class Options:
  """warmup, tail: shares of each run's updates that (b) and (c) leave out, at its ends.

  converged: the flattest that -d ln L / d ln S of a run's last half must be for (a). levels: losses
  at which contours are read.
  """

  warmup: float = 0.05
  tail: float = 0.2
  converged: float = 0.02
  levels: int = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
  """Runs by number: {'N', 'B', 'S' [n], 'loss' [n]} with S rising, all rows and those in use."""

  whole: dict[int, dict[str, Any]]
  used: dict[int, dict[str, Any]]
  lineage: np.ndarray  # [runs], numbers from 0


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
  """params: of PAIRS' steps that could be taken; first: before the ends were corrected."""

  params: dict[str, float]
  first: dict[str, float]
  corners: list[Corner]
  ends: np.ndarray  # the runs of step (a)
  rows: int  # of step (c)
  rounds: int


def of_rows(inputs: dict[str, np.ndarray], loss: np.ndarray, run: np.ndarray, lineage: np.ndarray,
            options: Options) -> Runs:
  """The runs of a table of evaluations, rows [n]; rows with a value that is not positive are gone.

  Raises InputError for a run whose N or B changes, or when no row is left.
  """
  good = np.isfinite(loss) & (loss > 0)
  for values in inputs.values():
    good &= np.isfinite(values) & (values > 0)
  names, number = np.unique(run[good].astype(str), return_inverse=True)
  if not len(names):
    raise InputError('no row has N, S, B and loss, all positive')
  table = {k: v[good] for k, v in inputs.items()}
  whole, used, group = {}, {}, []
  for i, name in enumerate(names):
    mine = np.flatnonzero(number == i)
    mine = mine[np.argsort(table['S'][mine], kind='stable')]
    group.append(str(lineage[good][mine[0]]))
    for key in ('N', 'B'):
      if np.ptp(table[key][mine]) > 1e-9 * table[key][mine[0]]:
        raise InputError(f'run {name}: its {key} changes from {table[key][mine].min():g} to '
                         f'{table[key][mine].max():g}; name the runs with --columns=...,run=COLUMN')
    steps, losses = table['S'][mine], loss[good][mine]
    keep = (steps >= options.warmup * steps[-1]) & (steps <= (1 - options.tail) * steps[-1])
    one = {'N': float(table['N'][mine[0]]), 'B': float(table['B'][mine[0]])}
    whole[i] = one | {'S': steps, 'loss': losses}
    used[i] = one | {'S': steps[keep], 'loss': losses[keep]}
  return Runs(whole, used, np.unique(group, return_inverse=True)[1])


def flatness(run: dict[str, Any]) -> float:
  """-d ln L / d ln S over the last half of a run's updates; inf for fewer than three rows there."""
  late = run['S'] >= run['S'][-1] / 2
  if late.sum() < 3:
    return np.inf
  x, y = np.log(run['S'][late]), np.log(run['loss'][late])
  return -contours.line(x, y, np.ones(len(x)))[0]


def converged(runs: Runs, options: Options) -> np.ndarray:
  """The numbers of the runs whose ends (a) takes: the flat ones, or the flattest of each size."""
  slope = {i: flatness(run) for i, run in runs.whole.items()}
  flat = [i for i, s in slope.items() if s <= options.converged]
  if len({runs.whole[i]['N'] for i in flat}) >= 3:
    return np.array(flat)
  sizes: dict[float, int] = {}
  for i, run in runs.whole.items():
    best = sizes.get(run['N'])
    if best is None or slope[i] < slope[best]:
      sizes[run['N']] = i
  return np.array(sorted(set(flat) | set(sizes.values())))


def estimate(runs: Runs, ends: np.ndarray, found: list[Contour],
             weights: np.ndarray | None = None) -> Estimate:
  """Steps (a) to (c). weights [runs] count each run (default: once); a step that cannot be taken,
  and those that need it, are missing from `params`."""
  w = np.ones(len(runs.whole)) if weights is None else weights
  corners = [c for c in (contours.corner(contour, w) for contour in found) if c is not None]
  B_star, alpha_B = contours.critical(corners)
  batch = {'B_star': B_star, 'alpha_B': alpha_B} if alpha_B > 0 and B_star < np.inf else {}
  size = [np.array([runs.whole[i][k] for i in ends]) for k in ('N', 'B')]
  last = [np.array([run['S'][-1], _end(run)]) for run in (runs.whole[i] for i in ends)]
  steps, loss = np.array(last).T
  rows = _rows(runs, w) if batch else None
  params, first, left = dict[str, float](), dict[str, float](), np.zeros(len(ends))
  rounds = 0
  while rounds < ROUNDS:
    rounds, before = rounds + 1, dict(params)
    slope, level = contours.line(np.log(size[0]), np.log(np.maximum(loss - left, 0.2 * loss)),
                                 w[ends])
    params = _power('N', slope, level) | batch
    if params.keys() >= {'N_c', 'B_star'} and rows is not None:
      params |= _learning(params, rows)
    first = first or dict(params)
    if 'S_c' not in params:
      break
    least = critical_batch.least_steps(steps, size[1], critical_batch.batch(params, loss))
    left = (params['S_c'] / least) ** params['alpha_S']
    if before and all(abs(params[k] / before.get(k, np.inf) - 1) < 1e-10 for k in params):
      break
  used = int(np.sum(_left(params, rows) > LEAST)) if 'N_c' in params and rows else 0
  return Estimate({k: params[k] for k in NAMES if k in params}, first, corners, ends, used,
                  rounds)


def _end(run: dict[str, Any]) -> float:
  """The loss at a run's end, from a line in ln S, ln L through its last tenth: noise averages."""
  late = run['S'] >= 0.9 * run['S'][-1]
  if late.sum() < 4:
    return float(run['loss'][-1])
  x = np.log(run['S'][late] / run['S'][-1])
  return float(np.exp(contours.line(x, np.log(run['loss'][late]), np.ones(len(x)))[1]))


def _rows(runs: Runs, weights: np.ndarray) -> dict[str, np.ndarray]:
  """The rows in use of all runs, flat."""
  counts = [len(run['S']) for run in runs.used.values()]
  return {'S': np.concatenate([run['S'] for run in runs.used.values()]),
          'loss': np.concatenate([run['loss'] for run in runs.used.values()]),
          'w': np.repeat(weights, counts),
          **{k: np.repeat([run[k] for run in runs.used.values()], counts) for k in ('N', 'B')}}


def _left(params: dict[str, float], rows: dict[str, np.ndarray]) -> np.ndarray:
  """The share of each row's loss that is still to be learned."""
  return 1 - (params['N_c'] / rows['N']) ** params['alpha_N'] / rows['loss']


def _learning(params: dict[str, float], rows: dict[str, np.ndarray]) -> dict[str, float]:
  """Step (c): S_c and alpha_S, {} if the rows do not give them.

  A row weighs by the square of what is left, which is how well its logarithm is known.
  """
  share = _left(params, rows)
  keep = share > LEAST
  if keep.sum() < 3:
    return {}
  critical = critical_batch.batch(params, rows['loss'])
  least = critical_batch.least_steps(rows['S'], rows['B'], critical)[keep]
  slope, level = contours.line(np.log(least), np.log((share * rows['loss'])[keep]),
                               (rows['w'] * share**2)[keep])
  return _power('S', slope, level)


def _power(of: str, slope: float, level: float) -> dict[str, float]:
  """X_c and alpha_X of the line ln y = level + slope ln X; {} unless it falls."""
  with np.errstate(all='ignore'):
    scale = float(np.exp(np.divide(-level, slope)))
  return {f'{of}_c': scale, f'alpha_{of}': -slope} if slope < 0 and 0 < scale < np.inf else {}


def bootstrap(runs: Runs, ends: np.ndarray, found: list[Contour], count: int, seed: int = 0,
              ) -> list[dict[str, float]]:
  """Estimates with lineages counted at random (weights 1 on average, exponential: the Bayesian
  bootstrap, which leaves no cell of a small sweep empty). Those with every step of the whole data.
  """
  random = np.random.default_rng(seed)
  lineages = runs.lineage.max() + 1
  samples = [estimate(runs, ends, found, random.exponential(size=lineages)[runs.lineage]).params
             for _ in range(count)]
  most = max((len(s) for s in samples), default=0)
  return [s for s in samples if len(s) == most]


@np.errstate(all='ignore')  # absurd values: zero or infinite
def predict(params: dict[str, float], given: dict[str, float]) -> dict[str, Any]:
  """Step (d), what can be said of `given`: N, B, loss, S in any useful combination.

  least_loss of N; B_crit, and least_steps and tokens, of a loss; steps and tokens to the loss at
  batch B; loss at S and the curve up to it. Missing where a step is. inf: never.
  """
  said: dict[str, Any] = {}
  given = {name: np.float64(value) for name, value in given.items()}  # floats raise at overflow
  if 'N' in given and 'N_c' in params:
    said['least_loss'] = (params['N_c'] / given['N']) ** params['alpha_N']
  if 'loss' in given and 'B_star' in params:
    said['B_crit'] = critical_batch.batch(params, given['loss'])
  if len(params) < len(NAMES) or 'N' not in given:
    return said
  if 'loss' in given:
    left = given['loss'] - said['least_loss']
    least = params['S_c'] * left ** (-1 / params['alpha_S']) if left > 0 else np.inf
    said |= {'least_steps': least, 'least_tokens': least * said['B_crit']}
    if 'B' in given:
      steps = least * (1 + said['B_crit'] / given['B'])
      said |= {'steps': steps, 'tokens': steps * given['B']}
  if 'S' in given and 'B' in given:
    steps = np.geomspace(max(1.0, given['S'] / 1e3), given['S'], 61)
    curve = trajectory.LAW.predict(params, {'N': given['N'], 'B': given['B'], 'S': steps})
    said |= {'loss': float(curve[-1]), 'curve': {'S': steps.tolist(), 'loss': curve.tolist()}}
  return said


if __name__ == '__main__':
  from analysis.commands import stepwise as stepwise_command
  stepwise_command.start()
