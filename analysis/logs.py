"""A workdir's run store as one tidy table, a row an evaluation.

Columns as DESIGN.md lists them: run_id, study, lineage, parent, seed, state, step, final, held_out,
lr, peak_lr, N ... C_total, and per domain loss/<domain>, loss_se/<domain>, bits_per_byte/<domain>,
loss_unigram/<domain>, r/<domain>; the axis values of the study's runs as point/<field>. What cannot
be read is skipped; how much that was stands in `table.attrs['skipped']` {what: count}.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from typing import Any

import pandas as pd

from scaling import files, specs
from scaling.errors import InputError

RUN = ('run_id', 'study', 'lineage', 'parent', 'seed', 'state', 'step', 'final', 'held_out', 'lr',
       'peak_lr')
NUMBERS = ('N', 'N_nonembedding', 'N_average', 'N_v', 'V', 'D', 'C', 'C_counted', 'H', 'U', 'B',
           'D_total', 'C_total')
DOMAIN = ('loss', 'loss_se', 'bits_per_byte', 'loss_unigram', 'r')


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
  rows: list[dict[str, Any]] = []
  for run in files.names(f'{workdir}/runs'):
    if study is None or run in asked:
      rows += _run(f'{workdir}/runs/{run}', run, asked.get(run, {}), skipped)
  table = pd.DataFrame(rows)
  first = [*RUN, *NUMBERS, 'train_loss']
  for name in first:
    if name not in table:
      table[name] = pd.Series(dtype=object if name in RUN[:4] else float)
  table = table[first + sorted({str(c) for c in table} - set(first))]
  table.attrs['skipped'] = dict(skipped)
  return table


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
        entry = {'study': name, 'held_out': bool(run['held_out']), 'point': dict(run['point'])}
        found.setdefault(str(run['run_id']), entry)
    except (ValueError, KeyError, TypeError, OSError):
      skipped['unreadable study files'] += 1
  return found


def _run(folder: str, run: str, asked: dict[str, Any], skipped: Counter[str],
         ) -> list[dict[str, Any]]:
  spec = _read(f'{folder}/spec.json', skipped, 'unreadable spec files')
  try:
    full = specs.from_dict(spec) if isinstance(spec, dict) else None
  except InputError:
    full = None
    skipped['unreadable spec files'] += 1
  state = ('done' if files.exists(f'{folder}/result.json') else
           'failed' if files.exists(f'{folder}/failure.json') else 'running')
  origin = (_read(f'{folder}/origin.json', skipped, 'unreadable origin files')
            if files.exists(f'{folder}/origin.json') else None)
  origin = origin if isinstance(origin, dict) else {}
  constant = {'run_id': run, 'study': asked.get('study'),
              'lineage': str(origin.get('lineage', run)), 'parent': origin.get('parent'),
              'seed': full.seed if full else None, 'state': state,
              'held_out': asked.get('held_out', False),
              'peak_lr': full.optim.peak_lr if full else None,
              **{f'point/{name}': _plain(value) for name, value in asked.get('point', {}).items()}}
  rows: list[dict[str, Any]] = []
  for line in _lines(f'{folder}/curve.jsonl', skipped):
    try:
      row = {**constant, 'step': int(line['step']), 'lr': _number(line.get('lr')),
             'train_loss': _number(line.get('train_loss')),
             **{name: _number(line.get(name)) for name in NUMBERS}}
      row['final'] = full is not None and row['step'] == full.steps
      for domain, values in line['domains'].items():
        row |= {f'{name}/{domain}': _number(values.get(name)) for name in DOMAIN}
      rows.append(row)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
      skipped['unreadable curve lines'] += 1
  if not rows:
    skipped['runs without an evaluation'] += 1
  return rows


def _read(path: str, skipped: Counter[str], what: str) -> Any:
  try:
    return files.read_json(path)
  except (ValueError, OSError, RecursionError):
    skipped[what] += 1
    return None


def _lines(path: str, skipped: Counter[str]) -> list[Any]:
  try:
    text = files.read_text(path)
  except FileNotFoundError:
    return []
  except (ValueError, OSError):
    skipped['unreadable curve files'] += 1
    return []
  found = []
  for line in text.splitlines():
    try:
      found.append(json.loads(line))
    except (ValueError, RecursionError):
      skipped['unreadable curve lines'] += 1
  return found


def _number(value: Any) -> float:
  """A number of a curve line, nan for a missing one. TypeError for anything else."""
  if value is None:
    return math.nan
  if type(value) not in (int, float):
    raise TypeError(value)
  return float(value)


def _plain(value: Any) -> Any:
  return value if isinstance(value, int | float | str | bool) else str(value)
