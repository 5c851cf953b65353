"""What is left to train, and the queue that hands it to packs.

A segment (scaling/prefixes.py) starts where its run can start: its own newest checkpoint, else the
end of the prefix it continues, else its init.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from scaling import leases, runs
from scaling.prefixes import Segment
from scaling.runs import Run
from scaling.specs import RunSpec


def remaining(workdir: str, forest: Mapping[str, Segment], retry_failed: bool = False,
              ) -> dict[str, Segment]:
  """The segments that a sweep would train now, from where each can start, parents first.

  Nothing for runs that are done or have failed, for what they continue, or for what continues a
  failure. A failure that another attempt may cure (memory, disk, preemption) is tried again; any
  other only with `retry_failed`.
  """
  found: dict[str, Segment] = {}
  needed: set[str] = set()
  for name, segment in reversed(list(forest.items())):  # Children first: they say what is needed.
    run = Run(workdir, name)
    if (segment.shared and name not in needed) or not _wanted(run, retry_failed):
      continue
    kept = run.checkpoints()
    first = max(segment.first, kept[-1]['step']) if kept else segment.first
    found[name] = (segment if first == segment.first
                   else dataclasses.replace(segment, first=first))
    if segment.parent is not None and not kept:
      needed.add(segment.parent)
  ordered = {name: found[name] for name in forest if name in found}
  unreached = blocked(workdir, forest, retry_failed)
  return {name: segment for name, segment in ordered.items() if name not in unreached}


def blocked(workdir: str, forest: Mapping[str, Segment], retry_failed: bool) -> set[str]:
  """Segments whose parent has failed for good, or is blocked, and that have no checkpoint."""
  found: set[str] = set()
  for name, segment in forest.items():
    if segment.parent is None or Run(workdir, name).checkpoints():
      continue
    parent = Run(workdir, segment.parent)
    if segment.parent in found or (
        parent.state() == runs.FAILED and not _wanted(parent, retry_failed)):
      found.add(name)
  return found


def _wanted(run: Run, retry_failed: bool) -> bool:
  state = run.state()
  if state == runs.DONE:
    return False
  if state == runs.FAILED:
    return retry_failed or (run.failure() or {}).get('reason') in runs.RETRIED
  return True


@dataclasses.dataclass
class Claimed:
  """A segment that this worker may train, and the right to write to its folder."""

  run: Run
  segment: Segment
  lease: leases.Lease
  ancestors: tuple[Segment, ...] = ()  # nearest first

  @property
  def spec(self) -> RunSpec:
    return self.segment.spec


class Queue:
  """Segments of one study, handed out under leases; each at most once a sweep."""

  def __init__(self, workdir: str, worker: leases.Worker, forest: Mapping[str, Segment],
               retry_failed: bool = False):
    self._workdir, self._worker, self._retry_failed = workdir, worker, retry_failed
    self._forest = dict(forest)
    self._open = remaining(workdir, forest, retry_failed)

  def __len__(self) -> int:
    return len(self._open)

  def put_back(self, claimed: Claimed) -> None:
    """A run whose lease was lost: wait for its new worker, or take it over again."""
    self._open[claimed.run.run_id] = claimed.segment

  def take(self, wanted: Callable[[RunSpec], bool] = lambda spec: True) -> Claimed | None:
    """The next segment with a `wanted` spec that can be claimed; None when there is none now."""
    for name, segment in list(self._open.items()):
      if not wanted(segment.spec):
        continue
      run = Run(self._workdir, name)
      if not _wanted(run, self._retry_failed):
        del self._open[name]
        continue
      if not self._ready(name, segment, run):
        continue
      lease = self._worker.claim(run.folder)
      if lease is None:
        continue
      del self._open[name]
      if not _wanted(run, self._retry_failed):  # It was finished while we reached for it.
        lease.release()
        continue
      claimed = Claimed(run, self._forest[name], lease, tuple(self._ancestors(segment)))
      try:
        run.clear_failure(lease)
      except leases.LeaseLost:
        self.put_back(claimed)
        continue
      return claimed
    return None

  def _ready(self, name: str, segment: Segment, run: Run) -> bool:
    """Whether what it continues is there; a segment that will never be is taken off the queue."""
    if segment.parent is None or run.checkpoints():
      return True
    if Run(self._workdir, segment.parent).state() == runs.DONE:
      return True
    if any(a.name not in self._open and Run(self._workdir, a.name).state() == runs.FAILED
           for a in self._ancestors(segment)):
      del self._open[name]
    return False

  def _ancestors(self, segment: Segment) -> list[Segment]:
    found = []
    while segment.parent is not None:
      segment = self._forest[segment.parent]
      found.append(segment)
    return found
