"""What every process but the first does: its part of the leader's calls, until the last one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scaling import programs
from scaling.data.feed import Feed
from scaling.data.token_store import TokenStore
from scaling.errors import InputError
from scaling.hosts import Hosts
from scaling.prefixes import Segment
from scaling.specs import RunSpec
from scaling.train.shape import Shape
from scaling.train.shared import SharedProgram
from scaling.train.state import PackState


class Follower:
  """The programs and the pack of this process, as the leader's calls have left them."""

  def __init__(self, hosts: Hosts, forest: Mapping[str, Segment],
               stores: Callable[[RunSpec], Mapping[str, TokenStore]]):
    self._hosts, self._forest, self._stores = hosts, forest, stores
    self._shapes = {programs.key(shape, ''): shape
                    for shape in {Shape.of(segment.spec) for segment in forest.values()}}
    self._programs: dict[str, SharedProgram] = {}
    self._feeds: dict[str, Feed] = {}
    self._pack: PackState | None = None
    self._tokens: Any = None

  def follow(self, stopping: Callable[[], bool]) -> int:
    """Does as it hears, and returns the exit code that the leader ends with."""
    while True:
      call = self._hosts.hear(stopping)
      name = call.pop('call')
      if name == 'end':
        return call['code']
      if name == 'program':
        self._make(**call)
      else:
        getattr(self, f'_{name}')(self._programs[call.pop('program')], **call)

  def _make(self, name: str, settings: Mapping[str, Any]) -> None:
    if name not in self._shapes:
      raise InputError('the leader trains a shape that this process does not know: give all '
                       'processes the same flags')
    made = programs.build(self._shapes[name], programs.Settings(**settings), self._hosts)
    assert isinstance(made, SharedProgram)
    self._programs[name] = made

  def _compile(self, program: SharedProgram) -> None:
    program.compile()

  def _stack(self, program: SharedProgram) -> None:
    self._pack = None  # Memory for the next one.
    self._pack = program.stack()

  def _load(self, program: SharedProgram, i: int) -> None:
    self._pack = program.load(self._held, i, None)

  def _gather(self, program: SharedProgram, n: int, lanes: list[Any]) -> None:
    reads = [(i, self._feed(name, start), step, tuple(drawn))
             for i, name, step, drawn, start in lanes]
    self._tokens, _ = program.share(reads, n)

  def _train(self, program: SharedProgram, lr: list[Any], hyper: dict[str, Any],
             active: list[bool], n: int) -> None:
    numbers = {name: np.array(value) for name, value in hyper.items()}
    self._pack, _ = program.train(self._held, self._tokens, np.array(lr), numbers,
                                  np.array(active), n)

  def _evaluate(self, program: SharedProgram, count: int, partial: list[bool]) -> None:
    program.evaluate_told(self._held, count, partial)

  def _diverged(self, program: SharedProgram) -> None:
    program.diverged(self._held)

  def _write(self, program: SharedProgram, path: str) -> None:
    program.write(path, self._held)

  @property
  def _held(self) -> PackState:
    assert self._pack is not None  # The leader has stacked one before it uses it.
    return self._pack

  def _feed(self, name: str, start: list[int]) -> Feed:
    if name not in self._feeds:
      spec = self._forest[name].spec
      self._feeds[name] = Feed(spec, self._stores(spec))
    return self._feeds[name].after(start)
