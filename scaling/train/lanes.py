"""One lane of a pack: the segment it trains, its data, where it stands, and its curve so far.

A prefix is a lane like any other, but for its curve: a line keeps the data counters, the sum of
train losses since the run's first update, and what each domain's windows gave. From these `own`
makes the lines of every run that continues it, equal to the byte to those of a run trained alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from scaling import pruning
from scaling.data.feed import Feed
from scaling.runs import Run
from scaling.segments import Claimed, Unsound
from scaling.specs import RunSpec
from scaling.train import checkpoint, evaluate
from scaling.train.checkpoint import Position
from scaling.trunks import Trunk


class Lane:
  """A claimed segment in a pack, from `position` on."""

  def __init__(self, claimed: Claimed, feed: Feed, position: Position,
               curve: list[dict[str, Any]], counted: int = 0):
    """`counted`: updates of the optimizer's state before the run's first, of its parents."""
    self.counted = counted
    self.run, self.spec, self.lease = claimed.run, claimed.spec, claimed.lease
    self.claimed, self.feed = claimed, feed.after(position.start)
    self.segment, self.start = claimed.segment, position.start
    self.first, self.last = position.step, claimed.segment.last
    self.step, self.drawn = position.step, position.drawn
    self.loss_sum, self.loss_count = position.loss_sum, position.loss_count
    self.curve = curve
    self.eval_steps = frozenset(claimed.segment.eval_steps)
    self.prunings = dict(pruning.events(self.spec.sparsity, self.spec.steps))  # density by step
    evaluation = self.spec.evaluation
    self._windows = {name: evaluate.Windows(feed, name, evaluation.windows,
                                            characters=evaluation.characters)
                     for name in feed.names}
    self._final = (self._windows if evaluation.final_windows is None or self.segment.shared else
                   {name: evaluate.Windows(feed, name, evaluation.final_windows, evaluation.windows)
                    for name in feed.names})
    self.seconds: dict[str, float] = {}  # since the last curve line, by what they went into
    self.timed_step = position.step

  @property
  def next_event(self) -> int:
    """The next step at which it is evaluated, pruned, or ends."""
    return min((s for s in (*self.eval_steps, *self.prunings, self.last) if s > self.step),
               default=self.last)

  def windows(self, step: int) -> dict[str, evaluate.Windows]:
    """What it is evaluated on after `step`, by domain."""
    return self._final if step == self.spec.steps else self._windows

  @property
  def position(self) -> Position:
    return Position(self.step, self.drawn, self.loss_sum, self.loss_count, self.start)

  def line(self, step: int, drawn: tuple[int, ...], metrics: Mapping[str, Mapping[str, float]],
           ) -> dict[str, Any]:
    """The curve line of an evaluation after `step`, added to the curve."""
    if self.segment.shared:
      line = {'step': step, 'drawn': list(drawn), 'loss_sum': self.loss_sum,
              'loss_count': self.loss_count, 'metrics': metrics}
    else:
      line = evaluate.curve_line(self.spec, self.feed, step, drawn, self.loss_sum,
                                 self.loss_count, metrics, self.claimed.before)
      self.loss_sum = self.loss_count = 0
    self.curve.append(line)
    return line


def begin(claimed: Claimed, feed: Feed, say: Callable[[str], None],
          ) -> tuple[Any, Position, list[dict[str, Any]], Trunk | None]:
  """Where a segment starts: arrays (None: the init), position, its curve up to there, and whose.

  Its own newest sound checkpoint comes first, then the end of a prefix, then that of the run it is
  initialised from, then the init of a run from scratch. The last of the four is the prefix or that
  run, None for a checkpoint of its own. Raises Unsound, having noted it, when what it needs turns
  out to be damaged.
  """
  own = claimed.run.curve()
  gap = first_gap(claimed.segment.eval_steps, own)
  found = checkpoint.newest(claimed.run, say, before=gap)
  if found is not None:
    position = found[1]
    return found[0], position, [line for line in own if line['step'] <= position.step], None
  if claimed.trunk is None and claimed.spec.init.run:
    # It was handed out on the word of its own checkpoints, or its parent was lost since.
    claimed.run.write_checkpoints(claimed.lease, [])
    raise Unsound(f'{claimed.run.run_id}: no sound checkpoint of its own, and what it starts from '
                  'is gone; it waits until that is made again')
  if claimed.trunk is None:
    return None, Position(0, feed.start()), [], None
  trunk, run = claimed.trunk, Run(claimed.run.workdir, claimed.trunk.name)
  past = [s for s in claimed.segment.eval_steps if s <= trunk.at]
  shared = run.curve()
  found = checkpoint.newest(run, say, before=first_gap(past, shared))
  if found is None or found[1].step != trunk.last:
    run.note_damage()
    raise Unsound(f'{trunk.name}: no sound curve and checkpoint at its end; what continues it '
                  'waits until it is made again')
  if trunk.staged:
    return *_staged(claimed.spec, feed, trunk, *found), [], trunk
  if claimed.segment.shared:
    return found[0], found[1], shared, trunk  # Other runs may need lines that these do not.
  lines, position = own_lines(claimed, feed, shared, found[1])
  return found[0], position, lines, trunk


def _staged(spec: RunSpec, feed: Feed, trunk: Trunk, arrays: dict[str, Any], end: Position,
            ) -> tuple[dict[str, Any], Position]:
  """Arrays and position of a run before its first update, from those where its parent ended."""
  if not spec.init.optimizer:
    zeros = {name: jax.tree.map(np.zeros_like, arrays[name]) for name in ('mu', 'nu', 'count')}
    arrays = {**arrays, **zeros}
  drawn = dict(zip(trunk.domains, end.drawn, strict=True)) if spec.init.data else {}
  start = tuple(drawn.get(name, 0) for name in feed.names)
  return arrays, Position(0, start, start=start)


def own_lines(claimed: Claimed, feed: Feed, shared: list[dict[str, Any]], end: Position,
              ) -> tuple[list[dict[str, Any]], Position]:
  """A run's curve lines up to the end of a prefix, and its position there.

  Sums of train losses are exact integers, so the difference of two is what the run would have
  summed itself between these evaluations.
  """
  lines, total, count = [], 0, 0
  spec, feed = claimed.spec, feed.after(end.start)
  wanted = set(spec.eval_steps)
  for line in shared:
    if line['step'] not in wanted or line['step'] > end.step:
      continue
    lines.append(evaluate.curve_line(
        spec, feed, line['step'], tuple(line['drawn']), line['loss_sum'] - total,
        line['loss_count'] - count, line['metrics'], claimed.before))
    total, count = line['loss_sum'], line['loss_count']
  return lines, dataclasses.replace(
      end, loss_sum=end.loss_sum - total, loss_count=end.loss_count - count)


def first_gap(eval_steps: Any, lines: list[dict[str, Any]]) -> int | None:
  """The last step before the first evaluation that a curve lacks; None when it lacks none.

  A curve line is written before any checkpoint behind it, so only a foreign hand makes a gap; the
  run then goes back to before it.
  """
  there = {line['step'] for line in lines}
  return next((s - 1 for s in sorted(eval_steps) if s not in there), None)
