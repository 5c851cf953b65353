"""Sweeps that are killed, stopped, starved and shared: the curves come out identical."""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from scaling import files
from tests.scaling import sweeps


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, markov_store) -> pathlib.Path:
  workdir = tmp_path_factory.mktemp('undisturbed')
  sweeps.sweep(workdir, markov_store)
  assert len(sweeps.results(workdir)) == 4
  return workdir


def _kill_once(workdir, store, rng) -> bool:
  """Mostly while it trains, since those are the instants that matter."""
  process, before = sweeps.start(workdir, store), sweeps.curves(workdir)
  if rng.random() < 0.8:
    sweeps.wait_for(lambda: sweeps.curves(workdir) != before or process.poll() is not None)
    time.sleep(rng.random() * 0.5)
  else:
    time.sleep(rng.random() * 4)
  alive = process.poll() is None
  process.kill()
  process.communicate()
  return alive


def _kill_often(workdir, store, undisturbed, times, seed):
  """SIGKILL at random instants, anywhere from the first import to the end; then a quiet run."""
  rng, caught = random.Random(seed), 0
  for _ in range(times):
    caught += _kill_once(workdir, store, rng)
    if len(sweeps.results(workdir)) == 4:
      shutil.rmtree(workdir)  # All done: begin again, so that there is something to kill.
  sweeps.sweep(workdir, store)
  assert caught > times / 2
  assert sweeps.curves(workdir) == sweeps.curves(undisturbed)
  assert len(sweeps.results(workdir)) == 4


def test_sigkill_leaves_the_same_curves(tmp_path, markov_store, undisturbed):
  _kill_often(tmp_path / 'w', markov_store, undisturbed, 5, seed=1)


@pytest.mark.slow
def test_a_hundred_sigkills_leave_the_same_curves(tmp_path, markov_store, undisturbed):
  for seed in range(10):
    _kill_often(tmp_path / f'w{seed}', markov_store, undisturbed, 10, seed)


def test_sigterm_saves_frees_and_resumes(tmp_path, markov_store, undisturbed):
  flags = ('--checkpoint_seconds=1000',)  # So that what is saved was saved on the signal.
  process = sweeps.start(tmp_path, markov_store, *flags)
  sweeps.wait_for(lambda: sweeps.curves(tmp_path))
  process.send_signal(signal.SIGTERM)
  begun = time.monotonic()
  _, err = process.communicate(timeout=60)
  assert process.returncode == 3, err
  assert time.monotonic() - begun < 10
  running = [p for p in (tmp_path / 'runs').iterdir() if (p / 'curve.jsonl').exists()]
  assert running
  for folder in running:
    newest = max(folder.glob('lease.*'), key=lambda p: int(p.suffix[1:]))
    assert json.loads(newest.read_text()) == {'worker': None}
    saved = json.loads((folder / 'checkpoints.json').read_text())[-1]['step']
    assert saved >= json.loads((folder / 'curve.jsonl').read_text().splitlines()[-1])['step']
  again = sweeps.sweep(tmp_path, markov_store, *flags)
  assert 'goes on from step' in again.stdout
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)


def test_a_second_sweep_trains_nothing(undisturbed, markov_store):
  before = sweeps.trained_steps(undisturbed)
  begun = time.monotonic()
  done = sweeps.sweep(undisturbed, markov_store)
  assert 'settled' in done.stdout and time.monotonic() - begun < 20
  assert sweeps.trained_steps(undisturbed) == before == dict.fromkeys(before, 5000)


def test_two_workers_share_a_study(tmp_path, markov_store, undisturbed):
  first = sweeps.start(tmp_path, markov_store)
  second = sweeps.start(tmp_path, markov_store)
  outputs = [p.communicate(timeout=300) for p in (first, second)]
  assert first.returncode == second.returncode == 0, outputs
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)
  steps = sweeps.trained_steps(tmp_path)
  assert steps == dict.fromkeys(steps, 5000) and len(steps) == 4  # none twice, none lost
  reported = [sum(f'run {run}' in out for out, _ in outputs) for run in steps]
  assert reported == [1] * 4


@pytest.mark.slow  # As from a sleeping one, below, but for how its end is known.
def test_a_worker_takes_over_from_a_killed_one(tmp_path, markov_store, undisturbed):
  first = sweeps.start(tmp_path, markov_store)
  sweeps.wait_for(lambda: sweeps.curves(tmp_path))
  second = sweeps.start(tmp_path, markov_store)
  sweeps.wait_for(lambda: len(list(tmp_path.glob('workers/*'))) == 2 or first.poll() is not None)
  first.kill()
  first.communicate()
  out, err = second.communicate(timeout=300)
  assert second.returncode == 0, err
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)
  assert len(sweeps.results(tmp_path)) == 4, out


def test_a_worker_that_slept_past_its_lease_writes_nothing(tmp_path, markov_store, undisturbed):
  flags = ('--lease_seconds=2',)
  sleeper = sweeps.start(tmp_path, markov_store, *flags)
  sweeps.wait_for(lambda: sweeps.curves(tmp_path))
  sleeper.send_signal(signal.SIGSTOP)
  checkpoints = set(tmp_path.glob('checkpoints/*'))
  sweeps.sweep(tmp_path, markov_store, *flags)  # It waits for the lease to run out, then trains.
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)
  written = _contents(tmp_path)
  sleeper.send_signal(signal.SIGCONT)
  out, err = sleeper.communicate(timeout=120)
  assert sleeper.returncode == 0, err
  assert 'taken over by another worker' in out
  assert _contents(tmp_path) == written
  assert not [p for p in tmp_path.glob('checkpoints/*') if p in checkpoints - _listed(tmp_path)]


def _contents(workdir: pathlib.Path) -> dict[pathlib.Path, bytes]:
  """Every file of the runs but timing.jsonl, which is appended to: a worker stopped between its
  look at the lease and the write may leave one late line there. Nor what a worker stopped in the
  middle of a write has beside it, which it clears away when it wakes."""
  return {p: p.read_bytes() for p in (workdir / 'runs').rglob('*')
          if p.is_file() and p.name != 'timing.jsonl' and files.TEMPORARY not in p.name}


def _listed(workdir: pathlib.Path) -> set[pathlib.Path]:
  return {workdir / entry['folder'] for path in workdir.glob('runs/*/checkpoints.json')
          for entry in json.loads(path.read_text())}


def test_an_evaluation_that_is_not_finite_is_a_divergence(tmp_path, markov_store):
  # The last update of all goes wrong: no training loss comes after it, only the evaluation.
  study = tmp_path / 'study.py'
  study.write_text(_STUDY_OF_RATES.format(rates=(1e-3, 3e38)).replace('60', '2').replace(
      'axes =', 'base.evaluation.points = 2\n  config.axes ='))
  failed = sweeps.sweep(tmp_path / 'w', markov_store, '--pack=2', '--cpu_devices=1',
                        study=(f'--config={study}',), expect=1)
  assert 'diverged' in failed.stderr
  assert len(sweeps.results(tmp_path / 'w')) == 1


def test_a_diverging_lane_leaves_its_neighbours_alone(tmp_path, markov_store):
  pack = ('--pack=4', '--cpu_devices=1')
  three = tmp_path / 'three.py'
  three.write_text(_STUDY_OF_RATES.format(rates=(1e-3, 3e-3, 1e-2)))
  four = tmp_path / 'four.py'
  four.write_text(_STUDY_OF_RATES.format(rates=(1e-3, 3e-3, 1e-2, 1e6)))
  quiet, shared = tmp_path / 'quiet', tmp_path / 'shared'
  sweeps.sweep(quiet, markov_store, study=(f'--config={three}', *pack))
  failed = sweeps.sweep(shared, markov_store, study=(f'--config={four}', *pack), expect=1)
  assert 'diverged' in failed.stderr
  failures = [json.loads(p.read_text()) for p in shared.glob('runs/*/failure.json')]
  assert len(failures) == 1 and failures[0]['reason'] == 'diverged'
  assert 1 <= failures[0]['step'] <= 60
  calm = sweeps.curves(quiet)
  assert len(calm) == 3
  assert {run: curve for run, curve in sweeps.curves(shared).items() if run in calm} == calm
  # Divergence is final, until it is asked for again.
  sweeps.sweep(shared, markov_store, study=(f'--config={four}', *pack), expect=1)
  again = sweeps.sweep(shared, markov_store, '--retry_failed',
                       study=(f'--config={four}', *pack), expect=1)
  assert 'diverged: the loss' in again.stdout


_STUDY_OF_RATES = '''
from configs import tiny
from scaling import files, grid

def get_config():
  config = tiny.get_config()
  config.base.steps = 60
  config.axes = grid.axis('base.optim.peak_lr', {rates})
  return config
'''


def _stopped_half_way(workdir, store):
  """A sweep stopped by SIGTERM with at least two checkpoints of some run; returns that run."""
  process = sweeps.start(workdir, store)
  def two_checkpoints():
    return [p.parent for p in workdir.glob('runs/*/checkpoints.json')
            if len(json.loads(p.read_text())) == 2]
  sweeps.wait_for(two_checkpoints)
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 3, err
  return two_checkpoints()[0]


@pytest.mark.parametrize('damage', [
    pytest.param('truncate', marks=pytest.mark.slow), 'half delete'])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, markov_store, undisturbed, damage):
  run = _stopped_half_way(tmp_path, markov_store)
  older, newest = json.loads((run / 'checkpoints.json').read_text())
  folder = tmp_path / newest['folder']
  files = sorted((p for p in folder.rglob('*') if p.is_file() and p.name != 'index.json'),
                 key=lambda p: p.stat().st_size)
  if damage == 'truncate':
    files[-1].write_bytes(files[-1].read_bytes()[:-10])
  else:
    for path in files[::2]:
      path.unlink()
  done = sweeps.sweep(tmp_path, markov_store)
  assert f'run {run.name}: the checkpoint at step {newest["step"]}' in done.stdout
  assert 'is damaged' in done.stdout
  assert f'run {run.name}: goes on from step {older["step"]}' in done.stdout
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)


@pytest.mark.slow
def test_every_checkpoint_damaged_means_a_new_start(tmp_path, markov_store, undisturbed):
  _stopped_half_way(tmp_path, markov_store)
  for path in (tmp_path / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  sweeps.sweep(tmp_path, markov_store)
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)


@pytest.mark.slow
def test_a_file_size_limit_is_a_clear_error(tmp_path, markov_store, undisturbed):
  def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
  failed = sweeps.sweep(tmp_path, markov_store, expect=1, preexec_fn=limit)
  assert 'no room left' in failed.stderr
  sweeps.sweep(tmp_path, markov_store)
  assert sweeps.curves(tmp_path) == sweeps.curves(undisturbed)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path, markov_store, undisturbed):
  disk = tmp_path / 'disk'
  disk.mkdir()
  mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk],
                           capture_output=True, text=True)
  if mounted.returncode:
    pytest.skip(f'a tmpfs cannot be mounted here ({mounted.stderr.strip()}); the test of the file '
                'size limit covers the same path')
  try:
    workdir = disk / 'w'
    process = sweeps.start(workdir, markov_store)
    sweeps.wait_for(lambda: sweeps.results(workdir))
    with open(disk / 'filler', 'wb', buffering=0) as filler, contextlib.suppress(OSError):
      while True:
        filler.write(bytes(4096))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and 'no room left' in err and 'Traceback' not in err, err
    finished = sweeps.results(workdir)
    assert 0 < len(finished) < 4
    kept = {run: curve for run, curve in sweeps.curves(workdir).items() if run in finished}
    (disk / 'filler').unlink()
    sweeps.sweep(workdir, markov_store)
    assert sweeps.curves(workdir) == sweeps.curves(undisturbed)
    assert kept.items() <= sweeps.curves(workdir).items()
  finally:
    subprocess.run(['umount', '-l', disk], check=False)
