"""Several processes on one mesh: the curves of one process, stops, deaths, restarts."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from scaling import hosts
from scaling.errors import InputError
from scaling.train import checkpoint, sharding
from scaling.train.shared import SharedProgram
from tests.scaling import sweeps
from tests.scaling.train import packs

STUDY = ('--config=configs/tiny.py', '--config.base.steps=160',
         '--config.base.evaluation.points=16', '--pack=2', '--checkpoint_seconds=0.2')
# Every process compiles, and for longer than it trains.
QUICK = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}


def alone(workdir, store, *flags, devices=2):
  return sweeps.sweep(workdir, store, f'--cpu_devices={devices}', *flags, study=STUDY,
                      environment=QUICK)


def start(workdir, store, count, *flags) -> list[subprocess.Popen]:
  port = free_port()
  return [sweeps.start(workdir, store, '--cpu_devices=1', f'--coordinator=localhost:{port}',
                       f'--processes={count}', f'--process={i}', *flags, study=STUDY,
                       environment=QUICK)
          for i in range(count)]


def srun(workdir, store, count, *flags) -> list[subprocess.Popen]:
  """Tasks of a step that Slurm has started here: it says so in the environment alone."""
  job = free_port(range(61440, 65536)) - 61440  # From which jax makes the port.
  return [sweeps.start(workdir, store, '--cpu_devices=1', '--hosts=slurm', *flags, study=STUDY,
                       environment={'SLURM_JOB_ID': str(job), 'SLURM_STEP_NODELIST': 'localhost',
                                    'SLURM_NTASKS': str(count), 'SLURM_PROCID': str(i),
                                    'SLURM_LOCALID': str(i), 'SLURM_STEP_NUM_NODES': '1',
                                    **QUICK})
          for i in range(count)]


def free_port(among=(0,)) -> int:
  for port in among:
    with socket.socket() as free, contextlib.suppress(OSError):
      free.bind(('localhost', port))
      return free.getsockname()[1]
  raise OSError('no port is free')


def ended(processes, seconds=600.0) -> list[tuple[int, str]]:
  """(exit code, stderr) of all, which must end within these seconds."""
  end = time.monotonic() + seconds
  return [(p.returncode, said[1]) for p in processes
          for said in [p.communicate(timeout=end - time.monotonic())]]


def all_end(processes, code) -> None:
  found = ended(processes)
  assert [one for one, _ in found] == [code] * len(processes), found


def trained(workdir: pathlib.Path, processes) -> None:
  """Waits until a run has its first line and a checkpoint."""
  sweeps.wait_for(lambda: any(p.poll() is not None for p in processes) or (
      sweeps.curves(workdir) and list(workdir.glob('runs/*/checkpoints.json'))), 600)


def test_two_processes_give_the_curve_of_one(tmp_path, markov_store):
  w, once, flags = tmp_path / 'w', tmp_path / 'once', ('--mesh=fsdp=2', '--config.base.steps=16')
  all_end(start(w, markov_store, 2, *flags), 0)
  alone(once, markov_store, *flags)
  assert sweeps.curves(w) == sweeps.curves(once) and len(sweeps.results(w)) == 4


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(tmp_path, markov_store):
  w, once, mesh = tmp_path / 'w', tmp_path / 'once', '--mesh=fsdp=2'
  processes = start(w, markov_store, 2, mesh)
  trained(w, processes)
  processes[1].send_signal(signal.SIGTERM)
  all_end(processes, 3)
  assert len(sweeps.results(w)) < 4 and not list(w.glob('workers/*.json'))
  again = alone(w, markov_store)  # The mesh is recorded; its checkpoint serves one process too.
  assert 'goes on from step' in again.stdout
  alone(once, markov_store, mesh)
  assert sweeps.curves(w) == sweeps.curves(once) and len(sweeps.results(w)) == 4


@pytest.mark.slow
def test_four_processes_give_the_curve_of_one_and_their_checkpoint_serves_another_mesh(
    tmp_path, markov_store):
  w, once, mesh = tmp_path / 'w', tmp_path / 'once', '--mesh=run=2,tensor=2'
  processes = start(w, markov_store, 4, mesh)
  trained(w, processes)
  processes[0].send_signal(signal.SIGTERM)
  all_end(processes, 3)
  all_end(srun(w, markov_store, 4, mesh), 0)
  alone(once, markov_store, mesh, devices=4)
  assert sweeps.curves(w) == sweeps.curves(once) and len(sweeps.results(w)) == 4
  for made in w.glob('runs/*/result.json'):  # As though they had been stopped before their end.
    made.unlink()
  for record in w.glob('programs/*.json'):
    record.unlink()
  assert alone(w, markov_store, '--mesh=fsdp=2').stdout.count('goes on from step 160') == 4
  assert sweeps.curves(w) == sweeps.curves(once) and len(sweeps.results(w)) == 4


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_death_ends_the_others_and_the_restart_resumes(tmp_path, markov_store, victim):
  w, once, mesh = tmp_path / 'w', tmp_path / 'once', '--mesh=data=2'
  processes = start(w, markov_store, 2, mesh)
  trained(w, processes)
  processes[victim].kill()
  found = ended(processes, 60)
  code, said = found[1 - victim]
  assert code != 0 and re.search('has lost another one|another task died', said), found
  assert len(sweeps.results(w)) < 4
  all_end(start(w, markov_store, 2, mesh), 0)
  alone(once, markov_store, mesh)
  assert sweeps.curves(w) == sweeps.curves(once)


def test_the_leader_reads_a_checkpoint_alone(tmp_path, monkeypatch):
  def wait(name: str) -> None:
    raise AssertionError('the others are not there to be waited for')

  checkpoint.write(f'{tmp_path}/state', {'a': np.arange(3.0)})
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(multihost_utils, 'sync_global_devices', wait)
  np.testing.assert_array_equal(checkpoint._read(f'{tmp_path}/state')['a'], np.arange(3.0))


def test_who_the_processes_are_is_checked_before_they_meet():
  for given, says in (((None, 2, 0), '--coordinator: it must be given'),
                      (('a:1', None, 0), '--processes'), (('a', 2, 0), 'host:port'),
                      (('a:1', 2, 2), r'--process: 2 .* \[0, 2\)')):
    with pytest.raises(InputError, match=says):
      hosts.join(None, *given)
  assert 'SLURM_PROCID' not in os.environ
  with pytest.raises(InputError, match='start it with srun'):
    hosts.join('slurm')


def test_the_others_hear_which_windows_end_early():
  told: dict[str, bytes] = {}
  client = types.SimpleNamespace(key_value_set_bytes=told.__setitem__,
                                 wait_at_barrier=lambda name, milliseconds: None)
  shared = SharedProgram(hosts.Hosts(client, 0, 1), 'p', packs.SHAPE, 1, packs.K, 1,
                         sharding.single())
  alone = packs.compiled(packs.SHAPE, 1, packs.K, 'loop')
  windows = packs.batches(9, 1, 6)[0]  # two blocks of four
  windows[5, 4:] = -1
  lane = alone.fresh(3)
  found = shared.evaluate(shared.stack([lane]), windows)
  np.testing.assert_array_equal(found, alone.evaluate(alone.stack([lane]), windows))
  call = json.loads(list(told.values())[-1])
  assert (call['call'], call['count'], call['partial']) == ('evaluate', 6, [False, True])


@pytest.mark.parametrize('error, ends', [
    (InputError('--mesh: no'), 2), (OSError('No space left on device'), 1),
    (RuntimeError('Gloo: Connection closed by peer'), 3), (ValueError('a mistake'), 1)])
def test_an_error_of_the_leader_ends_all(monkeypatch, capsys, error, ends):
  told: dict[str, bytes] = {}
  client = types.SimpleNamespace(key_value_set_bytes=told.__setitem__)
  monkeypatch.setattr(os, '_exit', sys.exit)

  def lead() -> int:
    raise error

  with pytest.raises((InputError, OSError, SystemExit)) as raised:
    hosts.together(hosts.Hosts(client, 0, 2), lead, lambda: 0)
  if raised.value is error:  # Said in one line by the command; the others are told how to end.
    assert json.loads(*told.values()) == {'call': 'end', 'code': ends}
  else:  # They notice that this one is gone.
    assert raised.value.code == ends and not told
    said = capsys.readouterr().err
    assert ('process 0 of 2 has lost another one' in said) == (ends == 3)
    assert ('Traceback' in said) == (ends == 1)
