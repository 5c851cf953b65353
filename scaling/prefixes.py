"""Shared prefixes: training that several runs of a study have in common, found from their specs.

What a run has done after t updates depends on its data, model, optimizer, seed, and the learning
rates of updates 0 .. t - 1; two runs that agree in these share those t updates. Under a
warmup-stable-decay schedule one trunk so serves every token budget, and each branches off for its
decay. The study becomes a forest of segments: prefixes, each continuing its parent, and runs.
Shares of domains that move, and densities, count as the learning rates do; a dense run has a
program of its own, so it shares nothing with sparse ones. A run that starts from another
(`init`) hangs below the end of the segment that makes what it starts from; a run is cut where
others start from.

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

from scaling import files, pruning, specs
from scaling.data import mixture
from scaling.optim import schedules
from scaling.runs import PREFIX
from scaling.specs import RunSpec

# What a schedule is made of: it acts through the learning rates alone.
SCHEDULE = ('peak_lr', 'schedule', 'warmup_steps', 'warmup_fraction', 'final_lr', 'decay_fraction',
            'constant_lr', 'cooldown_steps', 'cooldown_fraction', 'cooldown', 'cooldown_curvature')
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
  by_id = dict(listed)
  cuts = _cuts(by_id)
  found: dict[str, Segment] = {}
  groups: dict[Any, list[tuple[str, RunSpec]]] = {}
  for run_id, spec in sorted(listed, key=lambda item: _depth(by_id, item[1])):
    groups.setdefault(_history(spec) if share else run_id, []).append((run_id, spec))
  for members in groups.values():
    start = _stage_start(found, by_id, members[0][1])
    if len(members) == 1:
      _leaf(found, *members[0], 0, start, cuts)
    else:
      rates = {run_id: _acting(spec) for run_id, spec in members}
      _grow(found, members, rates, start, cuts)
  # Prefixes lie before their children, of every stage; runs keep the order of the study.
  order = {run_id: i for i, (run_id, _) in enumerate(listed)}
  return dict(sorted(found.items(), key=lambda item: (
      _depth(by_id, item[1].spec), order.get(item[0], -1))))


def _depth(by_id: Mapping[str, RunSpec], spec: RunSpec) -> int:
  """How many of the runs lie before one in its stages."""
  depth = 0
  while spec.init.run in by_id:
    depth, spec = depth + 1, by_id[spec.init.run]
  return depth


def _cuts(by_id: Mapping[str, RunSpec]) -> dict[str, set[int]]:
  """Where runs are cut because others start from there, by run id."""
  found: dict[str, set[int]] = {}
  for spec in by_id.values():
    if spec.init.run in by_id and spec.init.step is not None:
      found.setdefault(spec.init.run, set()).add(spec.init.step)
  return found


def _stage_start(found: Mapping[str, Segment], by_id: Mapping[str, RunSpec], spec: RunSpec,
                 ) -> str | None:
  """The segment of its parent that a run starts from the end of."""
  if spec.init.run not in by_id:
    return None
  name: str | None = spec.init.run
  while name is not None and found[name].last != spec.init.step:
    name = found[name].parent
  assert name is not None  # The parent was cut there.
  return name


def lineage(segments: Mapping[str, Segment], name: str) -> str:
  """The root that a segment descends from: what was drawn independently."""
  while (parent := segments[name].parent) is not None:
    name = parent
  return name


def histories(spec: RunSpec, steps: Iterable[int]) -> dict[int, str]:
  """For each of some steps, the digest of all that acts before it: equal for two specs exactly when
  they share these updates."""
  wanted = sorted(set(steps))
  return _digests(_opening(spec), _acting(spec), wanted) if wanted else {}


def _opening(spec: RunSpec) -> bytes:
  """What acts before any step, apart from the schedules."""
  return files.to_json(specs.canonical(_timeless(spec))).encode() + b'\n'


def _digests(opening: bytes, rates: np.ndarray, steps: Sequence[int]) -> dict[int, str]:
  digest, found, first = hashlib.sha256(opening), {}, 0
  for last in steps:
    digest.update(rates[first:last].astype('<f8', copy=False).tobytes())
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
          rates: dict[str, np.ndarray], start: str | None, cuts: Mapping[str, set[int]]) -> None:
  """Adds the segments of members that agree in their first update, however often they branch."""
  todo: list[tuple[list[tuple[str, RunSpec]], int, str | None]] = [(members, 0, start)]
  openings: dict[str, bytes] = {}
  while todo:
    todo.extend(reversed(_branch(found, *todo.pop(), rates, openings, cuts)))


def _acting(spec: RunSpec) -> np.ndarray:
  """The values of all schedules, a row an update: its learning rate, the domains' shares where
  these move, and the density where it is not 1 throughout."""
  before = spec.init.counted
  columns = [_rates(spec.optim, before + spec.steps)[before:, None]]
  if mixture.moves(spec.data):
    columns.append(mixture.weights(spec.data, np.arange(spec.steps), spec.steps))
  if not spec.sparsity.dense:
    columns.append(pruning.densities(spec)[:, None])
  return np.concatenate(columns, 1) if len(columns) > 1 else columns[0]


@functools.lru_cache(maxsize=16)
def _rates(optim: specs.OptimSpec, steps: int) -> np.ndarray:
  """The learning rates of all updates; runs of a grid that differ elsewhere have the same."""
  return schedules.learning_rate(optim, steps, np.arange(steps))


@functools.lru_cache(maxsize=1024)
def _first_rate(optim: specs.OptimSpec, before: int, steps: int) -> float:
  return float(schedules.learning_rate(optim, before + steps, before))


def _branch(found: dict[str, Segment], members: list[tuple[str, RunSpec]], first: int,
            parent: str | None, rates: dict[str, np.ndarray], openings: dict[str, bytes],
            cuts: Mapping[str, set[int]],
            ) -> list[tuple[list[tuple[str, RunSpec]], int, str | None]]:
  """Adds what members that agree up to update `first` share from there on, and those that go on
  alone; returns the parts that share more, with the update and the prefix that they begin at."""
  shortest = min(_shareable(spec) for _, spec in members)
  rows = np.stack([rates[run_id][first:shortest] for run_id, _ in members])
  differs = np.flatnonzero((rows != rows[0]).any((0, 2)))
  last = first + (int(differs[0]) if len(differs) else shortest - first)
  if last > first and (len(members) - 1) * (last - first) >= LEAST_SAVING * sum(
      spec.steps for _, spec in members):
    first, parent = _stretch(found, members, first, last, parent, cuts, rates, openings)
  parts: dict[Any, list[tuple[str, RunSpec]]] = {}
  for run_id, spec in members:
    key = tuple(rates[run_id][last]) if _shareable(spec) > last else None
    parts.setdefault(key, []).append((run_id, spec))
  branches = []
  for key, part in parts.items():
    if key is None or len(part) == 1:
      for run_id, spec in part:
        _leaf(found, run_id, spec, first, parent, cuts)
    else:
      branches.append((part, first, parent))
  return branches


def _shareable(spec: RunSpec) -> int:
  """The updates of a run that may be shared: not its last when it is evaluated otherwise there."""
  return spec.steps - (spec.evaluation.final_windows is not None)


def _stretch(found: dict[str, Segment], members: list[tuple[str, RunSpec]], first: int, last: int,
             parent: str | None, cuts: Mapping[str, set[int]], rates: dict[str, np.ndarray],
             openings: dict[str, bytes]) -> tuple[int, str | None]:
  """Adds the prefixes of members from `first` to `last`, one more for every cut in between."""
  longest, spec = min(members, key=lambda member: (-member[1].steps, member[0]))
  if longest not in openings:  # Prefixes of prefixes are of the same run.
    openings[longest] = _opening(spec)
  inside = {cut for run_id, _ in members for cut in cuts.get(run_id, ()) if first < cut < last}
  for end in sorted({*inside, last}):
    evaluated = sorted({s for _, member in members for s in member.eval_steps
                        if s <= end and (s < member.steps or _shareable(member) == s)})
    history = _digests(openings[longest], rates[longest], [end])[end]
    text = files.to_json([history, evaluated])
    name = PREFIX + hashlib.sha256(text.encode()).hexdigest()[:16]
    found[name] = Segment(name, spec, first, end, parent, tuple(evaluated), history)
    first, parent = end, name
  return first, parent


def _leaf(found: dict[str, Segment], run_id: str, spec: RunSpec, first: int, parent: str | None,
          cuts: Mapping[str, set[int]]) -> None:
  inside = [cut for cut in cuts.get(run_id, ()) if first < cut < spec.steps]
  if inside:
    first, parent = _stretch(found, [(run_id, spec)], first, max(inside), parent, cuts,
                             {run_id: _acting(spec)}, {})
  found[run_id] = Segment(run_id, spec, first, spec.steps, parent, spec.eval_steps)


def _timeless(spec: RunSpec) -> RunSpec:
  """The spec without what acts through the values of schedules and the evaluations alone."""
  plain = {name: getattr(specs.OptimSpec(), name) for name in SCHEDULE}
  data = dataclasses.replace(spec.data, domains=_domains(spec.data), mixture=specs.MixtureSpec())
  return dataclasses.replace(
      spec, steps=RunSpec.steps, optim=dataclasses.replace(spec.optim, **plain), data=data,
      evaluation=specs.EvalSpec(windows=spec.evaluation.windows,
                                characters=spec.evaluation.characters),
      sparsity=_ranking(spec.sparsity))


def _ranking(sparsity: specs.SparsitySpec) -> specs.SparsitySpec:
  """What decides which weights go, without how many go when; of sparse runs never the default."""
  if sparsity.dense:
    return sparsity
  constant = sparsity.schedule == 'constant'
  group = sparsity.group
  return specs.SparsitySpec(
      1 - group[0] / group[1] if group else 0.5, 'constant' if constant else 'one_shot', 0.0,
      scope=sparsity.scope, pattern=sparsity.pattern)


def _domains(data: specs.DataSpec) -> dict[str, specs.DomainSpec]:
  """The domains, without their shares where these move: then they are values of a schedule."""
  if not mixture.moves(data):
    return data.domains
  return {name: dataclasses.replace(domain, weight=1.0, late_weight=None)
          for name, domain in data.domains.items()}


def _history(spec: RunSpec) -> Any:
  """What must be equal for two runs to share updates, apart from the learning rates after the
  first: everything but the schedules, the length, and how often the run is evaluated. Hashable."""
  data, optim = spec.data, spec.optim
  before = spec.init.counted
  return (spec.model, tuple(_domains(data).items()), *(getattr(data, name) for name in _DATA),
          mixture.moves(data), *(getattr(optim, name) for name in _OPTIM), spec.evaluation.windows,
          spec.evaluation.characters, spec.seed, _first_rate(optim, before, spec.steps),
          _ranking(spec.sparsity),
          *(files.to_json(specs.canonical(getattr(spec, name))) for name in _OTHERS))


def _names(kind: type, *but: str) -> tuple[str, ...]:
  return tuple(sorted({field.name for field in dataclasses.fields(kind)} - set(but)))


_DATA = _names(specs.DataSpec, 'domains', 'mixture')
_OPTIM = _names(specs.OptimSpec, *SCHEDULE)
# Fields of a RunSpec that this module does not know are taken to act from the start.
_OTHERS = _names(RunSpec, 'model', 'data', 'optim', 'evaluation', 'sparsity', 'steps', 'seed')
