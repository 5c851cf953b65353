"""One lane of a pack: the segment it trains, its data, where it stands, and its curve so far.

A prefix is a lane like any other, but for its curve: a line keeps the data counters, the sum of
train losses since the run's first update, and what each domain's windows gave. From these `own`
makes the lines of every run that continues it, equal to the byte to those of a run trained alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scaling.data.feed import Feed
from scaling.runs import Run
from scaling.segments import Claimed, Unsound
from scaling.specs import RunSpec
from scaling.train import checkpoint, evaluate
from scaling.train.checkpoint import Position


class Lane:
  """A claimed segment in a pack, from `position` on."""

  def __init__(self, claimed: Claimed, feed: Feed, position: Position,
               curve: list[dict[str, Any]]):
    self.run, self.spec, self.lease = claimed.run, claimed.spec, claimed.lease
    self.claimed, self.feed, self.segment = claimed, feed, claimed.segment
    self.first, self.last = position.step, claimed.segment.last
    self.step, self.drawn = position.step, position.drawn
    self.loss_sum, self.loss_count = position.loss_sum, position.loss_count
    self.curve = curve
    self.eval_steps = frozenset(claimed.segment.eval_steps)
    self.windows = {name: evaluate.Windows(feed, name) for name in feed.names}
    self.seconds: dict[str, float] = {}  # since the last curve line, by what they went into
    self.timed_step = position.step

  @property
  def next_event(self) -> int:
    """The next step at which it is evaluated or ends."""
    return min((s for s in self.eval_steps if s > self.step), default=self.last)

  @property
  def position(self) -> Position:
    return Position(self.step, self.drawn, self.loss_sum, self.loss_count)

  def line(self, step: int, drawn: tuple[int, ...], metrics: Mapping[str, Mapping[str, float]],
           ) -> dict[str, Any]:
    """The curve line of an evaluation after `step`, added to the curve."""
    if self.segment.shared:
      line = {'step': step, 'drawn': list(drawn), 'loss_sum': self.loss_sum,
              'loss_count': self.loss_count, 'metrics': metrics}
    else:
      line = evaluate.curve_line(self.spec, self.feed, step, drawn, self.loss_sum,
                                 self.loss_count, metrics)
      self.loss_sum = self.loss_count = 0
    self.curve.append(line)
    return line


def begin(claimed: Claimed, feed: Feed, say: Callable[[str], None],
          ) -> tuple[Any, Position, list[dict[str, Any]], str | None]:
  """Where a segment starts: arrays (None: the init), position, its curve up to there, and whose.

  Its own newest sound checkpoint comes first, then the end of a prefix, then the init. The last of
  the four names the prefix, None for a checkpoint of its own. Raises Unsound, having noted it, when
  the prefix turns out to be damaged.
  """
  own = claimed.run.curve()
  gap = first_gap(claimed.segment.eval_steps, own)
  found = checkpoint.newest(claimed.run, say, before=gap)
  if found is not None:
    position = found[1]
    return found[0], position, [line for line in own if line['step'] <= position.step], None
  if claimed.trunk is None:
    return None, Position(0, feed.start()), [], None
  trunk, run = claimed.trunk, Run(claimed.run.workdir, claimed.trunk.name)
  past = [s for s in claimed.segment.eval_steps if s <= trunk.last]
  shared = run.curve()
  found = checkpoint.newest(run, say, before=first_gap(past, shared))
  if found is None or found[1].step != trunk.last:
    run.note_damage()
    raise Unsound(f'{trunk.name}: no sound curve and checkpoint at its end; what continues it '
                  'waits until it is made again')
  if claimed.segment.shared:
    return found[0], found[1], shared, trunk.name  # Other runs may need lines that these do not.
  lines, position = own_lines(claimed.spec, feed, shared, found[1])
  return found[0], position, lines, trunk.name


def own_lines(spec: RunSpec, feed: Feed, shared: list[dict[str, Any]], end: Position,
              ) -> tuple[list[dict[str, Any]], Position]:
  """A run's curve lines up to the end of a prefix, and its position there.

  Sums of train losses are exact integers, so the difference of two is what the run would have
  summed itself between these evaluations.
  """
  lines, total, count = [], 0, 0
  wanted = set(spec.eval_steps)
  for line in shared:
    if line['step'] not in wanted or line['step'] > end.step:
      continue
    lines.append(evaluate.curve_line(
        spec, feed, line['step'], tuple(line['drawn']), line['loss_sum'] - total,
        line['loss_count'] - count, line['metrics']))
    total, count = line['loss_sum'], line['loss_count']
  return lines, Position(end.step, end.drawn, end.loss_sum - total, end.loss_count - count)


def first_gap(eval_steps: Any, lines: list[dict[str, Any]]) -> int | None:
  """The last step before the first evaluation that a curve lacks; None when it lacks none.

  A curve line is written before any checkpoint behind it, so only a foreign hand makes a gap; the
  run then goes back to before it.
  """
  there = {line['step'] for line in lines}
  return next((s - 1 for s in sorted(eval_steps) if s not in there), None)
