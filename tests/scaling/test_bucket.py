"""A workdir on an object store: S3 as moto's server plays it, through s3fs, in requests over TCP.

Needs the extras 'bucket' and 'dev':  uv pip install -c constraints.txt -e '.[bucket,dev]'
"""

from __future__ import annotations

import concurrent.futures
import json
import pathlib

import numpy as np
import pytest

from scaling import files, leases, objects
from scaling.errors import InputError
from scaling.leases import LeaseLost, Worker
from scaling.runs import Run
from scaling.train import checkpoint
from tests.scaling import sweeps

REASON = "needs the extra 'bucket' and moto: uv pip install -c constraints.txt -e '.[bucket,dev]'"


@pytest.fixture(scope='module')
def bucket():
  server = pytest.importorskip('moto.server', reason=REASON)
  pytest.importorskip('s3fs', reason=REASON)
  with pytest.MonkeyPatch.context() as patch:
    serving = server.ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    serving.start()
    host, port = serving.get_host_and_port()
    for name, value in (('AWS_ENDPOINT_URL', f'http://{host}:{port}'), ('AWS_ACCESS_KEY_ID', 'x'),
                        ('AWS_SECRET_ACCESS_KEY', 'x'), ('AWS_DEFAULT_REGION', 'us-east-1')):
      patch.setenv(name, value)
    objects._open('s3://study')[0].mkdir('study')
    yield 's3://study'
    serving.stop()


def test_files_are_whole_exclusive_and_listed(bucket):
  folder = f'{bucket}/files'
  assert files.names(folder) == [] and not files.exists(folder)
  files.replace(f'{folder}/a', 'one')
  files.replace(f'{folder}/a', 'two')
  assert files.read_text(f'{folder}/a') == 'two'
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    made = list(pool.map(lambda i: files.create(f'{folder}/sub/b', str(i)), range(16)))
  assert made.count(True) == 1 and files.read_text(f'{folder}/sub/b') == str(made.index(True))
  files.append(f'{folder}/lines', 'x\n')
  files.append(f'{folder}/lines', 'y\n')
  assert files.read_text(f'{folder}/lines') == 'x\ny\n'
  assert files.names(folder) == ['a', 'lines', 'sub'] and files.exists(f'{folder}/sub')
  files.remove(f'{folder}/a')
  files.remove(f'{folder}/a')
  files.remove_tree(f'{folder}/sub')
  assert files.names(folder) == ['lines']
  with pytest.raises(FileNotFoundError):
    files.read_text(f'{folder}/a')
  files.check_writable(folder)
  with pytest.raises(InputError, match=r's3://nobodys/w.*may not be written to'):
    files.check_writable('s3://nobodys/w')


def test_leases_under_clock_skew_and_a_stall(bucket, monkeypatch):
  """Two machines whose clocks are a year apart: only beats that stand still count, on the
  observer's own clock; the holder that comes back finds its lease gone before it writes."""
  workdir, clock, wall = f'{bucket}/leases', [1000.0], [1.7e9]
  monkeypatch.setattr(leases.time, 'monotonic', lambda: clock[0])
  monkeypatch.setattr(leases.time, 'time', lambda: wall[0])
  run = Run(workdir, 'r')
  holder, observer = Worker(workdir, 10), Worker(workdir, 10)
  holder._identity['machine'] = 'elsewhere'
  holder.beat()
  held = holder.claim(run.folder)
  run.write_curve(held, [{'step': 1, 'domains': {}}])
  wall[0] += 3e7  # The observer's clock is a year ahead, then a year behind.
  assert observer.claim(run.folder) is None
  clock[0] += 9
  wall[0] -= 6e7
  holder.beat()
  assert observer.claim(run.folder) is None
  clock[0] += 11
  taken = observer.claim(run.folder)
  assert taken.generation == held.generation + 1
  run.write_curve(taken, [{'step': 2, 'domains': {}}])
  with pytest.raises(LeaseLost):
    run.write_curve(held, [{'step': 3, 'domains': {}}])
  with pytest.raises(LeaseLost):
    run.write_result(held, [{'step': 3, 'domains': {'d': {'loss': 1.0}}}])
  assert [line['step'] for line in run.curve()] == [2]
  workers = [Worker(workdir, 10) for _ in range(6)]
  taken.release()
  with concurrent.futures.ThreadPoolExecutor(6) as pool:
    assert sum(lease is not None for lease in pool.map(lambda w: w.claim(run.folder), workers)) == 1


def test_a_checkpoint_goes_there_and_back_and_damage_is_seen(bucket):
  state = {'w': np.arange(24, dtype=np.float32).reshape(2, 12), 'n': np.array([3, 4])}
  positions = [(name, checkpoint.Position(7, (1,))) for name in ('r0', 'r1')]
  folder = checkpoint.save(f'{bucket}/saved', 'worker-7', state, positions, {})
  arrays, position = checkpoint.restore(f'{bucket}/saved', folder, 'r1')
  assert position == positions[1][1]
  np.testing.assert_array_equal(arrays['w'], state['w'][1])
  checkpoint.forget()
  index = files.read_json(f'{bucket}/saved/{folder}/index.json')
  name = max(index['files'], key=lambda n: index['files'][n][0])
  objects.put(f'{bucket}/saved/{folder}/state/{name}', b'x')
  with pytest.raises(checkpoint.Damaged, match='1 of'):
    checkpoint.restore(f'{bucket}/saved', folder, 'r1')


@pytest.mark.slow
def test_two_workers_share_a_study_on_a_bucket(bucket, markov_store, tmp_path):
  study = ('--config=configs/tiny.py', '--config.base.steps=400', '--pack=1', '--cpu_devices=1',
           '--checkpoint_seconds=5')
  objects.upload(markov_store, f'{bucket}/tokens')
  workers = [sweeps.start(f'{bucket}/w', f'{bucket}/tokens', study=study) for _ in range(2)]
  outputs = [worker.communicate(timeout=300) for worker in workers]
  assert [worker.returncode for worker in workers] == [0, 0], outputs
  sweeps.sweep(tmp_path, markov_store, study=study)
  here = sweeps.curves(tmp_path)
  assert len(here) == 4
  assert {run: objects.read(f'{bucket}/w/runs/{run}/curve.jsonl') for run in here} == here
  reported = [sum(f'run {run}' in out for out, _ in outputs) for run in here]
  assert reported == [1] * 4  # each trained by one of them
  before = objects.read(f'{bucket}/w/studies/tiny.json')
  again = sweeps.sweep(pathlib.PurePosixPath('x'), f'{bucket}/tokens', f'--workdir={bucket}/w',
                       study=study)
  assert 'all 4 runs of tiny are settled' in again.stdout
  assert json.loads(before) == json.loads(objects.read(f'{bucket}/w/studies/tiny.json'))
