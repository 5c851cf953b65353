"""Loss curves under a learning-rate schedule: the multi-power law, Luo et al. 2025 (2503.12811).

With eta_k the learning rate of update k (eta_0 = 0 before the first), S(t) = eta_1 + ... + eta_t,

  L(t) = L0 + A S(t)^-alpha
         + B sum_{k=1..t} (eta_k - eta_{k-1}) (1 - (1 + C eta_k^-gamma (S(t) - S(k-1)))^-beta)

nats per token after t updates. The sum runs over the warm-up too, whose rises add a nearly constant
B peak to the loss that the decay takes back: L0 alone is not the loss at infinity. Only runs of one
model and batch size share parameters.

`drop` is the sum as it stands. A fit evaluates it thousands of times, so `law` replaces it, row by
row, by a few dozen nodes (`compress`): updates whose ln(S(t) - S(k-1)) and ln eta_k are alike, to
CELL, are one cell, and a cell is two nodes with its first two moments. A warm-up and a cosine of
24,000 updates are 74 nodes; the loss moves by less than 2e-6 nats (tests compare).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.laws.law import Law, Parameter, Values

CELL = 0.6  # width of a cell in ln(S(t) - S(k-1)) and in ln eta_k
SMALLEST = 1e-12  # a rate of zero counts as this share of the peak: eta^-gamma stays finite
FORMULA = ('L(t) = L0 + A S(t)^-alpha + B sum_k (eta_k - eta_{k-1}) '
           '(1 - (1 + C eta_k^-gamma (S(t) - S(k-1)))^-beta)')
SOURCE = 'Luo et al. 2025, arXiv 2503.12811'


def loss(params: Mapping[str, float], rate: np.ndarray, step: np.ndarray) -> np.ndarray:
  """L after `step` [n] updates under the rates eta [T + 1], summed exactly, in numpy."""
  progress = np.cumsum(rate)[step]
  return (params['L0'] + params['A'] * progress ** -params['alpha']
          + params['B'] * drop(params, rate, step))


def drop(params: Mapping[str, float], rate: np.ndarray, step: np.ndarray) -> np.ndarray:
  """The sum over k of the law, [n], term by term."""
  total, change, moved, at = _progress(rate)
  strength = params['C'] * at ** -params['gamma']
  found = np.zeros(len(step))
  for i, t in enumerate(step):
    k = slice(0, np.searchsorted(moved, t, 'right'))
    x = strength[k] * (total[t] - total[moved[k] - 1])
    found[i] = np.sum(change[k] * -np.expm1(-params['beta'] * np.log1p(x)))
  return found


@dataclasses.dataclass(frozen=True)
class Nodes:
  """For every row, weights and places whose weighted sum is that over k; each [n, K]."""

  weight: np.ndarray  # sums of eta_k - eta_{k-1}; 0 where a row has fewer nodes than K
  distance: np.ndarray  # ln(S(t) - S(k-1))
  rate: np.ndarray  # ln eta_k


def compress(rate: np.ndarray, step: np.ndarray, cell: float = CELL) -> Nodes:
  """The nodes of the rows at `step` [n] under the rates eta [T + 1]."""
  total, change, moved, at = _progress(rate)
  log_rate = np.log(at)
  rows = []
  for t in step:
    count = np.searchsorted(moved, t, 'right')
    # Zero only at an update whose own rate is zero: it has not moved anything yet.
    distance = np.log(np.maximum(total[t] - total[moved[:count] - 1], 1e-300))
    rows.append(_cells(change[:count], distance, log_rate[:count], cell))
  return _padded(rows)


def law(schedules: Sequence[np.ndarray], steps: Sequence[np.ndarray]) -> Law:
  """The law at these steps of curves under these schedules (eta [T + 1] each), for fitting.

  Its inputs are those of `inputs`: S; eta, the curve's peak rate, which only carries the unit of
  the rates; and which row of the curves, in order, is asked for.
  """
  nodes = _joined([compress(rate, step) for rate, step in zip(schedules, steps, strict=True)])

  tables = (nodes.weight, nodes.distance, nodes.rate)

  def equation(p: Values, x: Values) -> Any:
    row = jnp.asarray(x['row'], int)
    weight, distance, rate = (jnp.asarray(part)[row] for part in tables)
    done = -jnp.expm1(-p['beta'] * jnp.log1p(p['C'] * jnp.exp(distance - p['gamma'] * rate)))
    return (p['L0'] + p['A'] * x['S'] ** -p['alpha'] + p['B'] * jnp.sum(weight * done, -1))

  return Law(
      name='multi_power', formula=FORMULA, source=SOURCE, inputs=('S', 'eta', 'row'),
      parameters=PARAMETERS, equation=equation, linear=('L0', 'A', 'B'),
      ranges=(('row', (0.0, float(len(nodes.weight) - 1))),))


def inputs(schedules: Sequence[np.ndarray], steps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
  """The inputs of `law` at all its rows."""
  pairs = list(zip(schedules, steps, strict=True))
  progress = np.concatenate([np.cumsum(rate)[step] for rate, step in pairs])
  return {'S': progress, 'eta': np.repeat([r.max() for r in schedules], [len(s) for s in steps]),
          'row': np.arange(len(progress), dtype=np.float64)}


PARAMETERS = (
    Parameter('L0', start=(0.8,), units=(('loss', 1.0),)),
    Parameter('A', start=(0.1,), units=(('loss', 1.0), ('S', 'alpha'))),
    Parameter('alpha', start=(0.3, 0.6), bounds=(0.0, 3.0), scale='linear'),
    # One times the whole rate: what the decay of it all is worth, in units of the loss.
    Parameter('B', start=(0.03,), units=(('loss', 1.0), ('eta', -1.0))),
    Parameter('C', start=(300.0, 3000.0), bounds=(1e-3, 1e9),
              units=(('S', -1.0), ('eta', 'gamma'))),
    Parameter('beta', start=(0.3, 0.8), bounds=(1e-3, 10.0)),
    Parameter('gamma', start=(0.3, 0.7), bounds=(-1.0, 3.0), scale='linear'),
)


def _progress(rate: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """S [T + 1]; eta_k - eta_{k-1} at the updates k where it is not zero; those k; eta_k there."""
  change = np.diff(rate)
  moved = np.flatnonzero(change) + 1
  return (np.cumsum(rate), change[moved - 1], moved,
          np.maximum(rate[moved], SMALLEST * np.max(rate)))


def _cells(weight: np.ndarray, distance: np.ndarray, rate: np.ndarray, cell: float,
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """One row's nodes: consecutive terms of one sign in one cell become two, mean -+ deviation."""
  key = np.stack([np.sign(weight), np.floor(distance / cell), np.floor(rate / cell)])
  first = np.flatnonzero(np.r_[len(weight) > 0, np.any(key[:, 1:] != key[:, :-1], 0)])
  if not len(first):
    return weight, distance, rate
  of = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(weight)]))
  total = np.add.reduceat(weight, first)

  def mean(values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(weight * values, first) / total

  middle, centre = mean(distance), mean(rate)
  across, along = distance - middle[of], rate - centre[of]
  wide, high = np.sqrt(mean(across**2)), np.sqrt(mean(along**2))
  high = high * np.sign(mean(across * along))  # both are monotonic within a cell
  many = wide > 1e-9
  return (np.r_[np.where(many, total / 2, total), total[many] / 2],
          np.r_[middle + wide, (middle - wide)[many]], np.r_[centre + high, (centre - high)[many]])


def _padded(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Nodes:
  width = max((len(r[0]) for r in rows), default=0)
  parts = [np.zeros((len(rows), width)) for _ in range(3)]
  for i, row in enumerate(rows):
    for part, values in zip(parts, row):
      part[i, :len(values)] = values
  return Nodes(*parts)


def _joined(all_nodes: Sequence[Nodes]) -> Nodes:
  return _padded([(n.weight[i], n.distance[i], n.rate[i])
                  for n in all_nodes for i in range(len(n.weight))])
