"""What is left to train, and the queue that hands it to packs.

A segment (scaling/prefixes.py) starts where its run can start: its own newest checkpoint, else the
end of the prefix it continues or of another that fits (scaling/trunks.py), else its init.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping

from scaling import files, leases, paths, runs, stages, trunks
from scaling.prefixes import Segment
from scaling.runs import Run
from scaling.specs import RunSpec
from scaling.trunks import Trunk, Trunks


class Unsound(Exception):
  """What a segment was to continue cannot be used: that has been noted, and is made again."""


def remaining(workdir: str, forest: Mapping[str, Segment], retry_failed: bool = False,
              ) -> dict[str, Segment]:
  """The segments that a sweep would train now, from where each can start, parents first.

  Nothing for runs that are done or have failed, for what they continue, or for what continues a
  failure. A finished prefix whose end is lost is trained again when a run needs it. A failure that
  another attempt may cure (memory, disk, preemption) is tried again; any other only with
  `retry_failed`.
  """
  there = _there(workdir)
  starts = Trunks(workdir, forest, there)
  found: dict[str, Segment] = {}
  needed: set[str] = set()
  for name, segment in reversed(list(forest.items())):  # Children first: they say what is needed.
    run, fresh = Run(workdir, name), name not in there
    if (segment.shared and name not in needed) or not (
        fresh or _wanted(run, retry_failed, name in needed)):
      continue
    kept, first = [] if fresh else run.kept(), segment.first
    if kept:
      first = kept[-1]['step']
    elif (start := starts.start(segment)) is not None and start.at >= first:
      first = start.at
    elif segment.parent is not None:
      needed.add(segment.parent)
    found[name] = (segment if first == segment.first
                   else dataclasses.replace(segment, first=first))
  ordered = {name: found[name] for name in forest if name in found}
  unreached = blocked(workdir, forest, retry_failed)
  return {name: segment for name, segment in ordered.items() if name not in unreached}


def blocked(workdir: str, forest: Mapping[str, Segment], retry_failed: bool) -> set[str]:
  """Segments whose parent has failed for good, or is blocked, and that can start nowhere else."""
  there = _there(workdir)
  starts = Trunks(workdir, forest, there)
  failed = {name for name in forest if name in there and Run(workdir, name).state() == runs.FAILED
            and not _wanted(Run(workdir, name), retry_failed)}
  found: set[str] = set()
  for name, segment in forest.items() if failed else ():
    if (segment.parent in found or segment.parent in failed) and not Run(workdir, name).kept():
      start = starts.start(segment)
      if start is None or start.at < segment.first:
        found.add(name)
  return found


def _there(workdir: str) -> set[str]:
  """What has a folder: the rest need not be looked at one by one, which takes long for many."""
  return {name for kind in ('runs', 'prefixes') for name in files.names(f'{workdir}/{kind}')}


def _wanted(run: Run, retry_failed: bool, lost: bool = False) -> bool:
  """Whether a segment is to be trained. lost: it is done, but what it ended with is not there."""
  state = run.state()
  if state == runs.DONE:
    return lost
  if state == runs.FAILED:
    return retry_failed or (run.failure() or {}).get('reason') in runs.RETRIED
  return True


@dataclasses.dataclass
class Claimed:
  """A segment that this worker may train, and the right to write to its folder."""

  run: Run
  segment: Segment
  lease: leases.Lease
  trunk: Trunk | None = None  # where it starts if it has no checkpoint of its own
  before: stages.Before = stages.NOTHING  # what its run's ancestors took
  continued: bool = False  # whether other segments start from its end

  @property
  def spec(self) -> RunSpec:
    return self.segment.spec


class Queue:
  """Segments of one study, handed out under leases; each at most once a sweep."""

  def __init__(self, workdir: str, worker: leases.Worker, forest: Mapping[str, Segment],
               retry_failed: bool = False, settled: Callable[[Segment], None] | None = None):
    """`settled` is told of every segment that another worker has finished meanwhile."""
    self._settled, self._told = settled, set[str]()
    self._workdir, self._worker, self._retry_failed = workdir, worker, retry_failed
    self._forest, self._trunks = dict(forest), Trunks(workdir, forest)
    self._left = paths.left(forest)
    self._continued = {segment.parent for segment in forest.values()}
    self._specs = {name: segment.spec for name, segment in forest.items()}
    self._open = remaining(workdir, forest, retry_failed)
    self._handed: set[str] = set()  # in the hands of this worker, or finished by it
    self._lost: set[str] = set()  # finished prefixes that a segment waits for, in vain

  def __len__(self) -> int:
    return len(self._open)

  def specs(self) -> list[RunSpec]:
    """What is left, in the order in which it is handed out."""
    return [segment.spec for segment in self._open.values()]

  def put_back(self, claimed: Claimed) -> None:
    """What could not be trained now: its lease was lost, or what it continues is unsound."""
    self._open[claimed.run.run_id] = claimed.segment
    self._handed.discard(claimed.run.run_id)

  def take(self, wanted: Callable[[RunSpec], bool] | None = None) -> Claimed | None:
    """The next segment that can be claimed, in the order of the study; None when there is none now.

    With `wanted`, which its spec must pass, to fill a pack: the one with the longest way to go
    first, itself and what continues it, so that lanes end together.
    """
    names = list(self._open)
    if wanted is not None:
      names.sort(key=lambda name: -self._left[name])  # stable: of equals the first in the study
    for name in names:
      segment, run = self._forest[name], Run(self._workdir, name)
      if wanted is not None and not wanted(segment.spec):
        continue
      if not self._to_train(segment, run):
        del self._open[name]
        self._tell(segment)
        continue
      if not self._ready(segment, run):
        if segment.parent in self._open and segment.parent not in names:
          names.append(segment.parent)
        continue
      lease = self._worker.claim(run.folder)
      if lease is None:
        continue
      del self._open[name]
      if not self._to_train(segment, run):  # It was finished while we reached for it.
        lease.release()
        self._tell(segment)
        continue
      claimed = Claimed(run, segment, lease, self._trunks.start(segment),
                        stages.before(segment.spec, self._specs),
                        name in self._continued)
      self._handed.add(name)
      try:
        run.clear_failure(lease)
        if name in self._lost and run.state() == runs.DONE:
          run.reopen(lease)
      except leases.LeaseLost:
        self.put_back(claimed)
        continue
      return claimed
    return None

  def _tell(self, segment: Segment) -> None:
    name = segment.name
    if self._settled is not None and name not in self._told and name not in self._handed:
      self._told.add(name)
      self._settled(segment)

  def _to_train(self, segment: Segment, run: Run) -> bool:
    lost = segment.name in self._lost and not trunks.sound(run, segment.last)
    return _wanted(run, self._retry_failed, lost)

  def _ready(self, segment: Segment, run: Run) -> bool:
    """Whether what it continues is there. A segment that will never be ready is taken off the
    queue; a prefix that it needs, and that is not to be had or lost, is put on it."""
    if segment.parent is None or run.kept():
      return True
    start = self._trunks.start(segment)
    if start is not None and start.at >= segment.first:
      return True
    above: str | None = segment.parent
    while above is not None:
      if above not in self._open and Run(self._workdir, above).state() == runs.FAILED:
        del self._open[segment.name]
        return False
      above = self._forest[above].parent
    lost = Run(self._workdir, segment.parent).state() == runs.DONE
    if lost:
      self._lost.add(segment.parent)
    if lost or segment.parent not in self._handed:
      self._open.setdefault(segment.parent, self._forest[segment.parent])
    return False


def drop_ends(workdir: str, worker: leases.Worker, forest: Mapping[str, Segment],
              owned: Collection[str]) -> None:
  """Deletes what prefixes, and those of the `owned` runs that others start from, ended with, where
  all that starts from there is done."""
  from scaling.train import checkpoint  # pylint: disable=import-outside-toplevel
  needed: set[str | None] = set()
  continued = {segment.parent for segment in forest.values()}
  for name, segment in reversed(list(forest.items())):  # Children first.
    run = Run(workdir, name)
    if name in needed or not (segment.shared or run.state() == runs.DONE):
      needed.add(segment.parent)
    elif (segment.shared or (name in continued and name in owned)) and (old := run.checkpoints()):
      lease = worker.claim(run.folder)
      if lease is not None:
        with contextlib.suppress(leases.LeaseLost):
          run.write_checkpoints(lease, [])
          checkpoint.drop(workdir, [entry['folder'] for entry in old], worker.name)
        lease.release()
