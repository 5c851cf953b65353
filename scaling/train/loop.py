"""The training loop: a pack of lanes from its first dispatch to its last curve line.

One turn of the loop: fill idle lanes from the queue, gather the next batches, dispatch up to K
steps, dispatch the evaluations that fall due, and only then fetch what the turn before computed.
The number of steps of a dispatch ends at the nearest event of any lane, so evaluations and ends
fall on dispatch boundaries; the program takes any number up to K without compiling again.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from scaling import pruning
from scaling.leases import LeaseLost
from scaling.optim import schedules
from scaling.segments import Claimed
from scaling.train import checkpoint, evaluate
from scaling.train.lanes import Lane
from scaling.train.masks import Kind
from scaling.train.pack import Pack, one_line, out_of_memory
from scaling.train.shape import hyper
from scaling.train.step import DIVERGED


@dataclasses.dataclass
class Turn:
  """What one dispatch computes, to be fetched after the next one has been dispatched."""

  lanes: list[tuple[int, Lane, int]]  # place in the pack, lane, steps done after the dispatch
  count: int
  loss: jax.Array  # [K, R]
  norm: jax.Array  # [K, R]
  due: list[tuple[int, Lane, int, tuple[int, ...]]]  # lanes evaluated after it: step and drawn
  nll: dict[str, jax.Array]  # [R, W] by the fingerprint and number of the windows


class Loop:
  """Trains a pack, refilled from `take` until it has nothing left."""

  def __init__(self, pack: Pack, take: Callable[[], Claimed | None]):
    self.pack, self._take = pack, take
    self._pending: list[Turn] = []
    self._asked = -math.inf  # when the queue last had nothing for an idle lane

  def train(self) -> None:
    """Trains until the queue is empty or a stop is asked for; then every lane is saved."""
    pack, options = self.pack, self.pack.options
    try:
      while not options.stopping():
        self._fill()
        if options.stopping() or not pack.active:
          break
        self._finish()  # A run killed between its last checkpoint and its result is at its end.
        if not pack.active:
          continue
        self._turn()
        options.watch(pack)
        if any(lane.step == lane.last for _, lane in pack.active):
          self._settle()
          self._finish()
        elif time.monotonic() - pack.saved > options.checkpoint_seconds:
          self._settle()
          pack.save(pack.active, keep=2)
      self._settle()
      self._finish()
      pack.save(pack.active, keep=2)
    except Exception as error:
      if not out_of_memory(error):
        raise
      for i, lane in pack.active:
        pack.fail(i, lane, 'memory', lane.step, one_line(error))
      options.say('out of memory: a smaller --pack or a larger --accumulation may fit, once '
                  "the shape's file in programs/ is removed")
    finally:
      for i, _ in pack.active:
        pack.leave(i)
      pack.state = None  # The next pack needs the memory.
      checkpoint.forget()
      self._pending.clear()

  def _finish(self) -> None:
    if self.pack.finish():
      self._asked = -math.inf  # What starts from its end can be taken now.

  def _fill(self) -> None:
    """Loads claimed runs into idle lanes; asks a queue that had none at most once a second."""
    if time.monotonic() - self._asked < 1.0 and self.pack.active:
      return
    for i, lane in enumerate(self.pack.lanes):
      while lane is None and not self.pack.options.stopping():
        claimed = self._take()
        if claimed is None:
          self._asked = time.monotonic()
          return
        self.pack.admit(i, claimed)
        lane = self.pack.lanes[i]

  def _turn(self) -> None:
    pack, program = self.pack, self.pack.program
    lanes = pack.active
    n = min(program.chunk, *(lane.next_event - lane.step for _, lane in lanes))
    assert pack.state is not None  # There are lanes, and the first one made it.
    checkpoint.forget()
    self._prune(lanes)
    R, K, shape = program.lanes, program.chunk, program.shape
    with pack.clock('data'):
      tokens = pack.options.batches.gather(program, lanes, n)
      lr, active = np.zeros((K, R)), np.zeros(R, bool)
      numbers = {name: np.ones(R) for name in hyper(lanes[0][1].spec)}
      for i, lane in lanes:
        lr[:n, i] = schedules.of_run(lane.spec, np.arange(lane.step, lane.step + n))
        active[i] = True
        for name, value in hyper(lane.spec).items():
          numbers[name][i] = value
        lane.step += n
    with pack.clock('train'):  # A CPU may compute at once what an accelerator only queues.
      pack.state, metrics = program.train(pack.state, tokens, lr, numbers, active, n)
    due = [(i, lane, lane.step, lane.drawn) for i, lane in lanes
           if lane.step in lane.eval_steps]
    nll = {}
    for _, lane, step, _ in due:
      for windows in lane.windows(step).values():
        if windows.key not in nll:
          with pack.clock('evaluate'):
            nll[windows.key] = program.evaluate(pack.state, windows.tokens_WxL1)
    pack.tokens += n * shape.batch * shape.length * len(lanes)
    self._pending.append(Turn([(i, lane, lane.step) for i, lane in lanes], n,
                              metrics['loss'], metrics['grad_norm'], due, nll))
    self._settle(leave=1)

  def _prune(self, lanes: list[tuple[int, Lane]]) -> None:
    """Prunes the lanes that are due: after the evaluation of a step, before its update."""
    pack, R = self.pack, self.pack.program.lanes
    due = [(i, lane, lane.prunings[lane.step]) for i, lane in lanes if lane.step in lane.prunings]
    for kind in {Kind.of(lane.spec.sparsity): None for _, lane, _ in due}:
      chosen, seeds, keep = np.zeros(R, bool), np.zeros(R, np.uint32), {}
      for i, lane, density in due:
        if Kind.of(lane.spec.sparsity) == kind:
          chosen[i], seeds[i] = True, lane.spec.seed
          keep[i] = pruning.keep(lane.spec.sparsity, lane.spec.model, density)
      assert pack.state is not None
      none = (0,) * max(map(len, keep.values()))
      with pack.clock('train'):  # The first time it compiles, for a second or so.
        pack.state = pack.program.prune(
            pack.state, kind, chosen, np.array([keep.get(i, none) for i in range(R)]), seeds)

  def _settle(self, leave: int = 0) -> None:
    """Fetches the oldest turns' numbers, all but `leave`, and writes the curve lines they give."""
    pack = self.pack
    while len(self._pending) > leave:
      turn = self._pending.pop(0)
      with pack.clock('train'):
        loss, norm = jax.device_get((turn.loss, turn.norm))
      with pack.clock('evaluate'):
        nll = jax.device_get(turn.nll)
      for i, lane, _ in turn.lanes:
        if pack.lanes[i] is not lane:
          continue
        if _suspicious(loss[:turn.count, i], norm[:turn.count, i], pack.program.shape.vocab_size):
          assert pack.state is not None
          diverged = int(pack.program.diverged(pack.state)[i])
          if diverged >= 0:
            diverged -= lane.counted
            pack.fail(i, lane, 'diverged', diverged, (
                f'the loss of step {diverged} was not finite, or above {DIVERGED:g} ln V; '
                f'the peak learning rate is {lane.spec.optim.peak_lr:g}'))
            continue
        for value in loss[:turn.count, i]:
          lane.loss_sum += round(float(value) / evaluate.LOSS_UNIT)
        lane.loss_count += turn.count
      for i, lane, step, drawn in turn.due:
        if pack.lanes[i] is lane:
          self._write_line(i, lane, step, drawn, nll)

  def _write_line(self, i: int, lane: Lane, step: int, drawn: tuple[int, ...],
                  nll: Mapping[str, np.ndarray]) -> None:
    windows = lane.windows(step)
    sums = {name: nll[those.key][i] for name, those in windows.items()}
    if not all(np.isfinite(sum_W).all() for sum_W in sums.values()):
      self.pack.fail(i, lane, 'diverged', step, f'the evaluation after step {step} is not finite; '
                 f'the peak learning rate is {lane.spec.optim.peak_lr:g}')
      return
    metrics = {name: those.metrics(sums[name]) for name, those in windows.items()}
    line = lane.line(step, drawn, metrics)
    try:
      lane.run.write_curve(lane.lease, lane.curve)
      lane.run.write_timing(lane.lease, {
          'step': step, 'lanes': self.pack.program.lanes,
          'tokens': (step - lane.timed_step) * lane.spec.data.tokens_per_step,
          'seconds': {name: round(value, 4) for name, value in lane.seconds.items()}})
    except LeaseLost as error:
      self.pack.lose(i, error)
      return
    lane.seconds, lane.timed_step = {}, step
    if not lane.segment.shared:
      self.pack.options.record(lane.claimed, line)


def _suspicious(loss: np.ndarray, norm: np.ndarray, vocab_size: int) -> bool:
  """Whether a lane may have diverged (its state knows): a first, cheap look at its numbers."""
  return not (np.isfinite(loss).all() and np.isfinite(norm).all()
              and loss.max() <= 0.99 * DIVERGED * np.log(vocab_size))
