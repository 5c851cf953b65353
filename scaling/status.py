"""Where the runs of a study stand: read from the run store and the workers' heartbeats."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from scaling import accounting, files, runs, segments, study, usage
from scaling.errors import bad
from scaling.leases import Worker
from scaling.prefixes import Segment
from scaling.runs import Run


def summarize(planned: study.Study, forest: Mapping[str, Segment], workdir: str, watcher: Worker,
              retry_failed: bool = False) -> dict[str, Any]:
  """States counted, a row a run, and the workers that `watcher` does not presume dead.

  A run is blocked when the next sweep (with `retry_failed` or without) would not reach it.

  Raises InputError when there is no such workdir.
  """
  if not files.exists(workdir):
    raise bad('--workdir', workdir, 'it must be a folder: nothing has been trained there')
  workers = {}
  for name in files.names(f'{workdir}/workers'):
    try:
      seen = files.read_json(f'{workdir}/workers/{name}')
    except (OSError, ValueError):
      continue
    age = time.time() - seen.get('time', 0)  # Clocks may differ: good enough for a display.
    if age < 3 * seen.get('seconds', 0) and not watcher.presumed_dead(seen['worker']):
      workers[seen['worker']] = seen['note']
  used = usage.of_study(workdir, planned.name)
  peak = (used or {}).get('peak')
  rows = [_row(r, Run(workdir, r.run_id), workers, peak) for r in planned.runs]
  shared = [_prefix(segment, Run(workdir, name), workers) for name, segment in forest.items()
            if segment.shared]
  blocked = segments.blocked(workdir, forest, retry_failed)
  for row in rows:
    if row['state'] == runs.PLANNED and row['run_id'] in blocked:
      row['state'] = runs.BLOCKED
  states = {state: sum(row['state'] == state for row in rows)
            for state in (runs.DONE, runs.RUNNING, runs.PLANNED, runs.BLOCKED, runs.FAILED)}
  return {'study': planned.name, 'states': states, 'runs': rows, 'prefixes': shared,
          'workers': workers,
          'compilations': (used or {}).get('compilations', 0), 'usage': used}


def _prefix(segment: Segment, found: Run, workers: dict[str, Any]) -> dict[str, Any]:
  """A shared prefix: how far it goes, and how far it has come."""
  state = found.state()
  at_work = [note['runs'][found.run_id] for note in workers.values()
             if found.run_id in note.get('runs', {})]
  if state == runs.RUNNING and not at_work:
    state = runs.PLANNED
  return {'name': segment.name, 'parent': segment.parent, 'first': segment.first,
          'last': segment.last, 'state': state, 'failure': found.failure(),
          'step': segment.last if state == runs.DONE else max(at_work + [segment.first])}


def _row(planned: study.StudyRun, found: Run, workers: dict[str, Any], peak: float | None,
         ) -> dict[str, Any]:
  spec, curve = planned.spec, found.curve()
  last = curve[-1] if curve else None
  state = found.state()
  at_work = [note['runs'][found.run_id] for note in workers.values()
             if found.run_id in note.get('runs', {})]
  if state == runs.RUNNING and not at_work:
    state = runs.PLANNED  # Its worker is gone, or has not begun: the next sweep takes it over.
  return {
      'run_id': planned.run_id, 'point': planned.point, 'held_out': planned.held_out,
      'state': state, 'step': max(at_work + [last['step'] if last else 0]),
      'steps': planned.spec.steps, 'failure': found.failure(),
      'loss': {name: d['loss'] for name, d in last['domains'].items()} if last else {},
      'usage': usage.of_run(found, accounting.counted_flops(
          spec.model, spec.data.vocab_size, spec.data.length), peak)}


def text(summary: dict[str, Any]) -> str:
  """The summary for a terminal."""
  lines = [f'{summary["study"]}: ' + ', '.join(
      f'{count} {state}' for state, count in summary['states'].items() if count)]
  if summary['usage'] is not None:
    lines.append(f'{usage.text(summary["usage"])}; {summary["compilations"]} compilations in '
                 f'{summary["usage"]["sweeps"]} sweeps')
  for row in summary['runs']:
    point = ' '.join(f'{path.removeprefix("base.")}={value}'
                     for path, value in row['point'].items())
    losses = ' '.join(f'{domain} {loss:.4f}' for domain, loss in row['loss'].items())
    held = ' (held out)' if row['held_out'] else ''
    speed = usage.brief(row['usage']) if row['usage'] else ''
    lines.append(f'  {row["run_id"]}  {row["state"]:8} {row["step"]:>7}/{row["steps"]:<7} '
                 f'{losses or "-":24} {speed:16}  {point}{held}')
    if row['failure']:
      lines.append(f'    {row["failure"]["reason"]}: {row["failure"]["message"]}')
  for row in summary['prefixes']:
    if row['state'] != runs.DONE:
      lines.append(f'  {row["name"]}  {row["state"]:8} {row["step"]:>7}/{row["last"]:<7} '
                   f'shared, from step {row["first"]}')
    if row['failure']:
      lines.append(f'    {row["failure"]["reason"]}: {row["failure"]["message"]}')
  for worker, note in summary['workers'].items():
    lines.append(f'  worker {worker}: {len(note.get("runs", {}))} runs, '
                 f'{note.get("tokens_per_second", 0):,} tokens/s, '
                 f'{note.get("compilations", 0)} compilations')
  return '\n'.join(lines)
