"""The training loop: a pack of lanes from its first dispatch to its last curve line.

One turn of the loop: fill idle lanes from the queue, gather the next batches on the host, dispatch
up to K steps, dispatch the evaluations that fall due, and only then fetch what the turn before
computed. The number of steps of a dispatch ends at the nearest event of any lane, so evaluations
and ends fall on dispatch boundaries; the program takes any number up to K without compiling again.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from scaling import accounting
from scaling.data.feed import Feed
from scaling.data.token_store import TokenStore
from scaling.leases import Lease, LeaseLost, Worker
from scaling.optim import schedules
from scaling.segments import Claimed
from scaling.specs import RunSpec
from scaling.train import checkpoint, evaluate
from scaling.train.lanes import Lane, begin
from scaling.train.program import Program, hyper
from scaling.train.state import PackState
from scaling.train.step import DIVERGED

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
  watch: Callable[[Pack], None] = lambda pack: None  # called every turn, for a live table
  lost: Callable[[Claimed], None] = lambda claimed: None  # another worker has taken the run over
  record: Callable[[Claimed, dict[str, Any]], None] = lambda claimed, line: None


@dataclasses.dataclass
class Turn:
  """What one dispatch computes, to be fetched after the next one has been dispatched."""

  lanes: list[tuple[int, Lane, int]]  # place in the pack, lane, steps done after the dispatch
  count: int
  loss: jax.Array  # [K, R]
  norm: jax.Array  # [K, R]
  due: list[tuple[int, Lane, int, tuple[int, ...]]]  # lanes evaluated after it: step and drawn
  nll: dict[str, jax.Array]  # [R, W] by the fingerprint and number of the windows


class Pack:
  """The lanes of one program, refilled from `take` until it has nothing left."""

  def __init__(self, program: Program, options: Options, take: Callable[[], Claimed | None]):
    self.program, self.options, self._take = program, options, take
    self.lanes: list[Lane | None] = [None] * program.lanes
    self.state: PackState | None = None
    self.finished: list[str] = []
    self.failed: list[str] = []
    self.tokens = 0  # trained by this pack in this process
    self._flops_per_token = accounting.counted_flops(
        program.shape.model, program.shape.vocab_size, program.shape.length)
    self.seconds = dict.fromkeys(('compile', 'data', 'train', 'evaluate', 'checkpoint'), 0.0)
    self._pending: list[Turn] = []
    self._saves = 0
    self._saved = time.monotonic()
    self._compiled = program.compilations  # before this pack
    self._asked = -math.inf  # when the queue last had nothing for an idle lane

  @property
  def flops(self) -> float:
    """Counted FLOPs of the tokens trained."""
    return self.tokens * self._flops_per_token

  @property
  def compilations(self) -> int:
    """Executables that this pack had to make."""
    return self.program.compilations - self._compiled

  @property
  def active(self) -> list[tuple[int, Lane]]:
    return [(i, lane) for i, lane in enumerate(self.lanes) if lane is not None]

  def train(self) -> None:
    """Trains until the queue is empty or a stop is asked for; then every lane is saved."""
    try:
      while not self.options.stopping():
        self._fill()
        if self.options.stopping() or not self.active:
          break
        self._finish()  # A run killed between its last checkpoint and its result is at its end.
        if not self.active:
          continue
        self._turn()
        self.options.watch(self)
        if any(lane.step == lane.last for _, lane in self.active):
          self._settle()
          self._finish()
        elif time.monotonic() - self._saved > self.options.checkpoint_seconds:
          self._settle()
          self._save(self.active, keep=2)
      self._settle()
      self._finish()
      self._save(self.active, keep=2)
    except Exception as error:
      if not _out_of_memory(error):
        raise
      for i, lane in self.active:
        self._fail(i, lane, 'memory', lane.step, _one_line(error))
      self.options.say('out of memory: a smaller --pack or a larger --accumulation may fit, once '
                       "the shape's file in programs/ is removed")
    finally:
      for i, _ in self.active:
        self._leave(i)
      self.state = None  # The next pack needs the memory.
      self._pending.clear()

  # -- one turn

  def _fill(self) -> None:
    """Loads claimed runs into idle lanes; asks a queue that had none at most once a second."""
    if time.monotonic() - self._asked < 1.0 and self.active:
      return
    for i, lane in enumerate(self.lanes):
      while lane is None and not self.options.stopping():
        claimed = self._take()
        if claimed is None:
          self._asked = time.monotonic()
          return
        self._admit(i, claimed)
        lane = self.lanes[i]

  def _admit(self, i: int, claimed: Claimed) -> None:
    """Enters a run into lane i; whatever goes wrong, its lease does not stay behind."""
    try:
      self._enter(i, claimed)
    except LeaseLost as error:
      self.lanes[i] = None
      self.options.say(f'{error}; this worker leaves the run to it')
      self.options.lost(claimed)
    except BaseException as error:
      self.lanes[i] = None
      if _out_of_memory(error):
        claimed.run.write_failure(claimed.lease, 'memory', 0, _one_line(error))
        self.failed.append(claimed.run.run_id)
      _release(claimed.lease, self.options.say)
      raise

  def _enter(self, i: int, claimed: Claimed) -> None:
    """Loads a claimed run into lane i, from its newest sound checkpoint or from its init."""
    feed = Feed(claimed.spec, self.options.stores(claimed.spec))
    with self._clock('compile'):
      self.program.compile()
    with self._clock('checkpoint'):
      arrays, position, curve, parent = begin(claimed, feed, self.options.say)
    if arrays is None:
      with self._clock('compile'):  # Of the init, the first time; then it takes no time.
        state = self.program.fresh(claimed.spec.seed)
    else:
      state = PackState(**arrays)
      if parent is None:
        kind = '' if claimed.segment.shared else 'run '
        self.options.say(f'{kind}{claimed.run.run_id}: goes on from step {position.step}')
    with self._clock('data'):
      if self.state is None:
        self.state = self.program.stack([state] * self.program.lanes)
      else:
        self.state = self.program.load(self.state, i, state)
    lane = Lane(claimed, feed, position, curve)
    self.lanes[i] = lane
    lane.run.write_environment(lane.lease, {'lanes': self.program.lanes})
    if parent is not None and not claimed.segment.shared:
      lane.run.write_origin(lane.lease, parent, position.step)
    if curve != lane.run.curve():
      lane.run.write_curve(lane.lease, curve)

  def _turn(self) -> None:
    lanes = self.active
    n = min(self.program.chunk, *(lane.next_event - lane.step for _, lane in lanes))
    assert self.state is not None  # There are lanes, and the first one made it.
    R, K, shape = self.program.lanes, self.program.chunk, self.program.shape
    with self._clock('data'):
      tokens = np.zeros((K, R, shape.batch, shape.length + 1), np.int32)
      lr, active = np.zeros((K, R)), np.zeros(R, bool)
      numbers = {name: np.ones(R) for name in hyper(lanes[0][1].spec)}
      for i, lane in lanes:
        tokens[:n, i], lane.drawn = lane.feed.take(lane.step, n, lane.drawn)
        lr[:n, i] = schedules.learning_rate(
            lane.spec.optim, lane.spec.steps, np.arange(lane.step, lane.step + n))
        active[i] = True
        for name, value in hyper(lane.spec).items():
          numbers[name][i] = value
        lane.step += n
    with self._clock('train'):  # A CPU may compute at once what an accelerator only queues.
      self.state, metrics = self.program.train(self.state, tokens, lr, numbers, active, n)
    due = [(i, lane, lane.step, lane.drawn) for i, lane in lanes
           if lane.step in lane.eval_steps]
    nll = {}
    for _, lane, _, _ in due:
      for name, windows in lane.windows.items():
        key = _windows_key(lane, name)
        if key not in nll:
          with self._clock('evaluate'):
            nll[key] = self.program.evaluate(self.state, windows.tokens_WxL1)
    self.tokens += n * shape.batch * shape.length * len(lanes)
    self._pending.append(Turn([(i, lane, lane.step) for i, lane in lanes], n,
                              metrics['loss'], metrics['grad_norm'], due, nll))
    self._settle(leave=1)

  def _settle(self, leave: int = 0) -> None:
    """Fetches the oldest turns' numbers, all but `leave`, and writes the curve lines they give."""
    while len(self._pending) > leave:
      turn = self._pending.pop(0)
      with self._clock('train'):
        loss, norm = jax.device_get((turn.loss, turn.norm))
      with self._clock('evaluate'):
        nll = jax.device_get(turn.nll)
      for i, lane, _ in turn.lanes:
        if self.lanes[i] is not lane:
          continue
        if _suspicious(loss[:turn.count, i], norm[:turn.count, i], self.program.shape.vocab_size):
          assert self.state is not None
          diverged = int(jax.device_get(self.state.diverged)[i])
          if diverged >= 0:
            self._fail(i, lane, 'diverged', diverged, (
                f'the loss of step {diverged} was not finite, or above {DIVERGED:g} ln V; '
                f'the peak learning rate is {lane.spec.optim.peak_lr:g}'))
            continue
        for value in loss[:turn.count, i]:
          lane.loss_sum += round(float(value) / evaluate.LOSS_UNIT)
        lane.loss_count += turn.count
      for i, lane, step, drawn in turn.due:
        if self.lanes[i] is lane:
          self._write_line(i, lane, step, drawn, nll)

  def _write_line(self, i: int, lane: Lane, step: int, drawn: tuple[int, ...],
                  nll: Mapping[str, np.ndarray]) -> None:
    sums = {name: nll[_windows_key(lane, name)][i] for name in lane.windows}
    if not all(np.isfinite(sum_W).all() for sum_W in sums.values()):
      self._fail(i, lane, 'diverged', step, f'the evaluation after step {step} is not finite; '
                 f'the peak learning rate is {lane.spec.optim.peak_lr:g}')
      return
    metrics = {name: windows.metrics(sums[name]) for name, windows in lane.windows.items()}
    line = lane.line(step, drawn, metrics)
    try:
      lane.run.write_curve(lane.lease, lane.curve)
      lane.run.write_timing(lane.lease, {
          'step': step, 'lanes': self.program.lanes,
          'tokens': (step - lane.timed_step) * lane.spec.data.tokens_per_step,
          'seconds': {name: round(value, 4) for name, value in lane.seconds.items()}})
    except LeaseLost as error:
      self._lose(i, error)
      return
    lane.seconds, lane.timed_step = {}, step
    if not lane.segment.shared:
      self.options.record(lane.claimed, line)

  # -- ends

  def _finish(self) -> None:
    """Writes the results of the lanes that have reached their end, and frees their places."""
    ended = [(i, lane) for i, lane in self.active if lane.step == lane.last]
    if not ended:
      return
    kept = [(i, lane) for i, lane in ended if self.options.keep != 'none' or lane.segment.shared]
    self._save(kept, keep=1 if self.options.keep != 'all' else None)
    for i, lane in ended:
      if self.lanes[i] is not lane:
        continue
      try:
        if lane.segment.shared:
          lane.run.write_end(lane.lease, lane.last, len(lane.curve))
          self._asked = -math.inf  # What continues it can be taken now.
        else:
          lane.run.write_result(lane.lease, lane.curve)
        if self.options.keep == 'none' and not lane.segment.shared:
          old = lane.run.checkpoints()
          lane.run.write_checkpoints(lane.lease, [])
          checkpoint.drop(self.options.workdir, [entry['folder'] for entry in old],
                          self.options.worker.name)
      except LeaseLost as error:
        self._lose(i, error)
        continue
      if not lane.segment.shared:
        self.finished.append(lane.run.run_id)
      self._leave(i)

  def _fail(self, i: int, lane: Lane, reason: str, step: int, message: str) -> None:
    try:
      lane.run.write_failure(lane.lease, reason, step, message)
    except LeaseLost as error:
      self._lose(i, error)
      return
    self.options.say(f'run {lane.run.run_id}: {reason}: {message}')
    self.failed.append(lane.run.run_id)
    self._leave(i)

  def _lose(self, i: int, error: LeaseLost) -> None:
    lane, self.lanes[i] = self.lanes[i], None
    self.options.say(f'{error}; this worker leaves the run to it')
    if lane is not None:
      self.options.lost(lane.claimed)

  def _leave(self, i: int) -> None:
    lane = self.lanes[i]
    self.lanes[i] = None
    if lane is not None:
      _release(lane.lease, self.options.say)

  # -- checkpoints

  def _save(self, lanes: list[tuple[int, Lane]], keep: int | None) -> None:
    """Saves lanes in one checkpoint; each then lists its newest `keep` (None: all)."""
    held = []
    for i, lane in lanes:
      if not lane.lease.held:
        self._lose(i, LeaseLost(f'{lane.lease.path}: taken over by another worker'))
      elif lane.step > 0:
        held.append((i, lane))
    if not held:
      return
    if self.options.keep == 'all':
      keep = None
    with self._clock('checkpoint'):
      state: Any = self.state
      if len(held) < self.program.lanes:
        places = [i for i, _ in held]
        state = jax.tree.map(lambda leaf: leaf[places], jax.device_get(state))
      self._saves += 1
      folder = checkpoint.save(
          self.options.workdir, f'{self.options.worker.name}-{self._saves}', state,
          [(lane.run.run_id, lane.position) for _, lane in held],
          {'lanes': self.program.lanes})
      dropped: list[str] = []
      for i, lane in held:
        old = lane.run.checkpoints()
        entries = [e for e in old if e['step'] < lane.step]
        entries.append({'step': lane.step, 'folder': folder})
        kept = entries if keep is None else entries[-keep:]
        try:
          lane.run.write_checkpoints(lane.lease, kept)
        except LeaseLost as error:
          self._lose(i, error)
        dropped += [e['folder'] for e in old]
      checkpoint.drop(self.options.workdir, sorted({*dropped, folder}),
                      self.options.worker.name)
    self._saved = time.monotonic()

  def _clock(self, name: str) -> _Clock:
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


def _one_line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:300]


def _out_of_memory(error: BaseException) -> bool:
  return isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error)


def _windows_key(lane: Lane, domain: str) -> str:
  """Names the windows of a lane's domain: lanes that share them are evaluated at once."""
  index = lane.feed.names.index(domain)
  return f'{lane.feed.stores[index].fingerprint}/{lane.spec.evaluation.windows}'


def _suspicious(loss: np.ndarray, norm: np.ndarray, vocab_size: int) -> bool:
  """Whether a lane may have diverged (its state knows): a first, cheap look at its numbers."""
  return not (np.isfinite(loss).all() and np.isfinite(norm).all()
              and loss.max() <= 0.99 * DIVERGED * np.log(vocab_size))
