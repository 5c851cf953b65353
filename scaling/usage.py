"""What the time of a sweep went into: WORKDIR/usage/<worker>.json, and per run its timing.jsonl.

  tokens/s   tokens trained / wall seconds
  MFU        counted FLOPs of these tokens / (wall seconds * peak), where counted FLOPs are three
             times the forward matrix products, head and whole attention included
             (scaling/accounting.py), and peak is the maker's dense bfloat16 figure of all devices
             used (scaling/programs.py); unknown for a CPU
  shares     of the wall time: compile, data (gathering batches on the host), train (waiting for
             the device), evaluate, checkpoint; idle is the rest
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from scaling import files
from scaling.runs import Run

KINDS = ('compile', 'data', 'train', 'evaluate', 'checkpoint')


class Meter:
  """The usage of one worker in one sweep, written from time to time."""

  def __init__(self, workdir: str, worker: str, study: str, peak: float | None):
    self._path, self._study, self._peak = f'{workdir}/usage/{worker}.json', study, peak
    self._folder = f'{workdir}/usage'
    self._start, self._written = time.monotonic(), 0.0

  def write(self, tokens: int, flops: float, seconds: Mapping[str, float], compilations: int,
            every: float = 0.0) -> None:
    """Replaces the file, unless that was done less than `every` seconds ago."""
    now = time.monotonic()
    if now - self._written < every:
      return
    self._written = now
    files.make_folder(self._folder)
    files.replace(self._path, files.to_json({
        'study': self._study, 'wall': now - self._start, 'tokens': tokens, 'flops': flops,
        'peak': self._peak, 'compilations': compilations, 'seconds': dict(seconds)}) + '\n')


def of_study(workdir: str, study: str) -> dict[str, Any] | None:
  """All sweeps of a study so far together; None when nothing is recorded."""
  found = []
  for name in files.names(f'{workdir}/usage'):
    try:
      entry = files.read_json(f'{workdir}/usage/{name}')
      if entry['study'] == study and entry['wall'] > 0:
        found.append({name: entry[name] for name in (
            'wall', 'tokens', 'flops', 'peak', 'compilations', 'seconds')})
    except (OSError, ValueError, KeyError, TypeError):
      continue
  if not found:
    return None
  peaks = {entry['peak'] for entry in found}
  return {**_together(found), 'sweeps': len(found),
          'peak': peaks.pop() if len(peaks) == 1 else None,
          'compilations': sum(entry['compilations'] for entry in found)}


def of_run(run: Run, flops: float = 0.0, peak: float | None = None) -> dict[str, Any] | None:
  """A run's part of its packs' time; see `of_runs`."""
  return of_runs([run], flops, peak)


def of_runs(runs: Iterable[Run], flops: float = 0.0, peak: float | None = None,
            ) -> dict[str, Any] | None:
  """The parts that runs of one shape have in their packs' time, from timing.jsonl; idle time is
  not a run's. `flops` a token and the devices' `peak` give the MFU. None when nothing is recorded.
  """
  entries = []
  for run in runs:
    try:
      lines = files.read_text(run.path('timing.jsonl')).splitlines()
    except (OSError, ValueError):
      continue
    for line in lines:
      try:
        entry = json.loads(line)
        entries.append({'tokens': entry['tokens'], 'seconds': entry['seconds'],
                        'wall': sum(entry['seconds'].values()), 'peak': peak,
                        'flops': entry['tokens'] * flops})
      except (ValueError, KeyError, TypeError, AttributeError):
        continue
  return _together(entries) if entries else None


def _together(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
  entries = list(entries)
  wall = sum(entry['wall'] for entry in entries)
  shares = {kind: sum(entry['seconds'].get(kind, 0.0) for entry in entries) / wall if wall else 0.0
            for kind in KINDS}
  shares['idle'] = max(0.0, 1 - sum(shares.values())) if wall else 0.0
  tokens = sum(entry['tokens'] for entry in entries)
  possible = [entry['peak'] * entry['wall'] for entry in entries if entry.get('peak')]
  mfu = (sum(entry['flops'] for entry in entries) / sum(possible)
         if possible and len(possible) == len(entries) else None)
  return {'tokens': tokens, 'wall': wall, 'tokens_per_second': tokens / wall if wall else 0.0,
          'mfu': mfu, 'shares': shares}


def brief(found: Mapping[str, Any]) -> str:
  """What a row of a table has room for: the shares in whole per cent, those of nothing left out."""
  shares = ' '.join(f'{kind} {100 * share:.0f}' for kind, share in found['shares'].items()
                    if share >= 0.005)
  mfu = f' MFU {found["mfu"]:.1%}' if found['mfu'] is not None else ''
  return f'{found["tokens_per_second"]:,.0f} tokens/s{mfu} ({shares} %)'


def text(found: Mapping[str, Any]) -> str:
  """One line of it."""
  shares = ', '.join(f'{kind} {share:.1%}' for kind, share in found['shares'].items())
  mfu = f', MFU {found["mfu"]:.1%}' if found['mfu'] is not None else ''
  return f'{found["tokens_per_second"]:,.0f} tokens/s{mfu}; of the time: {shares}'
