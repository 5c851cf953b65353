"""What the runs of a workdir cost: speed, what the time went into, and what sharing saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.fit import Fit
from analysis.pictures import page
from analysis.pictures.labels import number
from scaling import files, usage
from scaling.runs import Run

MOST_ROWS = 30  # of runs one by one; above it they are taken together by shape
FORMULA = ('MFU = counted FLOPs of the tokens trained / (wall seconds × peak). Counted are three '
           'times the forward matrix products, head and whole attention included; the peak is the '
           "maker's for dense bfloat16 products, of all devices.")
NO_PEAK = ' It is empty where that peak is not known, as for a CPU.'


def of_workdir(workdir: str, table: pd.DataFrame) -> str:
  """The section on a workdir; nothing where nothing was recorded."""
  if not len(table):
    return ''
  # A line that another hand wrote need not have them.
  table = table[np.isfinite(table['D']) & np.isfinite(table['B']) & (table['D'] > 0)]
  last = table.sort_values('step').groupby('run_id', sort=False).tail(1)
  last = last.sort_values(['N', 'D', 'run_id'])
  studies = sorted({s for s in last['study'] if isinstance(s, str)})
  whole = {name: found for name in studies
           if (found := usage.of_study(workdir, name)) is not None}
  peaks = {found['peak'] for found in whole.values()}
  peak = peaks.pop() if len(peaks) == 1 else None
  rows = _rows(workdir, last, peak)
  if not whole and not rows:
    return ''
  body = ['<section><h2>What the runs cost</h2>']
  if whole:
    head = ['study', 'sweeps', 'compilations', 'wall time', *_HEAD]
    body += [page.table(head, [[name, str(found['sweeps']), str(found['compilations']),
                                f'{found["wall"]:,.0f} s', *_cells(found)]
                               for name, found in whole.items()])]
  alone, trained = tokens(workdir, last)
  if trained < alone:
    body.append(page.facts([
        ('tokens the runs saw', f'{alone:,}'),
        ('tokens trained, shared prefixes once', f'{trained:,} ({trained / alone:.3f} of them)')]))
  body.append(page.note(FORMULA + (NO_PEAK if peak is None else '')))
  if rows:
    several = len(last) > MOST_ROWS
    body += [f'<h3>By {"shape" if several else "run"}</h3>',
             page.table(['N', 'tokens a step', 'runs', *_HEAD] if several
                        else ['run', 'N', 'tokens a step', *_HEAD], rows),
             page.note('A run has its part of the time of the packs that it was trained in; '
                       'idle time and shared prefixes are counted for the study alone.')]
  return '\n'.join(body) + '</section>'


def tokens(workdir: str, last: pd.DataFrame) -> tuple[int, int]:
  """Tokens the runs saw up to their last evaluation, and those trained for it.

  Every shared prefix that the runs began with (origin.json, segment.json) counts once.
  """
  alone = trained = 0
  prefixes: dict[str, int] = {}
  for name, seen, per_step in zip(last['run_id'], map(int, last['D']), map(int, last['B'])):
    alone += seen
    trained += seen
    run = Run(workdir, str(name))
    origin = _json(run.path('origin.json'))
    parent, step = origin.get('parent'), origin.get('step')
    if not isinstance(parent, str) or type(step) is not int:
      continue
    trained -= step * per_step
    while isinstance(parent, str) and parent not in prefixes:
      segment = _json(Run(workdir, parent).path('segment.json'))
      begin, end = segment.get('first'), segment.get('last')
      prefixes[parent] = ((end - begin) * per_step
                          if isinstance(begin, int) and isinstance(end, int) else 0)
      parent = segment.get('parent')
  return alone, trained + sum(prefixes.values())


def lineages(found: Fit) -> str:
  """How many independent lineages the runs of a fit come from, and what that does to intervals."""
  data = found.extra.get('data') or {}
  if not data.get('rows'):  # a file: its rows are what --group says
    return ''
  count, k, p = len(found.loss), len(np.unique(found.groups)), len(found.law.names)
  what = 'runs' if data['rows'] == 'final' else 'evaluations'
  said = f'{count:,} {what} of {k:,} independent lineages'
  if k == count:
    said += ', each trained on its own. '
  else:
    said += (f': what shares training is one lineage, and its errors are not independent, so the '
             f'intervals rest on {k:,} draws and are up to √({count:,}/{k:,}) = '
             f'{math.sqrt(count / k):.2g} times as wide as {count:,} independent {what} would '
             'give. ')
  few = f'{k:,} lineages are fewer than three for each of the {p} parameters'
  method = found.interval_method or ''
  if not method:
    return said + ('Intervals there are none.' if k > p else
                   f'Too few for intervals: {p} parameters leave nothing to judge the noise by.')
  if 'bootstrap' in method or method == 'percentile':
    return said + (f'Whole lineages are drawn anew for every refit ({method})'
                   + (f', though {few}.' if k < 3 * p else '.'))
  floor = (f' with a noise floor of {found.noise_floor:.2g} from seeds' if found.noise_floor
           else ', with the noise taken from the residuals')
  why = few if k < 3 * p else 'a parameter is hardly identified, or it was asked for'
  return said + f'The intervals follow the {method}{floor}: {why}.'


_HEAD = ('tokens', 'tokens/s', 'MFU', *usage.KINDS, 'idle')


def _cells(found: Mapping[str, Any]) -> list[str]:
  return [f'{found["tokens"]:,}', f'{found["tokens_per_second"]:,.0f}',
          '' if found['mfu'] is None else f'{found["mfu"]:.1%}',
          *(f'{found["shares"][kind]:.1%}' for kind in (*usage.KINDS, 'idle'))]


def _rows(workdir: str, last: pd.DataFrame, peak: float | None) -> list[list[str]]:
  """A row a run, or a row a shape (N, tokens a step) when there are many."""
  rows = []
  groups = (last.groupby(['N', 'B'], sort=True) if len(last) > MOST_ROWS
            else last.groupby('run_id', sort=False))
  for _, members in groups:
    one = members.iloc[0]
    found = usage.of_runs((Run(workdir, str(name)) for name in members['run_id']),
                          float(one['C_counted']) / float(one['D']), peak)
    if found is not None:
      shape = [number(float(one['N'])), f'{one["B"]:,.0f}']
      rows.append([*((*shape, str(len(members))) if len(last) > MOST_ROWS
                     else (str(one['run_id'])[:8], *shape)), *_cells(found)])
  return rows


def _json(path: str) -> dict[str, Any]:
  try:
    found = files.read_json(path)
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}
