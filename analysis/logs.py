"""A workdir's run store as one tidy table, a row an evaluation.

Columns as DESIGN.md lists them: run_id, study, stage (0; -1 for what those runs start from, and so
on), lineage, trunk (the lineage within the stage: what may share updates), parent, seed, state,
width, step, share (of the run's steps, done), final, held_out, lr, peak_lr, N ... C_total, and per
domain loss/<domain>, loss_se/..., bits_per_byte/..., loss_unigram/..., r/..., and
loss_along/<domain> where runs end on more windows; the axis values of the study's runs as
point/<field>; and of pruning kind (dense, sparse, static, lowrank, sltrain), sparsity (at the end),
schedule (of the pruning), prune_start, prune_end (shares of the compute). What cannot be read is
skipped; how much that was stands in `table.attrs['skipped']` {what: count}.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.reading import curve_files
from analysis.reading.curve_files import LINE, NONZERO, NUMBERS, Block
from scaling import files, prefixes, specs
from scaling.errors import InputError
from scaling.sparsity import Ramp

RUN = ('run_id', 'study', 'stage', 'lineage', 'trunk', 'parent', 'seed', 'state', 'step',
       'share', 'final', 'held_out', 'lr', 'peak_lr')
PRUNING = ('kind', 'sparsity', 'schedule', 'prune_start', 'prune_end')


def load(workdir: str, study: str | None = None) -> pd.DataFrame:
  """The evaluations of a workdir's runs, of one study or of all.

  A run of several studies is listed once, under the study asked for or the first by name. Raises
  InputError when the workdir or the study does not exist; a workdir without runs gives no rows.
  """
  if not files.exists(workdir):
    raise InputError(f'{workdir}: no such workdir')
  if not files.exists(f'{workdir}/runs'):
    raise InputError(f'{workdir}: not a workdir (it has no runs folder)')
  skipped: Counter[str] = Counter()
  asked = _studies(workdir, study, skipped)
  constants: list[dict[str, Any]] = []  # of the runs
  raw: dict[str, Any] = {}  # their specs
  blocks: list[list[Block]] = []  # their curves
  for run in files.names(f'{workdir}/runs'):
    if study is not None and run not in asked:
      continue
    constants.append(_run(f'{workdir}/runs/{run}', run, asked.get(run, {}), skipped, raw))
    blocks.append(curve_files.read(f'{workdir}/runs/{run}/curve.jsonl', skipped))
    if not blocks[-1]:
      skipped['runs without an evaluation'] += 1
  _join_lineages(constants, _with_ancestors(workdir, raw))
  table = _table(constants, blocks)
  first = [*RUN, *PRUNING, *NUMBERS, *NONZERO, 'train_loss']
  for name in first:
    if name not in table:
      text = name in (*RUN[:6], 'kind', 'schedule')
      table[name] = pd.Series(math.nan, table.index, dtype=object if text else float)
  for name, dense in NONZERO.items():
    table[name] = table[name].fillna(1.0 if dense is None else table[dense])
  table = table[first + sorted({str(c) for c in table} - set(first))]
  table.attrs['skipped'] = dict(skipped)
  return table


def _table(constants: list[dict[str, Any]], blocks: list[list[Block]]) -> pd.DataFrame:
  """A row a line: what is constant in a run is repeated, a column a time."""
  counts = [sum(len(block.values) for block in run) for run in blocks]
  row = np.repeat(np.arange(len(constants)), counts)
  arrays: dict[str, Any] = {}
  for name in dict.fromkeys(key for run in constants for key in run):
    values = [run.get(name, math.nan) for run in constants]
    kinds = {type(v) for v in values}
    dtype = float if kinds == {float} else int if kinds == {int} else bool if kinds == {
        bool} else object
    arrays[name] = np.array(values, dtype)[row] if len(values) else []
    if dtype is object and not any(kind in (str, bool, type(None)) for kind in kinds):
      arrays[name] = arrays[name].astype(float)
  every = [block for run in blocks for block in run]
  lists = dict.fromkeys(block.names for block in every)
  at = {name: i for i, name in enumerate(dict.fromkeys(
      itertools.chain((*LINE, *NUMBERS), *lists)))}
  where = {names: [at[name] for name in names] for names in lists}
  numbers = np.full((len(at), len(row)), math.nan)
  first = 0
  for block in every:
    last = first + len(block.values)
    numbers[where[block.names], first:last] = block.values.T
    first = last
  arrays |= {name: numbers[i] for name, i in at.items()}
  arrays['step'] = arrays['step'].astype(int)
  if 'last_step' in arrays:
    last = arrays.pop('last_step')
    arrays['final'], arrays['share'] = arrays['step'] == last, arrays['step'] / np.where(
        last > 0, last, math.nan)
  return pd.DataFrame(arrays)


def domains(table: pd.DataFrame) -> list[str]:
  """The domains that have losses in a table."""
  return [str(c).removeprefix('loss/') for c in table if str(c).startswith('loss/')]


def fingerprint(table: pd.DataFrame) -> str:
  """A SHA-256 of the rows: what a fit from a workdir was fitted to."""
  return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def _studies(workdir: str, study: str | None, skipped: Counter[str]) -> dict[str, dict[str, Any]]:
  """run id -> {'study', 'held_out', 'point'}."""
  known = [n.removesuffix('.json') for n in files.names(f'{workdir}/studies')
           if n.endswith('.json')]
  if study is not None and study not in known:
    there = ', '.join(known) or 'none'
    raise InputError(f'--study: {study!r} is not in {workdir}; its studies are {there}')
  found: dict[str, dict[str, Any]] = {}
  for name in [study] if study is not None else known:
    try:
      for run in files.read_json(f'{workdir}/studies/{name}.json')['runs']:
        entry = {'study': name, 'held_out': bool(run['held_out']), 'point': dict(run['point']),
                 'stage': int(run.get('stage', 0))}
        found.setdefault(str(run['run_id']), entry)
    except (ValueError, KeyError, TypeError, OSError):
      skipped['unreadable study files'] += 1
  return found


def _with_ancestors(workdir: str, raw: Mapping[str, Any]) -> dict[str, Any]:
  """The specs with those of the workdir that they start from, which other studies may list."""
  found = dict(raw)
  todo = list(found.values())
  while todo:
    parent = _init(todo.pop())
    if parent and parent not in found:
      spec = _read(f'{workdir}/runs/{parent}/spec.json', Counter(), '')
      if _of_spec(spec, Counter())[0] >= 0:
        found[parent] = spec
        todo.append(spec)
  return found


def _join_lineages(constants: list[dict[str, Any]], raw: Mapping[str, Any]) -> None:
  """Gives runs that could share training one lineage, whether or not they were trained so.

  That is decided by their specs (scaling/prefixes.py): curves that are the same byte for byte must
  not count as more or less independent. Only specs that differ in schedules and length alone, which
  few do, are looked at closely. A run that starts from another is of its lineage, too.
  """
  groups: dict[str, list[str]] = {}
  for run, spec in raw.items():
    optim = {k: v for k, v in spec.get('optim', {}).items() if k not in prefixes.SCHEDULE}
    windows = spec.get('evaluation', {}).get('windows')
    rest = {k: v for k, v in spec.items() if k not in ('steps', 'optim', 'evaluation')}
    data = rest.get('data', {})
    if 'mixture' in data:  # Shares that move are values of a schedule.
      rest['data'] = {k: v for k, v in data.items() if k not in ('domains', 'mixture')}
    sparsity = rest.get('sparsity')
    if isinstance(sparsity, dict):  # So are densities; what ranks the weights is not.
      rest['sparsity'] = [sparsity.get('schedule') == 'constant', sparsity.get('scope'),
                          sparsity.get('pattern')]
    groups.setdefault(json.dumps([rest, optim, windows], sort_keys=True), []).append(run)
  roots: dict[str, str] = {}
  parts: dict[tuple[str, ...], list[str]] = {}
  for members in groups.values():
    if len(members) > 1 and _init(raw[members[0]]) not in members:  # None starts from itself.
      # The seed tells groups apart and does nothing within one: groups alike but for it part alike.
      alike = sorted((json.dumps({**raw[run], 'seed': 0}, sort_keys=True), run) for run in members)
      key = tuple(text for text, _ in alike)
      if key not in parts:
        try:
          forest = prefixes.forest((run, specs.from_dict(raw[run])) for _, run in alike)
          parts[key] = [prefixes.lineage(forest, run) for _, run in alike]
        except InputError:
          parts[key] = list(key)
      least: dict[str, str] = {}  # of each part: what the part is called
      for part, (_, run) in zip(parts[key], alike, strict=True):
        least[part] = min(run, least.get(part, run))
      roots |= {run: least[part] for part, (_, run) in zip(parts[key], alike, strict=True)}
  for constant in constants:
    run, parent = constant['run_id'], constant['run_id']
    seen: set[str] = set()
    while parent is not None and parent not in seen:  # Only a foreign hand makes a circle.
      seen.add(parent)
      run, parent = parent, _init(raw.get(parent))
    constant['lineage'] = roots.get(run, run)
    constant['trunk'] = roots.get(constant['run_id'], constant['run_id'])


def _init(spec: Any) -> str | None:
  """The run that a canonical spec starts from; None: it starts from scratch."""
  init = spec.get('init') if isinstance(spec, dict) else None
  return init.get('run') if isinstance(init, dict) else None


def _run(folder: str, run: str, asked: dict[str, Any], skipped: Counter[str],
         raw: dict[str, Any]) -> dict[str, Any]:
  """What all rows of a run have in common."""
  there = set(files.names(folder))
  spec = _read(f'{folder}/spec.json', skipped, 'unreadable spec files')
  steps, seed, peak = _of_spec(spec, skipped)
  if steps >= 0:
    raw[run] = spec
  origin = (_read(f'{folder}/origin.json', skipped, 'unreadable origin files')
            if 'origin.json' in there else None)
  origin = origin if isinstance(origin, dict) else {}
  state = ('done' if 'result.json' in there else
           'failed' if 'failure.json' in there else 'running')
  parent = _init(spec) or origin.get('parent')
  return {'run_id': run, 'study': asked.get('study'), 'stage': asked.get('stage', 0),
          'lineage': run, 'parent': parent, 'seed': seed, 'state': state, 'width': _width(spec),
          'held_out': asked.get('held_out', False), 'peak_lr': peak, 'last_step': steps,
          **_pruning(spec),
          **{f'point/{name}': _plain(value) for name, value in asked.get('point', {}).items()}}


_KINDS = {'low_rank': 'lowrank', 'sltrain': 'sltrain'}


def _pruning(spec: Any) -> dict[str, Any]:
  """The columns PRUNING of a canonical spec."""
  spec = spec if isinstance(spec, dict) else {}
  model, sparsity = (spec.get(name) for name in ('model', 'sparsity'))
  linear = model.get('linear') if isinstance(model, dict) else None
  if not isinstance(sparsity, dict) or 'sparsity' not in sparsity:
    return {'kind': _KINDS.get(str(linear), 'dense'), 'sparsity': 0.0, 'schedule': 'dense',
            'prune_start': math.nan, 'prune_end': math.nan}
  found = {name: sparsity.get(name, getattr(specs.SparsitySpec, name))
           for name in ('sparsity', 'schedule', 'start', 'end', 'unit')}
  share, start, end = (_number(found[name]) for name in ('sparsity', 'start', 'end'))
  if found['unit'] == 'steps':  # Windows compare in one unit.
    start, end = _of_compute(start, end, share, str(found['schedule']))
  return {'kind': 'static' if found['schedule'] == 'constant' else 'sparse',
          'sparsity': share, 'schedule': str(found['schedule']),
          'prune_start': start, 'prune_end': end}


def _of_compute(start: float, end: float, share: float, schedule: str) -> tuple[float, float]:
  """Shares of the linear layers' compute that are spent at these shares of the steps."""
  try:
    shape = 'cubic' if schedule == 'cubic' else 'geometric'
    return Ramp(1.0, start, end, share, shape).compute()
  except InputError:
    return math.nan, math.nan


def _number(value: Any) -> float:
  return float(value) if type(value) in (int, float) else math.nan


def _of_spec(spec: Any, skipped: Counter[str]) -> tuple[int, int | None, float | None]:
  """Steps, seed and peak learning rate of a canonical spec, which leaves defaults out.

  The rest is looked at no further than its kind: checking ten thousand whole specs would take as
  long as their curves.
  """
  if spec is None:
    return -1, None, None
  try:
    if not all(isinstance(spec.get(name, {}), dict) for name in (
        'model', 'data', 'optim', 'evaluation')):
      raise TypeError
    found = (spec.get('steps', specs.RunSpec.steps), spec.get('seed', specs.RunSpec.seed),
             spec.get('optim', {}).get('peak_lr', specs.OptimSpec.peak_lr))
    if type(found[0]) is not int or type(found[1]) is not int or type(found[2]) not in (int, float):
      raise TypeError
  except (AttributeError, TypeError):
    skipped['unreadable spec files'] += 1
    return -1, None, None
  return found[0], found[1], float(found[2])


def _width(spec: Any) -> float:
  """d, of the embedding; NaN where the spec does not say."""
  try:
    return float(spec.get('model', {}).get('width', specs.ModelSpec.width))
  except (AttributeError, TypeError, ValueError):
    return math.nan


def _read(path: str, skipped: Counter[str], what: str) -> Any:
  try:
    return files.read_json(path)
  except (ValueError, OSError, RecursionError):
    skipped[what] += 1
    return None


def _plain(value: Any) -> Any:
  return value if isinstance(value, int | float | str | bool) else str(value)
