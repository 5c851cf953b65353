"""Staged runs: what a run takes from the one it starts from (`init` of its spec).

A child starts from its parent's parameters after `init.step` updates. The parameters must fit, so
model and vocabulary agree; the tokens must mean the same, so tokenizer and stores agree; and where
the data go on, sequences are as long.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling import accounting, files, pruning, runs, specs
from scaling.data import mixture
from scaling.errors import InputError, bad
from scaling.runs import Run
from scaling.specs import RunSpec


def child(spec: RunSpec, parent_id: str, parent: RunSpec) -> RunSpec:
  """`spec` starting from a parent; a step that is not given is the parent's last.

  Raises InputError where the two do not go together.
  """
  step = parent.steps if spec.init.step is None else spec.init.step
  counted = step + parent.init.counted if spec.init.schedule else step
  found = dataclasses.replace(spec, init=dataclasses.replace(
      spec.init, run=parent_id, step=step, schedule_step=counted if counted != step else None))
  found.check('config.base')
  check(found, parent)
  return found


def check(spec: RunSpec, parent: RunSpec) -> None:
  """Raises InputError unless `spec` can start from `parent`."""
  assert spec.init.step is not None
  if spec.init.step > parent.steps:
    raise bad('config.base.init.step', spec.init.step,
              f'the parent {spec.init.run} has {parent.steps} updates')
  for name, value in specs.to_dict(spec.model).items():
    before = getattr(parent.model, name)
    same_parameters = name == 'dtype' and 'float64' not in (value, before)
    if value != before and not same_parameters:
      raise bad(f'config.base.model.{name}', value, f'the parent {spec.init.run} has {before!r}')
  counted = spec.init.step + parent.init.counted
  if spec.init.schedule and spec.init.counted != counted:
    raise bad('config.base.init.schedule_step', spec.init.schedule_step,
              f'the parent {spec.init.run} went on in a schedule itself, which has counted '
              f'{counted} updates there')
  _check_sparsity(spec, parent)
  for name in ('tokenizer', 'vocab_size', 'trained_on', 'length', 'block_characters'):
    mine, its = getattr(spec.data, name), getattr(parent.data, name)
    if mine != its and (name not in ('length', 'block_characters') or spec.init.data):
      field = 'tokenizer_corpora' if name == 'trained_on' else name
      raise bad(f'config.base.data.{field}', mine, f'the parent {spec.init.run} has {its!r}')
  for name, domain in spec.data.domains.items():
    its_domain = parent.data.domains.get(name)
    if its_domain is None:
      continue
    if its_domain.fingerprint != domain.fingerprint:
      raise bad(f'config.base.data.domains.{name}.fingerprint', domain.fingerprint,
                f'the parent {spec.init.run} was trained on another text, '
                f'{its_domain.fingerprint!r}')
    drew = its_domain.weight or its_domain.late_weight or (parent.init.run and parent.init.data)
    if spec.init.data and drew and its_domain.unique_tokens != domain.unique_tokens:
      raise bad(f'config.base.data.domains.{name}.unique_tokens', domain.unique_tokens,
                f'the parent {spec.init.run} read the first {its_domain.unique_tokens}, and '
                'the data go on from there; give the same, or init.data=False')
  if spec.init.data and spec.seed != parent.seed:
    raise bad('config.base.seed', spec.seed,
              f'the parent {spec.init.run} has {parent.seed}, which orders the data: give '
              "init.data=False, or the parent's seed")
  if spec.init.optimizer and spec.optim.optimizer != parent.optim.optimizer:
    raise bad('config.base.optim.optimizer', spec.optim.optimizer,
              f'the parent {spec.init.run} has {parent.optim.optimizer!r}, and init.optimizer '
              'goes on with its moments')


def _check_sparsity(spec: RunSpec, parent: RunSpec) -> None:
  """A dense child of a sparse parent has its zeros revive; of a sparse child they stay, so its
  density must begin where the parent's is: it goes on with the parent's masks."""
  mine, its = spec.sparsity, parent.sparsity
  if mine.dense or its.dense:
    return
  assert spec.init.step is not None
  counts = pruning.counts(its, parent.model, parent.steps)
  if (mine.schedule != 'constant' or (mine.scope, mine.pattern) != (its.scope, its.pattern)
      or counts.at(spec.init.step) != pruning.counts(mine, spec.model, 1).final):
    raise bad('config.base.sparsity', f'{mine.schedule} to {mine.sparsity:g}',
              f'the parent {spec.init.run} has a density of '
              f'{counts.at(spec.init.step) / counts.whole:.4g} there, and a density never rises: '
              'give the schedule constant with that sparsity, scope and pattern, or 0 for dense')


def drawn(spec: RunSpec, step: int) -> dict[str, float]:
  """Sequences of each domain that a run takes in its first `step` updates, to within three."""
  sums = mixture.sums(spec.data, np.array([step]), spec.steps)[0] * spec.data.batch
  return dict(zip(mixture.names(spec.data), sums.tolist(), strict=True))


def inherited(spec: RunSpec, runs_by_id: Mapping[str, RunSpec]) -> dict[str, float]:
  """Sequences of each domain that the ancestors of a run took, after which it reads on.

  Raises InputError for a domain that its parent lacks and an earlier one had: its count is lost.
  """
  found: dict[str, float] = {}
  child = spec
  while child.init.data and child.init.run in runs_by_id:
    parent = runs_by_id[child.init.run]
    for name, count in drawn(parent, child.init.step or parent.steps).items():
      if name in spec.data.domains and name not in runs_by_id[spec.init.run].data.domains:
        raise bad('config.base.init.data', True,
                  f'the parent {spec.init.run} lacks the domain {name}, which the runs before it '
                  'read: where it goes on is lost; give init.data=False')
      found[name] = found.get(name, 0.0) + count
    child = parent
  return found


class Before(NamedTuple):
  """What the ancestors of a run took, up to where their children start."""

  tokens: int = 0
  flops: float = 0  # 6 N D, by the weights that were not zero


NOTHING = Before()


def before(spec: RunSpec, runs_by_id: Mapping[str, RunSpec]) -> Before:
  """Tokens and FLOPs of a run's ancestors."""
  tokens, flops = 0, 0
  while spec.init.run in runs_by_id:
    step, spec = spec.init.step or 0, runs_by_id[spec.init.run]
    counts = pruning.counts(spec.sparsity, spec.model, spec.steps)
    N = accounting.parameters(spec.model, spec.data.vocab_size)
    tokens += step * spec.data.tokens_per_step
    flops += accounting.flops_6n(spec.data.tokens_per_step) * (
        step * (N - counts.whole) + counts.total(step))
  return Before(tokens, flops)


def parents(runs_of_study: Mapping[str, RunSpec], workdir: str) -> dict[str, RunSpec]:
  """The runs of the workdir that a study's runs start from without being of the study, by id.

  One that is not done is trained, or waited for. Raises InputError for one that is missing, has
  failed, or does not fit its child.
  """
  found: dict[str, RunSpec] = {}
  todo = [(run_id, spec) for run_id, spec in runs_of_study.items()]
  while todo:
    run_id, spec = todo.pop()
    name = spec.init.run
    if not name or name in runs_of_study:
      continue
    if name not in found:
      found[name] = _parent(workdir, name, f'config.base.init.run of run {run_id}')
      todo.append((name, found[name]))
    check(spec, found[name])
  return found


def _parent(workdir: str, name: str, field: str) -> RunSpec:
  run = Run(workdir, name)
  try:
    values: Any = files.read_json(run.path('spec.json'))
  except FileNotFoundError:
    raise bad(field, name, f'there is no such run in {workdir}') from None
  except ValueError as error:
    raise InputError(f'{run.path("spec.json")}: cannot be read ({error})') from None
  failure = run.failure() if run.state() == runs.FAILED else None
  if failure is not None and failure.get('reason') not in runs.RETRIED:
    raise bad(field, name, f'it has failed ({failure.get("reason")} at step '
                           f'{failure.get("step")}: {failure.get("message")})')
  return specs.from_dict(values, f'{name}/spec.json')
