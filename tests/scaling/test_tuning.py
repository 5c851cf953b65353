"""The choice of a pack from measured times."""

import jax
import pytest

from scaling import programs, tuning
from scaling.specs import ModelSpec
from scaling.train.shape import Shape

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


def test_real_programs_are_timed(monkeypatch):
  monkeypatch.setattr(tuning, 'SECONDS', 0.01)
  settings, timings = programs.measured(SHAPE, 1)
  assert [t.lanes for t in timings] == [settings.lanes] == [jax.device_count()]
  one, = timings
  assert one.seconds > 0 and one.bytes and one.bytes > 0
  tokens = one.lanes * SHAPE.batch * SHAPE.length
  assert one.tokens_per_second == pytest.approx(tokens / one.seconds)


@pytest.mark.parametrize('seconds, chunk', [
    (0.25, 1), (0.2, 1), (0.125, 2), (0.1, 2), (0.0625, 4), (0.06, 4), (0.011, 16), (1e-5, 64),
    (3.0, 1)])  # floor(log2(0.25 s / step)), from 1 to MAX_CHUNK
def test_a_dispatch_takes_a_quarter_of_a_second_of_the_best_pack(monkeypatch, seconds, chunk):
  devices = jax.device_count()
  monkeypatch.setattr(programs, 'build', lambda shape, settings: Pack(settings.lanes, 0.0))
  # Four lanes a device train 4 times the tokens of one in the same time; eight are no faster.
  monkeypatch.setattr(tuning, 'step_seconds',
                      lambda program: seconds * max(1, program.lanes / devices / 4))
  settings, timings = programs.measured(SHAPE, 32 * devices)
  assert [t.lanes for t in timings] == [devices, 2 * devices, 4 * devices, 8 * devices]
  assert (settings.lanes, settings.chunk) == (4 * devices, chunk)
