"""What is left to train: runs as segments, and the queue that hands them to packs.

A segment is a stretch of one run, from the step where it can start (its newest checkpoint, or its
init) to its end. Fresh and resumed runs differ in nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from scaling import leases, runs
from scaling.runs import Run
from scaling.specs import RunSpec


@dataclasses.dataclass(frozen=True)
class Segment:
  """Steps first..last of a run; `origin` says where its arrays come from."""

  run_id: str
  spec: RunSpec
  first: int  # updates done before it
  last: int  # updates done after it
  origin: str  # 'init' or 'checkpoint'

  @property
  def tokens(self) -> int:
    return (self.last - self.first) * self.spec.data.tokens_per_step


def remaining(workdir: str, specs_by_id: Iterable[tuple[str, RunSpec]],
              retry_failed: bool = False) -> list[Segment]:
  """The segments that a sweep would train now: nothing for runs that are done or have failed.

  A failure that another attempt may cure (memory, disk, preemption) is tried again; any other only
  with `retry_failed`.
  """
  segments = []
  for run_id, spec in specs_by_id:
    run = Run(workdir, run_id)
    if not _wanted(run, retry_failed):
      continue
    kept = run.checkpoints()
    first = kept[-1]['step'] if kept else 0
    segments.append(Segment(run_id, spec, first, spec.steps, 'checkpoint' if kept else 'init'))
  return segments


def _wanted(run: Run, retry_failed: bool) -> bool:
  state = run.state()
  if state == runs.DONE:
    return False
  if state == runs.FAILED:
    return retry_failed or (run.failure() or {}).get('reason') in runs.RETRIED
  return True


@dataclasses.dataclass
class Claimed:
  """A run that this worker may train and write to."""

  run: Run
  spec: RunSpec
  lease: leases.Lease


class Queue:
  """Runs of one study, handed out under leases; each at most once a sweep."""

  def __init__(self, workdir: str, worker: leases.Worker,
               specs_by_id: Sequence[tuple[str, RunSpec]], retry_failed: bool = False):
    self._workdir, self._worker, self._retry_failed = workdir, worker, retry_failed
    self._open = dict(specs_by_id)

  def __len__(self) -> int:
    return len(self._open)

  def put_back(self, claimed: Claimed) -> None:
    """A run whose lease was lost: wait for its new worker, or take it over again."""
    self._open[claimed.run.run_id] = claimed.spec

  def take(self, wanted: Callable[[RunSpec], bool] = lambda spec: True) -> Claimed | None:
    """The next run with a `wanted` spec that can be claimed; None when there is none now."""
    for run_id, spec in list(self._open.items()):
      if not wanted(spec):
        continue
      run = Run(self._workdir, run_id)
      if not _wanted(run, self._retry_failed):
        del self._open[run_id]
        continue
      lease = self._worker.claim(run.folder)
      if lease is None:
        continue
      del self._open[run_id]
      if not _wanted(run, self._retry_failed):  # It was finished while we reached for it.
        lease.release()
        continue
      claimed = Claimed(run, spec, lease)
      try:
        run.clear_failure(lease)
      except leases.LeaseLost:
        self.put_back(claimed)
        continue
      return claimed
    return None
