"""Shared prefixes: training that several runs of a study have in common, found from their specs.

What a run has done after t updates depends on its data, model, optimizer, seed, and the learning
rates of updates 0 .. t - 1; two runs that agree in these share those t updates. Under a
warmup-stable-decay schedule one trunk so serves every token budget, and each branches off for its
decay. The study becomes a forest of segments: prefixes, each continuing its parent, and runs.

A prefix is named after what acts before its end and where it is evaluated, so a study that asks for
the same finds it again; one that asks for others starts them from it (scaling/trunks.py). It is
evaluated wherever one of its runs is; its curve, from the first update on, keeps raw sums, from
which every run's lines are made as if it had been alone (scaling/train/lanes.py).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scaling import files, specs
from scaling.optim import schedules
from scaling.runs import PREFIX
from scaling.specs import RunSpec

# What a schedule is made of: it acts through the learning rates alone.
SCHEDULE = ('peak_lr', 'schedule', 'warmup_steps', 'warmup_fraction', 'final_lr', 'decay_fraction')
# A prefix that saves less than this share of its runs' tokens is not worth a checkpoint and a wait.
LEAST_SAVING = 0.02


@dataclasses.dataclass(frozen=True)
class Segment:
  """A stretch of training: a run, or what several runs share before they branch.

  name: the run id, or PREFIX and a hash. spec: the run's, or any member's: they agree before
  `last`. parent: the segment whose end this one starts from. eval_steps: where its curve has lines,
  those before `first` included. history: of a prefix, the digest of what acts before `last`.
  """

  name: str
  spec: RunSpec
  first: int  # updates done before it
  last: int  # updates done after it
  parent: str | None
  eval_steps: tuple[int, ...]
  history: str = ''

  @property
  def shared(self) -> bool:
    return self.name.startswith(PREFIX)

  @property
  def tokens(self) -> int:
    return (self.last - self.first) * self.spec.data.tokens_per_step


def forest(runs: Iterable[tuple[str, RunSpec]], share: bool = True) -> dict[str, Segment]:
  """Segments by name, parents before children, for runs by id; without `share`, a run each."""
  listed = list(runs)
  found: dict[str, Segment] = {}
  groups: dict[Any, list[tuple[str, RunSpec]]] = {}
  for run_id, spec in listed:
    groups.setdefault(_history(spec) if share else run_id, []).append((run_id, spec))
  for members in groups.values():
    if len(members) == 1:
      _leaf(found, *members[0], 0, None)
    else:
      rates = {run_id: _rates(spec.optim, spec.steps) for run_id, spec in members}
      _grow(found, members, rates)
  # Prefixes lie before their children; runs keep the order of the study.
  order = {run_id: i for i, (run_id, _) in enumerate(listed)}
  return dict(sorted(found.items(), key=lambda item: order.get(item[0], -1)))


def lineage(segments: Mapping[str, Segment], name: str) -> str:
  """The root that a segment descends from: what was drawn independently."""
  while (parent := segments[name].parent) is not None:
    name = parent
  return name


def histories(spec: RunSpec, steps: Iterable[int]) -> dict[int, str]:
  """For each of some steps, the digest of all that acts before it: equal for two specs exactly when
  they share these updates."""
  wanted = sorted(set(steps))
  if not wanted:
    return {}
  rates = schedules.learning_rate(spec.optim, spec.steps, np.arange(wanted[-1])).astype('<f8')
  digest = hashlib.sha256(files.to_json(specs.canonical(_timeless(spec))).encode() + b'\n')
  found, first = {}, 0
  for last in wanted:
    digest.update(rates[first:last].tobytes())
    found[last], first = digest.hexdigest(), last
  return found


def tokens_alone(runs: Iterable[tuple[str, RunSpec]]) -> int:
  """What the runs would train without sharing anything."""
  return sum(spec.tokens for _, spec in runs)


def forbidden(runs: Sequence[tuple[str, RunSpec]]) -> int:
  """Runs that share nothing because their warm-up is a fraction of their length."""
  groups: dict[Any, int] = {}
  for _, spec in runs:
    if spec.optim.warmup_fraction:
      key = _history(dataclasses.replace(spec, optim=dataclasses.replace(
          spec.optim, warmup_fraction=None)))
      groups[key] = groups.get(key, 0) + 1
  return sum(count for count in groups.values() if count > 1)


def _grow(found: dict[str, Segment], members: list[tuple[str, RunSpec]],
          rates: dict[str, np.ndarray]) -> None:
  """Adds the segments of members that agree in their first update, however often they branch."""
  todo: list[tuple[list[tuple[str, RunSpec]], int, str | None]] = [(members, 0, None)]
  while todo:
    todo.extend(reversed(_branch(found, *todo.pop(), rates)))


@functools.lru_cache(maxsize=16)
def _rates(optim: specs.OptimSpec, steps: int) -> np.ndarray:
  """The learning rates of all updates; runs of a grid that differ elsewhere have the same."""
  return schedules.learning_rate(optim, steps, np.arange(steps))


@functools.lru_cache(maxsize=1024)
def _first_rate(optim: specs.OptimSpec, steps: int) -> float:
  return float(schedules.learning_rate(optim, steps, 0))


def _branch(found: dict[str, Segment], members: list[tuple[str, RunSpec]], first: int,
            parent: str | None, rates: dict[str, np.ndarray],
            ) -> list[tuple[list[tuple[str, RunSpec]], int, str | None]]:
  """Adds what members that agree up to update `first` share from there on, and those that go on
  alone; returns the parts that share more, with the update and the prefix that they begin at."""
  shortest = min(spec.steps for _, spec in members)
  rows = np.stack([rates[run_id][first:shortest] for run_id, _ in members])
  differs = np.flatnonzero((rows != rows[0]).any(0))
  last = first + (int(differs[0]) if len(differs) else shortest - first)
  if last > first and (len(members) - 1) * (last - first) >= LEAST_SAVING * sum(
      spec.steps for _, spec in members):
    evaluated = sorted({s for _, spec in members for s in spec.eval_steps if s <= last})
    spec = min(members, key=lambda member: (-member[1].steps, member[0]))[1]
    history = histories(spec, [last])[last]
    text = files.to_json([history, evaluated])
    name = PREFIX + hashlib.sha256(text.encode()).hexdigest()[:16]
    found[name] = Segment(name, spec, first, last, parent, tuple(evaluated), history)
    first, parent = last, name
  parts: dict[Any, list[tuple[str, RunSpec]]] = {}
  for run_id, spec in members:
    key = float(rates[run_id][last]) if spec.steps > last else None
    parts.setdefault(key, []).append((run_id, spec))
  branches = []
  for key, part in parts.items():
    if key is None or len(part) == 1:
      for run_id, spec in part:
        _leaf(found, run_id, spec, first, parent)
    else:
      branches.append((part, first, parent))
  return branches


def _leaf(found: dict[str, Segment], run_id: str, spec: RunSpec, first: int, parent: str | None,
          ) -> None:
  found[run_id] = Segment(run_id, spec, first, spec.steps, parent, spec.eval_steps)


def _timeless(spec: RunSpec) -> RunSpec:
  """The spec without what acts through the learning rates and the evaluations alone."""
  plain = {name: getattr(specs.OptimSpec(), name) for name in SCHEDULE}
  return dataclasses.replace(
      spec, steps=RunSpec.steps, optim=dataclasses.replace(spec.optim, **plain),
      evaluation=specs.EvalSpec(windows=spec.evaluation.windows))


def _history(spec: RunSpec) -> Any:
  """What must be equal for two runs to share updates, apart from the learning rates after the
  first: everything but the schedule, the length, and how often the run is evaluated. Hashable."""
  data, optim = spec.data, spec.optim
  return (spec.model, tuple(data.domains.items()), *(getattr(data, name) for name in _DATA),
          *(getattr(optim, name) for name in _OPTIM), spec.evaluation.windows, spec.seed,
          _first_rate(optim, spec.steps),
          *(files.to_json(specs.canonical(getattr(spec, name))) for name in _OTHERS))


def _names(kind: type, *but: str) -> tuple[str, ...]:
  return tuple(sorted({field.name for field in dataclasses.fields(kind)} - set(but)))


_DATA = _names(specs.DataSpec, 'domains')
_OPTIM = _names(specs.OptimSpec, *SCHEDULE)
# Fields of a RunSpec that this module does not know are taken to act from the start.
_OTHERS = _names(RunSpec, 'model', 'data', 'optim', 'evaluation', 'steps', 'seed')
