"""Leases: one holder among any number, takeover after silence, no clock in common."""

import concurrent.futures
import pathlib

import pytest

from scaling import files, leases
from scaling.leases import LeaseLost, Worker


@pytest.fixture
def folder(tmp_path) -> str:
  files.make_folder(tmp_path / 'runs/r')
  return str(tmp_path / 'runs/r')


def _worker(tmp_path: pathlib.Path, seconds: float = 60, machine: str | None = None) -> Worker:
  worker = Worker(str(tmp_path), seconds)
  if machine:
    worker._identity['machine'] = machine
  files.make_folder(tmp_path / 'workers')
  worker.beat()
  return worker


def test_exactly_one_of_many_gets_a_lease(tmp_path, folder):
  for round_ in range(20):
    workers = [_worker(tmp_path) for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      found = [lease for lease in pool.map(lambda w: w.claim(folder), workers) if lease]
    assert len(found) == 1, round_
    found[0].check()
    found[0].release()
    assert leases.holder(folder) is None


def test_generations_only_rise_and_the_old_holder_sees_it(tmp_path, folder):
  first, second = _worker(tmp_path), _worker(tmp_path)
  held = first.claim(folder)
  assert held and second.claim(folder) is None
  assert first.claim(folder) == held  # its own lease, again
  held.release()
  again = second.claim(folder)
  assert again and again.generation > held.generation
  with pytest.raises(LeaseLost, match='taken over'):
    held.check()
  held.release()  # does nothing: it is not held any more
  again.check()


def test_takeover_needs_a_beat_that_stands_still_on_the_observers_clock(
    tmp_path, folder, monkeypatch):
  clock = [1000.0]
  monkeypatch.setattr(leases.time, 'monotonic', lambda: clock[0])
  holder = _worker(tmp_path, 10, machine='elsewhere')
  observer = _worker(tmp_path, 10)
  held = holder.claim(folder)
  assert observer.claim(folder) is None
  clock[0] += 9
  holder.beat()
  assert observer.claim(folder) is None
  clock[0] += 9
  assert observer.claim(folder) is None  # silent for 9 of 10 seconds
  clock[0] += 2
  taken = observer.claim(folder)
  assert taken is not None and not held.held


def test_a_process_known_to_be_dead_is_not_waited_for(tmp_path, folder):
  holder, observer = _worker(tmp_path, 1e6), _worker(tmp_path, 1e6)
  holder._identity['pid'] = 2**22 + 1
  assert holder.claim(folder)
  assert observer.claim(folder)  # by what the lease says: there may be no heartbeat any more


def test_a_pid_that_was_given_to_another_process_is_dead(tmp_path, folder):
  holder, observer = _worker(tmp_path, 1e6), _worker(tmp_path, 1e6)
  holder._identity['started'] = '1'
  assert holder.claim(folder)
  assert observer.claim(folder)


def test_the_same_pid_on_another_machine_says_nothing(tmp_path, folder):
  holder, observer = _worker(tmp_path, 1e6, machine='elsewhere'), _worker(tmp_path, 1e6)
  holder._identity['pid'] = 2**22 + 1
  assert holder.claim(folder)
  assert observer.claim(folder) is None


def test_the_longer_lease_counts(tmp_path, folder, monkeypatch):
  clock = [1000.0]
  monkeypatch.setattr(leases.time, 'monotonic', lambda: clock[0])
  holder, observer = _worker(tmp_path, 600, machine='elsewhere'), _worker(tmp_path, 10)
  assert holder.claim(folder)
  assert observer.claim(folder) is None
  clock[0] += 590
  assert observer.claim(folder) is None
  clock[0] += 20
  assert observer.claim(folder)
