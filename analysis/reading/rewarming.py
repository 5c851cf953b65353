"""The cut after the peak of re-warming: which evaluations along continued runs a law may have.

A run that goes on from another at a risen learning rate first loses what the decay before had
gained: its losses climb to a peak that no law of N, D and r describes. The points before it are
left out (Que et al. 2024, arXiv 2406.01375, fit the points along runs).

Where the peak is can be read from the loss of the corpus that the parent was trained on, in runs
that go on with it: runs with other mixtures forget it, and their loss may climb to the end. So the
peak of a parent's runs is the highest general loss among its children of the largest general share.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis import logs
from scaling.errors import bad

PEAK, NONE = 'peak', 'none'
ALIKE = ('parent', 'peak_lr', 'B')  # of children whose rates rise alike
ALLOWED = 'it is peak, none, or the share of a run to leave out, in (0, 1)'


@dataclasses.dataclass(frozen=True)
class Cut:
  """keep: bool [rows]; left_out: {reason: rows}; said: what a fit records of the cut."""

  keep: np.ndarray
  left_out: dict[str, int] = dataclasses.field(default_factory=dict)
  said: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()


def check(after: str) -> None:
  """InputError for an --after that is none of the three kinds."""
  if after not in (PEAK, NONE):
    _share(after)


def cut(runs: pd.DataFrame, rows: pd.DataFrame, after: str) -> Cut:
  """Which rows of a workdir's table stay, by the peaks of all its finished runs.

  after: `peak`; a share of each run, whose points before it go; or `none`. Runs that do not start
  from another, or at no higher rate than it ended with, have no such peak and lose nothing by it.
  """
  keep, notes = np.ones(len(rows), bool), []
  peaks: dict[str, int] = {}
  if after == NONE:
    return Cut(keep, said={'after': NONE})
  if after != PEAK:
    keep, reason = rows['share'].to_numpy() >= _share(after), f'share < {after} (--after)'
  else:
    reason = 'before the peak of re-warming (--after=peak)'
    ends = runs[runs['final'].astype(bool)].set_index('run_id')
    continued = rows[rows['parent'].notna()]
    for alike, children in continued.groupby(list(ALIKE), sort=True):
      parent = str(children['parent'].iloc[0])
      if parent not in ends.index:
        notes.append(f'no peak of re-warming sought: the parent {parent} is not in these logs')
        continue
      if not children['lr'].max() > ends.loc[parent, 'lr']:
        continue  # It goes on with the decay, or at the rate that there was.
      siblings = runs[np.logical_and.reduce([runs[k] == v for k, v in zip(ALIKE, alike)])]
      step, share = _peak(siblings, ends.loc[parent])
      if share < 0.5:
        notes.append(f'the peak of re-warming after {parent} is that of runs with {share:.2g} of '
                     'its mixture: what they forget may put it late')
      peaks[parent] = max(step, peaks.get(parent, 0))
      early = rows.index.isin(children.index[children['step'] < step])
      keep &= ~early
  count = int(np.sum(~keep))
  if after == PEAK and 2 * count > len(rows):
    notes.append(f'--after=peak leaves {len(rows) - count} of {len(rows)} points: where the '
                 'general loss stays as high until the decay, its highest point is chance; '
                 '--after=0.2 cuts at a share of each run')
  return Cut(keep, {reason: count} if count else {},
             {'after': after} | ({'peaks': peaks} if peaks else {}), tuple(notes))


def _peak(children: pd.DataFrame, parent: Any) -> tuple[int, float]:
  """The step of the highest general loss in the runs likest the parent's mixture; how like."""
  general = {d: float(parent[f'r/{d}']) for d in logs.domains(children)
             if f'r/{d}' in children and parent[f'r/{d}'] > 0}
  share = sum(np.minimum(children[f'r/{d}'].to_numpy(), r) for d, r in general.items())
  likest = children[np.isclose(share, np.max(share))]
  loss = sum(r * along(likest, d) for d, r in general.items())
  if np.isnan(loss).all():
    return 0, 1.0
  return int(likest['step'].iloc[int(np.nanargmax(loss))]), float(np.max(share))


def along(table: pd.DataFrame, domain: str) -> np.ndarray:
  """The loss on the windows evaluated along runs: the end on more windows is no fall of it."""
  loss = table[f'loss/{domain}'].to_numpy(float)
  if f'loss_along/{domain}' not in table:
    return loss
  along = table[f'loss_along/{domain}'].to_numpy(float)
  return np.where(np.isnan(along), loss, along)


def _share(after: str) -> float:
  try:
    share = float(after)
  except ValueError:
    share = -1.0
  if not 0 < share < 1:
    raise bad('--after', after, ALLOWED)
  return share
