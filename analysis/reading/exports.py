"""CSV exports of Weights & Biases -> tidy tables.

A chart's export has the x axis first, then per run and metric `run - metric`, `run - metric__MIN`
and `run - metric__MAX`: it becomes a row a run and step. An export of the runs table has a row a
run already (Name, State, configuration, summary); as in a workdir only finished runs are kept.
"""

from __future__ import annotations

import pandas as pd

from analysis.reading import suffixes
from scaling.errors import InputError

_ENDS = ('__MIN', '__MAX')
_RUNS_TABLE = {'Runtime', 'Created', 'Sweep', 'Tags', 'User', 'Notes', 'ID', 'Group', 'Job Type'}


def recognised(table: pd.DataFrame) -> bool:
  """Whether a CSV's columns are those of either export."""
  return bool(_chart(table)) or _runs(table)


def tidy(path: str, table: pd.DataFrame) -> pd.DataFrame:
  """The rows of an export; notes say what was left out. InputError when nothing remains."""
  return _of_chart(path, table) if _chart(table) else _of_runs(path, table)


def _chart(table: pd.DataFrame) -> list[str]:
  """The `run - metric` columns of a chart's export; [] when it is none."""
  names = list(table.columns[1:])
  series = [n for n in names if not n.endswith(_ENDS)]
  paired = all(f'{n}{end}' in names for n in series for end in _ENDS)
  return series if series and paired and all(' - ' in n for n in series) else []


def _runs(table: pd.DataFrame) -> bool:
  return {'Name', 'State'} <= set(table.columns) and bool(_RUNS_TABLE & set(table.columns))


def _of_chart(path: str, table: pd.DataFrame) -> pd.DataFrame:
  x = table.columns[0]
  runs: dict[str, dict[str, pd.Series]] = {}
  for name in _chart(table):
    run, _, metric = name.rpartition(' - ')  # names of runs hold ' - ' more often than metrics
    for end in ('', *_ENDS):
      runs.setdefault(run, {})[f'{metric}{end}'] = table[f'{name}{end}']
  parts, empty = [], 0
  for run, columns in runs.items():
    if x in columns or 'run' in columns:
      raise InputError(f'{path}: a metric has the name {x!r} of the x axis, or run')
    part = pd.DataFrame({'run': run, x: table[x], **columns})
    filled = part[list(columns)].notna().any(axis=1)
    empty += int((~filled).sum())
    parts.append(part[filled])
  found = pd.concat(parts, ignore_index=True)
  if not len(found):
    raise InputError(f'{path}: none of its {len(runs)} runs has a value')
  found.attrs['notes'] = [f'Weights & Biases chart: {len(runs)} run{"s" * (len(runs) > 1)}, '
                          f'{len(found)} rows; {empty} steps at which a run has no value left out']
  return found


def _of_runs(path: str, table: pd.DataFrame) -> pd.DataFrame:
  states = pd.Series(['' if suffixes.empty(s) else str(s).strip() for s in table['State']])
  done = states.str.casefold() == 'finished'
  if not done.any():
    raise InputError(f'{path}: no run of this Weights & Biases table is finished; --format=csv '
                     'reads all of its rows')
  found = table[done.to_numpy()].reset_index(drop=True)
  left = ', '.join(f'{n} {state or "without a state"}'
                   for state, n in states[~done].value_counts().items())
  found.attrs['notes'] = [f'Weights & Biases runs: {left} left out (--format=csv keeps them)'
                          ] if left else []
  return found
