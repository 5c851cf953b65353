"""A pack: the lanes of one program, how segments enter and leave them, and their checkpoints."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from scaling import accounting
from scaling.data.feed import Feed
from scaling.data.token_store import TokenStore
from scaling.leases import Lease, LeaseLost, Worker
from scaling.segments import Claimed, Unsound
from scaling.specs import RunSpec
from scaling.train import checkpoint
from scaling.train.batches import Batches
from scaling.train.lanes import Lane, begin
from scaling.train.program import Program
from scaling.train.state import PackState

KEEP = ('final', 'all', 'none')


@dataclasses.dataclass
class Options:
  """What a loop needs beside its program; none of it changes a curve."""

  workdir: str
  worker: Worker
  stores: Callable[[RunSpec], Mapping[str, TokenStore]]
  stopping: Callable[[], bool] = lambda: False
  say: Callable[[str], None] = print
  keep: str = 'final'
  checkpoint_seconds: float = 60.0
  batches: Batches = dataclasses.field(default_factory=Batches)
  watch: Callable[[Pack], None] = lambda pack: None  # called every turn, for a live table
  lost: Callable[[Claimed], None] = lambda claimed: None  # another worker has taken the run over
  begin: Callable[[Claimed, list[dict[str, Any]]], None] = lambda claimed, lines: None
  record: Callable[[Claimed, dict[str, Any]], None] = lambda claimed, line: None


class Pack:
  """The lanes of one program and their state; a loop (scaling/train/loop.py) trains them."""

  def __init__(self, program: Program, options: Options):
    self.program, self.options = program, options
    self.lanes: list[Lane | None] = [None] * program.lanes
    self.state: PackState | None = None
    self.finished: list[str] = []
    self.failed: list[str] = []
    self.tokens = 0  # trained by this pack in this process
    self._flops_per_token = accounting.counted_flops(
        program.shape.model, program.shape.vocab_size, program.shape.length)
    self.seconds = dict.fromkeys(('compile', 'data', 'train', 'evaluate', 'checkpoint'), 0.0)
    self.saved = time.monotonic()  # when it was last saved

  @property
  def flops(self) -> float:
    """Counted FLOPs of the tokens trained."""
    return self.tokens * self._flops_per_token

  @property
  def active(self) -> list[tuple[int, Lane]]:
    return [(i, lane) for i, lane in enumerate(self.lanes) if lane is not None]

  def admit(self, i: int, claimed: Claimed) -> None:
    """Enters a run into lane i; whatever goes wrong, its lease does not stay behind."""
    try:
      self._enter(i, claimed)
    except LeaseLost as error:
      self.lanes[i] = None
      self.options.say(f'{error}; this worker leaves the run to it')
      self.options.lost(claimed)
    except Unsound as error:
      self.lanes[i] = None
      self.options.say(str(error))
      _release(claimed.lease, self.options.say)
      self.options.lost(claimed)
    except BaseException as error:
      self.lanes[i] = None
      if out_of_memory(error):
        claimed.run.write_failure(claimed.lease, 'memory', 0, one_line(error))
        self.failed.append(claimed.run.run_id)
      _release(claimed.lease, self.options.say)
      raise

  def _enter(self, i: int, claimed: Claimed) -> None:
    """Loads a claimed run into lane i, from its newest sound checkpoint or from its init."""
    feed = Feed(claimed.spec, self.options.stores(claimed.spec))
    with self.clock('compile'):
      self.program.compile()
    with self.clock('checkpoint'):
      arrays, position, curve, trunk = begin(claimed, feed, self.options.say)
    counted = 0
    if arrays is None:
      with self.clock('compile'):  # Of the init, the first time; then it takes no time.
        state = self.program.fresh(claimed.spec.seed)
    else:
      state = self.program.adopt(arrays)
      counted = int(arrays['count']) - position.step
      if trunk is None:
        kind = '' if claimed.segment.shared else 'run '
        self.options.say(f'{kind}{claimed.run.run_id}: goes on from step {position.step}')
    with self.clock('data'):
      if self.state is None:
        self.state = self.program.stack([state] * self.program.lanes)
      else:
        self.state = self.program.load(self.state, i, state)
    lane = Lane(claimed, feed, position, curve, counted)
    self.lanes[i] = lane
    lane.run.write_environment(lane.lease, {'lanes': self.program.lanes})
    if trunk is not None and not trunk.staged and not claimed.segment.shared:
      lane.run.write_origin(lane.lease, trunk.name, position.step)
    if curve != lane.run.curve():
      lane.run.write_curve(lane.lease, curve)
    if not claimed.segment.shared:
      self.options.begin(claimed, curve)

  def finish(self) -> bool:
    """Writes the results of the lanes that have reached their end, and frees their places.

    Returns whether one ended that others start from, so that there may be more to train.
    """
    more = False
    ended = [(i, lane) for i, lane in self.active if lane.step == lane.last]
    if not ended:
      return False
    kept = [(i, lane) for i, lane in ended if self.options.keep != 'none' or lane.claimed.continued]
    self.save(kept, keep=1 if self.options.keep != 'all' else None)
    for i, lane in ended:
      if self.lanes[i] is not lane:
        continue
      try:
        if lane.segment.shared:
          lane.run.write_end(lane.lease, lane.last, len(lane.curve))
        else:
          lane.run.write_result(lane.lease, lane.curve)
        if self.options.keep == 'none' and not lane.claimed.continued:
          old = lane.run.checkpoints()
          lane.run.write_checkpoints(lane.lease, [])
          checkpoint.drop(self.options.workdir, [entry['folder'] for entry in old],
                          self.options.worker.name)
      except LeaseLost as error:
        self.lose(i, error)
        continue
      more = more or lane.claimed.continued
      if not lane.segment.shared:
        self.finished.append(lane.run.run_id)
      self.leave(i)
    return more

  def fail(self, i: int, lane: Lane, reason: str, step: int, message: str) -> None:
    try:
      lane.run.write_failure(lane.lease, reason, step, message)
    except LeaseLost as error:
      self.lose(i, error)
      return
    self.options.say(f'run {lane.run.run_id}: {reason}: {message}')
    self.failed.append(lane.run.run_id)
    self.leave(i)

  def lose(self, i: int, error: LeaseLost) -> None:
    lane, self.lanes[i] = self.lanes[i], None
    self.options.say(f'{error}; this worker leaves the run to it')
    if lane is not None:
      self.options.lost(lane.claimed)

  def leave(self, i: int) -> None:
    lane = self.lanes[i]
    self.lanes[i] = None
    if lane is not None:
      _release(lane.lease, self.options.say)

  def save(self, lanes: list[tuple[int, Lane]], keep: int | None) -> None:
    """Saves lanes in one checkpoint; each then lists its newest `keep` (None: all)."""
    held = []
    for i, lane in lanes:
      if not lane.lease.held:
        self.lose(i, LeaseLost(f'{lane.lease.path}: taken over by another worker'))
      elif lane.step > 0:
        held.append((i, lane))
    if not held:
      return
    if self.options.keep == 'all':
      keep = None
    with self.clock('checkpoint'):
      assert self.state is not None  # A lane that has done a step.
      state, places = self.program.selected(self.state, [i for i, _ in held])
      folder = checkpoint.save(
          self.options.workdir, self.options.worker.fresh_name(), state,
          [(lane.run.run_id, lane.position) for _, lane in held],
          {'lanes': self.program.lanes}, places, self.program.write)
      dropped: list[str] = []
      for i, lane in held:
        old = lane.run.checkpoints()
        entries = [e for e in old if e['step'] < lane.step]
        entries.append({'step': lane.step, 'folder': folder})
        kept = entries if keep is None else entries[-keep:]
        try:
          lane.run.write_checkpoints(lane.lease, kept)
        except LeaseLost as error:
          self.lose(i, error)
        dropped += [e['folder'] for e in old]
      checkpoint.drop(self.options.workdir, sorted({*dropped, folder}),
                      self.options.worker.name)
    self.saved = time.monotonic()

  def clock(self, name: str) -> _Clock:
    return _Clock(self, name)


class _Clock:
  """Adds the time spent inside to the pack's and, in equal parts, to its lanes' seconds."""

  def __init__(self, pack: Pack, name: str):
    self._pack, self._name = pack, name

  def __enter__(self) -> None:
    self._begun = time.perf_counter()

  def __exit__(self, *error: object) -> None:
    spent = time.perf_counter() - self._begun
    self._pack.seconds[self._name] += spent
    lanes = self._pack.active
    for _, lane in lanes:
      lane.seconds[self._name] = lane.seconds.get(self._name, 0.0) + spent / len(lanes)


def _release(lease: Lease, say: Callable[[str], None]) -> None:
  try:
    lease.release()
  except OSError as error:  # A full disk; the lease of a dead worker is taken over all the same.
    say(f'{lease.path}: cannot be released: {error}')


def one_line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:300]


def out_of_memory(error: BaseException) -> bool:
  return isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error)
