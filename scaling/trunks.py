"""Trunks: the finished prefixes of a workdir, whichever study made them, as starts for others.

What a prefix ends with depends on what acts before its end alone. So a segment can start at the
end of any prefix whose history is its own up to there, and whose curve has the evaluations that the
segment needs before there: a study that gains a budget goes on from what was trained for others.

The first segment of a later stage starts from the end of another run, or of a prefix of it: a
staged trunk.

A trunk is sound when it lists a checkpoint at its end that is there and that nobody has found
damaged. Only who restores it looks at the bytes, and notes damage (`Run.note_damage`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping

from scaling import files, prefixes, runs
from scaling.data import mixture
from scaling.prefixes import Segment
from scaling.runs import Run


@dataclasses.dataclass(frozen=True)
class Trunk:
  """Where a segment can start: a prefix's end or, `staged`, that of what it is initialised from.

  domains: of a staged trunk, those that its data counters are of, in their order.
  """

  name: str
  last: int
  staged: bool = False
  domains: tuple[str, ...] = ()

  @property
  def at(self) -> int:
    """The updates of the segment's own run that are done there."""
    return 0 if self.staged else self.last


class Trunks:
  """The prefixes of a study and those that lie in its workdir already."""

  def __init__(self, workdir: str, forest: Mapping[str, Segment],
               there: Collection[str] | None = None):
    """there: all that has a folder, if that has been looked up; then only this is looked at."""
    self._workdir, self._forest, self._there = workdir, forest, there
    self._known: dict[str, list[Trunk]] = {}  # by segment, furthest first

  def start(self, segment: Segment) -> Trunk | None:
    """The sound trunk nearest to the end of a segment that it can start from."""
    there = self._there
    if there is not None and not there:
      return None
    return next((trunk for trunk in self._fitting(segment)
                 if (there is None or trunk.name in there)
                 and sound(Run(self._workdir, trunk.name), trunk.last)), None)

  def _fitting(self, segment: Segment) -> list[Trunk]:
    if segment.name not in self._known:
      found = [*self._ancestors(segment), *self._others(segment)]
      self._known[segment.name] = sorted(found, key=lambda trunk: (-trunk.at, trunk.name))
    return self._known[segment.name]

  def _ancestors(self, segment: Segment) -> Iterator[Trunk]:
    """Within a study only what a segment descends from has its history; up to the stage's start."""
    stage = segment.spec.init
    while segment.parent is not None:
      segment = self._forest[segment.parent]
      if segment.spec.init != stage:
        yield Trunk(segment.name, segment.last, True, mixture.names(segment.spec.data))
        return
      yield Trunk(segment.name, segment.last)

  def _others(self, segment: Segment) -> Iterator[Trunk]:
    ends = [last for last in self._foreign if last <= segment.last]
    for last, history in prefixes.histories(segment.spec, ends).items():
      needed = {step for step in segment.eval_steps if step <= last}
      for name in self._foreign[last].get(history, ()):
        run = Run(self._workdir, name)
        if sound(run, last) and needed <= {line['step'] for line in run.curve()}:
          yield Trunk(name, last)

  @functools.cached_property
  def _foreign(self) -> dict[int, dict[str, list[str]]]:
    """Names of the prefixes of other forests by their ends and what acts before these."""
    found: dict[int, dict[str, list[str]]] = {}
    for name in files.names(f'{self._workdir}/prefixes'):
      if name in self._forest:
        continue
      try:
        extent = files.read_json(f'{self._workdir}/prefixes/{name}/segment.json')
        found.setdefault(int(extent['last']), {}).setdefault(extent['history'], []).append(name)
      except (OSError, ValueError, KeyError, TypeError):
        continue
    return found


def sound(run: Run, last: int) -> bool:
  """Whether a prefix is finished and what it ended with is there, as far as can be seen without
  reading it."""
  if run.state() != runs.DONE:
    return False
  kept = run.kept()
  return bool(kept) and kept[-1]['step'] == last
