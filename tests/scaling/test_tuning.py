"""The choice of a pack from measured times."""

import jax
import numpy as np
import pytest

from scaling import programs, tuning
from scaling.specs import ModelSpec
from scaling.train.program import Shape

SHAPE = Shape(ModelSpec(layers=1, width=16), 64, 16, 2)


class Pack:
  """A program with a known step time; `room` lanes fit."""

  chunk, shape = 4, SHAPE

  def __init__(self, lanes, seconds, room=10**9, needed=None):
    self.lanes, self._seconds, self._room, self._needed = lanes, seconds, room, needed

  def compile(self):
    if self.lanes > self._room:
      raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory')

  def bytes_needed(self):
    return self._needed


def timed(monkeypatch, seconds_of, lanes, **options):
  monkeypatch.setattr(tuning, 'step_seconds', lambda program: seconds_of(program.lanes))
  return tuning.measure((n, lambda n=n: Pack(n, seconds_of(n), **options)) for n in lanes)


def test_a_launch_bound_step_takes_many_lanes_and_a_filled_chip_few(monkeypatch):
  lanes = [2**i for i in range(8)]
  # Constant until 32 lanes fill the device, then proportional.
  found = timed(monkeypatch, lambda n: max(1.0, n / 32), lanes)
  assert tuning.best(found).lanes == 32 and found[-1].lanes == 64
  assert tuning.best(timed(monkeypatch, float, lanes)).lanes == 1


def test_what_does_not_fit_ends_the_search(monkeypatch):
  lanes = [1, 2, 4, 8]
  found = timed(monkeypatch, lambda n: 1.0, lanes, room=4)
  assert [t.lanes for t in found] == [1, 2, 4] and tuning.best(found).lanes == 4
  monkeypatch.setattr(tuning, 'memory', lambda: 1000)
  assert timed(monkeypatch, lambda n: 1.0, lanes, needed=950) == []


def test_another_error_is_not_swallowed(monkeypatch):
  def broken(program):
    raise RuntimeError('INTERNAL: no')
  monkeypatch.setattr(tuning, 'step_seconds', broken)
  with pytest.raises(RuntimeError, match='INTERNAL'):
    tuning.measure([(1, lambda: Pack(1, 1.0))])


def test_real_programs_are_timed_and_a_chunk_is_chosen(monkeypatch):
  monkeypatch.setattr(tuning, 'SECONDS', 0.01)
  settings, timings = programs.measured(SHAPE, 2 * jax.device_count())
  assert 1 <= len(timings) <= 2 and settings.lanes in {t.lanes for t in timings}
  assert all(t.seconds > 0 and t.bytes and t.bytes > 0 for t in timings)
  assert 1 <= settings.chunk <= programs.MAX_CHUNK
  assert np.log2(settings.chunk) % 1 == 0
