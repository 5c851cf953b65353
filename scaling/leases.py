"""Who works on a run: leases in the workdir, safe between any number of processes and hosts.

A lease is a file `lease.<generation>` in the run's folder, created exclusively, that names a worker
(or nobody: a released lease). The highest generation counts. A worker proves that it lives by one
heartbeat file, `WORKDIR/workers/<worker>.json`, whose `beat` it raises every few seconds. Another
worker takes over by creating the next generation, once it has watched the holder's beat stand still
for `seconds` on its own monotonic clock, so clocks need not agree; a process known to be dead (same
machine, same process namespace) is not waited for. Before each write a worker looks whether its
generation is still the highest; a worker that slept past its lease finds that it is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import socket
import threading
import time
import uuid
from typing import Any

from scaling import files


class LeaseLost(RuntimeError):
  """Another worker has taken the run over: stop writing to it."""


def _machine() -> str:
  """Names what a process number means something in: host, boot and process namespace."""
  parts = [socket.gethostname()]
  for read in (lambda: pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip(),
               lambda: os.readlink('/proc/self/ns/pid')):
    try:
      parts.append(read())
    except OSError:
      parts.append('?')
  return '|'.join(parts)


def _started(pid: int) -> str | None:
  """When a process of this machine started (in clock ticks); None when there is none."""
  try:
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
  except OSError:
    return None
  return None if fields[0] in 'ZX' else fields[19]


class Worker:
  """This process as a holder of leases: its name and its heartbeat."""

  def __init__(self, workdir: str, seconds: float = 60.0):
    self.workdir, self.seconds = workdir, seconds
    self.name = f'{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}'
    self.note: dict[str, Any] = {}  # what `status` shows of this worker
    self._identity = {'machine': _machine(), 'pid': os.getpid(), 'started': _started(os.getpid())}
    self._beat = 0
    self._names = itertools.count(1)
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._run, name='heartbeat', daemon=True)
    self._watched: dict[str, tuple[int, float]] = {}  # worker -> (beat, when first seen so)

  @property
  def path(self) -> str:
    return f'{self.workdir}/workers/{self.name}.json'

  def fresh_name(self) -> str:
    """A name that no worker has used: all of a worker's packs count together."""
    return f'{self.name}-{next(self._names)}'

  def start(self) -> None:
    files.make_folder(f'{self.workdir}/workers')
    self.beat()
    self._thread.start()

  def beat(self) -> None:
    self._beat += 1
    files.replace(self.path, files.to_json(
        {'worker': self.name, 'beat': self._beat, 'seconds': self.seconds, 'time': time.time(),
         'note': dict(self.note), **self._identity}))

  def stop(self) -> None:
    self._stop.set()
    if self._thread.is_alive():
      self._thread.join()
    files.remove(self.path)

  def _run(self) -> None:
    while not self._stop.wait(self.seconds / 6):
      # A full disk must not kill the thread; a silent worker merely loses its leases.
      with contextlib.suppress(OSError):
        self.beat()

  def presumed_dead(self, other: str, identity: dict[str, Any] | None = None) -> bool:
    """Whether worker `other` is dead, or its beat has stood still for the length of a lease.

    `identity` (machine, pid, started) is what its lease says of it, if anything; otherwise its
    heartbeat file does. The length of a lease is the longer of its own and this worker's.
    """
    seen = self._heartbeat(other)
    identity = identity or seen
    here = identity.get('machine') == self._identity['machine']
    if here and _started(identity['pid']) != identity['started']:
      return True
    beat, now = seen.get('beat', -1), time.monotonic()
    since = self._watched.get(other)
    if since is None or since[0] != beat:
      self._watched[other] = (beat, now)
      return False
    return now - since[1] > max(self.seconds, seen.get('seconds', 0))

  def _heartbeat(self, other: str) -> dict[str, Any]:
    try:
      return files.read_json(f'{self.workdir}/workers/{other}.json')
    except (OSError, ValueError):
      return {}

  def gone(self, other: str) -> bool:
    """Whether `other` will never write again: it has left no heartbeat file, as a worker that
    ended well, or its process is known to be dead. One that is merely silent may come back."""
    if f'{other}.json' not in files.names(f'{self.workdir}/workers'):
      return True
    seen = self._heartbeat(other)
    return (seen.get('machine') == self._identity['machine']
            and _started(seen['pid']) != seen['started'])

  def claim(self, folder: str) -> Lease | None:
    """A lease on the run in `folder`, or None while another worker that may live holds it."""
    newest = _newest(folder)
    if newest > 0:
      try:
        found = files.read_json(f'{folder}/lease.{newest}')
      except (OSError, ValueError):
        return None  # It went away while we looked: look again later.
      holder = found.get('worker')
      if holder == self.name:
        return Lease(folder, newest, self.name)
      identity = found if 'pid' in found else None
      if holder is not None and not self.presumed_dead(holder, identity):
        return None
    lease = Lease(folder, newest + 1, self.name)
    if not files.create(lease.path, files.to_json({'worker': self.name, **self._identity})):
      return None
    if not lease.held:  # Others went on while we looked, and the name had become free again.
      files.remove(lease.path)
      return None
    for old in range(newest - 1, 0, -1):  # Its holder's own file stays.
      if not files.exists(f'{folder}/lease.{old}'):
        break
      files.remove(f'{folder}/lease.{old}')
    return lease


@dataclasses.dataclass(frozen=True)
class Lease:
  """The right to write in one run's folder, for as long as no newer generation exists."""

  folder: str
  generation: int
  worker: str

  @property
  def path(self) -> str:
    return f'{self.folder}/lease.{self.generation}'

  @property
  def held(self) -> bool:
    return _newest(self.folder) == self.generation

  def check(self) -> None:
    """Raises LeaseLost when another worker has taken over."""
    if not self.held:
      raise LeaseLost(f'{self.path}: taken over by another worker')

  def release(self) -> None:
    """Leaves the run to whoever comes next; does nothing when the lease is lost already."""
    if self.held:
      files.create(f'{self.folder}/lease.{self.generation + 1}', files.to_json({'worker': None}))


def holder(folder: str) -> str | None:
  """The worker that the newest lease in a run's folder names, None when it is free."""
  newest = _newest(folder)
  if not newest:
    return None
  try:
    return files.read_json(f'{folder}/lease.{newest}').get('worker')
  except (OSError, ValueError):
    return None


def _newest(folder: str) -> int:
  generations = [name.partition('.')[2] for name in files.names(folder)
                 if name.startswith('lease.')]
  return max((int(g) for g in generations if g.isdigit()), default=0)
