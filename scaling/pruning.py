"""When a run is pruned, how much is kept, and the parameters that this leaves it with.

A pruning at step t happens after t updates and before the next: an evaluation after t updates sees
the weights before it, and so does a checkpoint. With K = round((t1 - t0) / every) + 1 prunings from
t0 to t1, pruning i = 0 .. K - 1 is at t0 + i (t1 - t0) / (K - 1), rounded, and leaves the density

  geometric   (1 - s)^((i + 1) / K): an equal share of what is left goes (Jin et al. 2025)
  cubic       1 - s (1 - (1 - (i + 1) / K)^3)     (Zhu and Gupta 2017)
  one_shot    1 - s, K = 1, at t0
  constant    1 - s, at random, before the first update (Thangarasa et al. 2023, arXiv 2303.10464)

A start or end given as a share of compute is one of the FLOPs of the linear layers, as in the
official schedule: at s = 1/2, 25 and 75 % are the steps 12,500 and 47,200 of 72,200
(`sparsity.Ramp.of_compute`). The weights kept are round(density n), of all layers together or of
each; everything else of the model stays. numpy, float64, exact integers.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools

import numpy as np

from scaling import accounting, sparsity
from scaling.errors import bad
from scaling.specs import ModelSpec, RunSpec, SparsitySpec


@functools.lru_cache(maxsize=4096)
def events(spec: SparsitySpec, steps: int) -> tuple[tuple[int, float], ...]:
  """(step, density) of the prunings of a run of `steps` updates, in order; () when it is dense."""
  if spec.dense:
    return ()
  if spec.schedule == 'constant':
    return ((0, 1 - spec.sparsity),)
  first, last = _window(spec, steps)
  count = 1 if spec.schedule == 'one_shot' else min(
      round((last - first) / spec.every), last - first) + 1
  at = np.round(np.linspace(first, last, count)).astype(int).tolist()
  if spec.schedule == 'cubic':
    left = 1 - np.arange(1, count + 1) / count
    densities = 1 - spec.sparsity * (1 - left**3)
  else:
    densities = sparsity.kept(spec.sparsity, count)
  return tuple(zip(at, densities.tolist(), strict=True))


def check(spec: RunSpec, path: str) -> None:
  """Raises InputError for a ramp that is so short of steps that it would be a single pruning."""
  ramp = spec.sparsity
  if ramp.dense or ramp.schedule not in sparsity.SHAPES:
    return
  first, last = _window(ramp, spec.steps)
  if first < last and len(events(ramp, spec.steps)) == 1:
    raise bad(f'{path}.sparsity.every', ramp.every,
              f'the ramp has {last - first} steps, so it would be one pruning, at its start; give '
              'fewer, or the schedule one_shot')


def _window(spec: SparsitySpec, steps: int) -> tuple[int, int]:
  """The steps of the first and the last pruning; an update comes after the last."""
  start, end = spec.start * steps, spec.end * steps
  if spec.unit == 'compute':
    shape = 'cubic' if spec.schedule == 'cubic' else 'geometric'
    ramp = sparsity.Ramp.of_compute(steps, spec.start, spec.end, spec.sparsity, shape)
    start, end = ramp.start, ramp.end
  first = min(round(start), steps - 1)
  return first, min(max(round(end), first), steps - 1)


def densities(spec: RunSpec) -> np.ndarray:
  """The density at each update of a run [steps]."""
  found = np.ones(spec.steps)
  for step, density in events(spec.sparsity, spec.steps):
    found[step:] = density
  return found


def keep(spec: SparsitySpec, model: ModelSpec, density: float) -> tuple[int, ...]:
  """The weights kept of each linear layer, in their order, or (their sum,) over all of them."""
  sizes = [rows * columns for rows, columns in accounting.linears(model).values()]
  if spec.group is not None:
    n, m = spec.group
    return tuple(size // m * n for size in sizes)
  if spec.scope == 'layer':
    return tuple(round(density * size) for size in sizes)
  return (round(density * sum(sizes)),)


@dataclasses.dataclass(frozen=True)
class Counts:
  """The weights of a run's linear layers that are not zero, over its steps."""

  whole: int  # those of the dense model
  steps: tuple[int, ...]  # of the prunings
  kept: tuple[int, ...]  # after each

  def at(self, step: int) -> int:
    """After `step` updates, a pruning at that step not yet done."""
    done = bisect.bisect_left(self.steps, step)
    return self.kept[done - 1] if done else self.whole

  def total(self, step: int) -> int:
    """Summed over the first `step` updates."""
    found, last, here = 0, 0, self.whole
    for at, kept in zip(self.steps, self.kept):
      if at >= step:
        break
      found, last, here = found + (at - last) * here, at, kept
    return found + (step - last) * here

  @property
  def final(self) -> int:
    return self.kept[-1] if self.kept else self.whole


@functools.lru_cache(maxsize=1024)
def counts(spec: SparsitySpec, model: ModelSpec, steps: int) -> Counts:
  """Those of a run of `steps` updates."""
  prunings = events(spec, steps)
  return Counts(accounting.linear_weights(model), tuple(step for step, _ in prunings),
                tuple(sum(keep(spec, model, density)) for _, density in prunings))
