"""The run store: WORKDIR/runs/<run id>/, one folder a run (docs/formats.md says what lies in it).

What several runs share is trained once, under WORKDIR/prefixes/<name>/, a folder of the same kind.

`curve.jsonl` holds nothing that depends on time or machine: it is replaced whole after every
evaluation and cut back to the restored step on resume, so it is the same bytes however often a run
was killed. `result.json` is written once, when the last planned evaluation exists and is finite.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Any

from scaling import files, leases, specs

PLANNED, RUNNING, DONE, FAILED = 'planned', 'running', 'done', 'failed'
BLOCKED = 'blocked'  # what it continues has failed
PREFIX = 'prefix-'  # begins the name of a shared prefix

# What a curve line has beside its step: the losses by domain and, of a prefix, the raw sums from
# which the lines of its runs are made (scaling/train/lanes.py).
_LINE, _SHARED_LINE = ('domains',), ('metrics', 'drawn', 'loss_sum', 'loss_count')

# What a failed run waits for: these are tried again by the next sweep, any other reason only when
# asked, since the same spec would fail the same way.
RETRIED = ('memory', 'disk', 'preempted')


@dataclasses.dataclass(frozen=True)
class Run:
  """A run's folder: reading needs nothing, every write needs the lease."""

  workdir: str
  run_id: str

  @property
  def folder(self) -> str:
    kind = 'prefixes' if self.run_id.startswith(PREFIX) else 'runs'
    return f'{self.workdir}/{kind}/{self.run_id}'

  def path(self, name: str) -> str:
    return f'{self.folder}/{name}'

  # -- reading

  def state(self) -> str:
    """planned, running, done or failed. Nothing is inferred from a log's text."""
    present = files.names(self.folder)
    if 'result.json' in present:
      return DONE
    if 'failure.json' in present:
      return FAILED
    if any(n.startswith('lease.') for n in present) and leases.holder(self.folder):
      return RUNNING
    return PLANNED

  def failure(self) -> dict[str, Any] | None:
    try:
      return files.read_json(self.path('failure.json'))
    except FileNotFoundError:
      return None
    except ValueError:
      return {'reason': 'error', 'step': 0, 'message': 'failure.json cannot be read'}

  def curve(self) -> list[dict[str, Any]]:
    """The evaluations so far, in order of step."""
    try:
      text = files.read_text(self.path('curve.jsonl'))
    except FileNotFoundError:
      return []
    except ValueError:
      return []  # It is not text: the run goes back to where it needs no line of it.
    needed = _SHARED_LINE if self.run_id.startswith(PREFIX) else _LINE
    lines: list[dict[str, Any]] = []
    for text_line in text.splitlines():
      try:
        line = json.loads(text_line)
        if type(line['step']) is not int or not isinstance(line[needed[0]], dict) or any(
            name not in line for name in needed):
          break
      except (ValueError, KeyError, TypeError, RecursionError):
        break  # Only a foreign hand can leave one: what stands before it is sound.
      lines.append(line)
    return lines

  def checkpoints(self) -> list[dict[str, Any]]:
    """{'step', 'folder'} of the checkpoints that hold this run, oldest first."""
    try:
      return files.read_json(self.path('checkpoints.json'))
    except (FileNotFoundError, ValueError):
      return []

  def kept(self) -> list[dict[str, Any]]:
    """Those checkpoints that are there and that nobody has found damaged."""
    listed = self.checkpoints()
    if not listed:
      return []
    try:
      damaged = files.read_json(self.path('damage.json'))['folder']
    except (FileNotFoundError, ValueError, KeyError, TypeError):
      damaged = None
    return [entry for entry in listed if entry['folder'] != damaged
            and files.exists(f'{self.workdir}/{entry["folder"]}/index.json')]

  # -- writing

  def note_damage(self) -> None:
    """Says, without a lease, that what a prefix ended with cannot be used: its newest checkpoint,
    or the curve up to there. Another checkpoint makes the note void."""
    listed = self.checkpoints()
    if listed:
      files.replace(self.path('damage.json'),
                    files.to_json({'folder': listed[-1]['folder']}) + '\n')

  def reopen(self, lease: leases.Lease) -> None:
    """Takes back that a prefix is done, because its end is lost; what it still has is kept."""
    lease.check()
    files.remove(self.path('result.json'))
    self.write_checkpoints(lease, self.kept())

  def prepare(self, spec: specs.RunSpec, extent: dict[str, Any] | None = None) -> None:
    """Makes the folder and its spec.json, which says everything that the run id hashes.

    A prefix has the spec of one of its runs and, in segment.json, how far it goes.
    """
    if not files.exists(self.path('spec.json')):
      files.make_folder(self.folder)
      if extent is not None:
        files.replace(self.path('segment.json'), files.to_json(extent) + '\n')
      files.create(self.path('spec.json'), files.to_json(specs.canonical(spec)) + '\n')

  def write_environment(self, lease: leases.Lease, extra: dict[str, Any]) -> None:
    files.replace(self.path('environment.json'), files.to_json({**environment(), **extra}) + '\n',
                  before=lease.check)

  def write_curve(self, lease: leases.Lease, lines: Sequence[dict[str, Any]]) -> None:
    files.replace(self.path('curve.jsonl'), ''.join(files.to_json(line) + '\n' for line in lines),
                  before=lease.check)

  def write_checkpoints(self, lease: leases.Lease, entries: Sequence[dict[str, Any]]) -> None:
    files.replace(self.path('checkpoints.json'), files.to_json(list(entries)) + '\n',
                  before=lease.check)

  def write_origin(self, lease: leases.Lease, parent: str, step: int) -> None:
    """Says which shared prefix the run began with the end of."""
    origin = {'parent': parent, 'step': step}
    files.replace(self.path('origin.json'), files.to_json(origin) + '\n', before=lease.check)

  def write_timing(self, lease: leases.Lease, entry: dict[str, Any]) -> None:
    lease.check()
    files.append(self.path('timing.jsonl'), files.to_json({'time': time.time(), **entry}) + '\n')

  def write_result(self, lease: leases.Lease, lines: Sequence[dict[str, Any]]) -> None:
    """Marks the run done. Raises ValueError unless the last line is finite and at the last step."""
    losses = [d['loss'] for d in lines[-1]['domains'].values()] if lines else []
    if not losses or not all(math.isfinite(loss) for loss in losses):
      raise ValueError(f'{self.folder}: the last evaluation is missing or not finite')
    self.write_end(lease, lines[-1]['step'], len(lines))

  def write_end(self, lease: leases.Lease, step: int, lines: int) -> None:
    """Marks a run or a prefix done."""
    lease.check()
    result = {'run_id': self.run_id, 'step': step, 'curve_lines': lines}
    files.create(self.path('result.json'), files.to_json(result) + '\n')

  def write_failure(self, lease: leases.Lease, reason: str, step: int, message: str) -> None:
    failure = {'reason': reason, 'step': step, 'message': message}
    files.replace(self.path('failure.json'), files.to_json(failure) + '\n', before=lease.check)

  def clear_failure(self, lease: leases.Lease) -> None:
    lease.check()
    files.remove(self.path('failure.json'))


def write_study(workdir: str, name: str, laws: Iterable[str], runs: Iterable[dict[str, Any]]
                ) -> None:
  """studies/<name>.json: which runs a study asked for, and what it wants fitted to them."""
  files.make_folder(f'{workdir}/studies')
  path = f'{workdir}/studies/{name}.json'
  text = files.to_json({'name': name, 'laws': list(laws), 'runs': list(runs)}) + '\n'
  if not files.exists(path) or files.read_text(path) != text:
    files.replace(path, text)


def of_others(workdir: str, name: str) -> set[str]:
  """The run ids that the workdir's studies other than `name` list."""
  found: set[str] = set()
  for file in files.names(f'{workdir}/studies'):
    if file.endswith('.json') and file != f'{name}.json':
      try:
        found.update(run['run_id'] for run in files.read_json(f'{workdir}/studies/{file}')['runs'])
      except (OSError, ValueError, KeyError, TypeError):
        continue
  return found


def environment() -> dict[str, Any]:
  """Versions, machine and commit: what a curve should not depend on, kept in case it did."""
  import jax  # pylint: disable=import-outside-toplevel

  device = jax.devices()[0]
  return {
      'commit': commit(), 'python': platform.python_version(), 'jax': jax.__version__,
      'jaxlib': jax.lib.__version__, 'device': device.device_kind, 'platform': device.platform,
      'devices': jax.device_count(), 'host': platform.node(), 'machine': platform.machine(),
  }


@functools.cache
def commit() -> str:
  """The commit of the checkout that this code runs from, '-dirty' when it differs; or 'unknown'."""
  here = os.path.dirname(os.path.abspath(__file__))
  try:
    found = subprocess.run(['git', '-C', here, 'describe', '--always', '--dirty', '--abbrev=12'],
                           capture_output=True, text=True, timeout=10, check=True)
    return found.stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return 'unknown'
