"""What a running sweep shows: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from scaling import usage
from scaling.segments import Claimed
from scaling.train.pack import Pack
from scaling.train.program import Program


class Progress(Protocol):
  """What a sweep tells whoever watches it."""

  def say(self, text: str) -> None: ...
  def watch(self, pack: Pack) -> None: ...
  def record(self, claimed: Claimed, line: dict[str, Any]) -> None: ...
  def close(self) -> None: ...


class Work:
  """How much of a study there is, in counted training FLOPs, and how fast it goes."""

  def __init__(self, flops: float, settled: float, runs: int, done: int, peak: float | None):
    self.flops, self.settled, self.runs, self.peak = flops, settled, runs, peak
    self._elsewhere = 0.0
    self._before: dict[str, Any] = {'done': done, 'tokens': 0, 'flops': 0}
    self._seconds = dict.fromkeys(usage.KINDS, 0.0)
    self._pack: Pack | None = None
    self._programs: list[Program] = []
    self._start = time.monotonic()

  def count(self, pack: Pack) -> None:
    """Counts what a pack trains from now on; the one before is let go."""
    self._before = {name: self._total(name) for name in self._before}
    self._seconds = self.seconds
    self._pack = pack
    if not any(pack.program is program for program in self._programs):
      self._programs.append(pack.program)

  def settle(self, flops: float, runs: int) -> None:
    """Counts what other workers have finished since this one began."""
    self._elsewhere += flops
    self._before['done'] += runs

  def _total(self, name: str) -> Any:
    if self._pack is None:
      return self._before[name]
    now = {'done': len(self._pack.finished), 'tokens': self._pack.tokens,
           'flops': self._pack.flops}
    return self._before[name] + now[name]

  @property
  def done(self) -> int:
    return self._total('done')

  @property
  def tokens(self) -> int:
    """Trained by this process."""
    return self._total('tokens')

  @property
  def compilations(self) -> int:
    """Executables that this process had to make, ahead or not."""
    return sum(program.compilations for program in self._programs)

  @property
  def seconds(self) -> dict[str, float]:
    """Of this process, by what they went into."""
    now = self._pack.seconds if self._pack is not None else {}
    return {kind: spent + now.get(kind, 0.0) for kind, spent in self._seconds.items()}

  @property
  def trained(self) -> float:
    """Counted FLOPs of those tokens."""
    return self._total('flops')

  @property
  def rate(self) -> float:
    """FLOP/s of this process since it began, compilation and evaluation included."""
    return self.trained / self._elapsed

  @property
  def tokens_per_second(self) -> float:
    return self.tokens / self._elapsed

  @property
  def _elapsed(self) -> float:
    return max(time.monotonic() - self._start, 1e-9)

  @property
  def left(self) -> float | None:
    """Seconds to go at the rate of all workers since this one began; None before there is one."""
    trained = self.trained + self._elsewhere
    todo = max(self.flops - self.settled - trained, 0.0)
    return todo / trained * self._elapsed if trained else None

  def line(self) -> str:
    parts = [f'{self.done}/{self.runs} runs done', f'{self.tokens_per_second:,.0f} tokens/s']
    if self.peak:
      parts.append(f'MFU {self.rate / self.peak:.1%}')
    if self.left is not None:
      parts.append(f'{clock(self.left)} left')
    return ', '.join(parts)


def clock(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'


def _losses(line: dict[str, Any]) -> str:
  return '  '.join(f'{name} {d["loss"]:.4f}' for name, d in line['domains'].items())


class Lines:
  """One line an evaluation."""

  def __init__(self, work: Work):
    self._work = work

  def say(self, text: str) -> None:
    print(text, flush=True)

  def watch(self, pack: Pack) -> None:
    del pack

  def record(self, claimed: Claimed, line: dict[str, Any]) -> None:
    print(f'run {claimed.run.run_id}  N {line["N"]:,}  step {line["step"]}/{claimed.spec.steps}  '
          f'{_losses(line)}  ({self._work.line()})', flush=True)

  def close(self) -> None:
    pass


class Table:
  """A table of the lanes being trained, redrawn twice a second."""

  def __init__(self, work: Work):
    from rich.console import Console  # pylint: disable=import-outside-toplevel
    from rich.live import Live  # pylint: disable=import-outside-toplevel
    self._work = work
    self._last: dict[str, dict[str, Any]] = {}  # by run id
    self._live = Live(console=Console(), auto_refresh=False)
    self._live.start()
    self._drawn = 0.0

  def say(self, text: str) -> None:
    self._live.console.print(text, markup=False, highlight=False)

  def record(self, claimed: Claimed, line: dict[str, Any]) -> None:
    self._last[claimed.run.run_id] = line

  def watch(self, pack: Pack) -> None:
    if time.monotonic() - self._drawn < 0.5:
      return
    from rich.table import Table as RichTable  # pylint: disable=import-outside-toplevel
    self._drawn = time.monotonic()
    table = RichTable('run', 'N', 'step', 'of', 'done', 'last losses', title=self._work.line(),
                      title_justify='left')
    for _, lane in pack.active:
      last = self._last.get(lane.run.run_id) or (
          lane.curve[-1] if lane.curve and not lane.segment.shared else None)
      table.add_row(lane.run.run_id, f'{last["N"]:,}' if last else '', f'{lane.step:,}',
                    f'{lane.last:,}', f'{lane.step / lane.last:.0%}',
                    _losses(last) if last else '')
    self._live.update(table, refresh=True)

  def close(self) -> None:
    self._live.stop()


def display(work: Work) -> Progress:
  return Table(work) if sys.stdout.isatty() else Lines(work)
