"""XManager: work units of this machine run for real, those of clouds built and looked at.

Needs the extra 'xm':  uv pip install -c constraints.txt -e '.[xm]'  then
pytest tests/xm_launch/test_launch.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from unittest import mock

import pytest
from absl import flags

from scaling.errors import InputError
from tests.conftest import ROOT
from xm_launch import arguments, experiment
from xm_launch.machines import Machine, extend

needs_xmanager = pytest.mark.skipif(
    importlib.util.find_spec('xmanager') is None,
    reason="needs the extra 'xm': uv pip install -c constraints.txt -e '.[xm]'")
SWEEP = ['--config=configs/dcpt.py', '--workdir=gs://b/w', "--config.name=it's"]


def _launch(home, *args: str, module: str = 'xmanager.cli.cli') -> subprocess.CompletedProcess:
  first = ('launch', 'xm_launch/launch.py', '--') if module == 'xmanager.cli.cli' else ()
  env = {**os.environ, 'HOME': str(home)}  # Its data base of experiments lies there.
  return subprocess.run([sys.executable, '-m', module, *first, '--config=configs/tiny.py', *args],
                        cwd=ROOT, text=True, capture_output=True, timeout=120, env=env)


@needs_xmanager
def test_the_local_executor_runs_a_work_unit_a_worker(tmp_path, markov_store):
  (tmp_path / 'w').mkdir()
  done = _launch(tmp_path, f'--workdir={tmp_path}/w', f'--store={markov_store}', '--mode=status',
                 '--workers=2', '--config.base.steps=12')
  assert done.returncode == 0, done.stdout + done.stderr
  lines = [line for line in done.stdout.splitlines() if 'planned        0/12' in line]
  assert len(lines) == 8 and all(line.startswith('[sweep]') for line in lines)  # 4 runs, seen twice
  failed = _launch(tmp_path, f'--workdir={tmp_path}/none', f'--store={markov_store}',
                   '--mode=status')
  assert failed.returncode == 1 and 'a worker failed' in failed.stderr
  refused = _launch(tmp_path, '--workdir=gs://b/w', '--executor=vertex')
  assert refused.returncode == 2 and refused.stderr.startswith('error: --image')


def test_xmanager_that_is_missing_is_one_line(tmp_path):
  if importlib.util.find_spec('xmanager') is not None:
    pytest.skip('it is installed')
  failed = _launch(tmp_path, f'--workdir={tmp_path}', module='xm_launch.launch')
  assert failed.returncode == 2 and len(failed.stderr.splitlines()) == 1, failed.stderr
  assert "extra 'xm'" in failed.stderr


@needs_xmanager
@pytest.mark.parametrize('accelerator, machine_spec', [
    (Machine('vertex', 'tpu_v5e', topology='2x4', image='gcr.io/p/i:1'),
     {'machine_type': 'ct5lp-hightpu-8t', 'tpu_topology': '2x4'}),
    (Machine('vertex', 'a100', 2, image='gcr.io/p/i:1'),
     {'machine_type': 'a2-highgpu-2g', 'accelerator_type': 'NVIDIA_TESLA_A100',
      'accelerator_count': 2}),
])
def test_vertex_ai_gets_a_job_a_worker(accelerator, machine_spec, tmp_path, monkeypatch):
  from google import auth
  from google.auth import credentials
  from google.cloud import aiplatform
  from google.cloud import aiplatform_v1 as v1
  from google.cloud.aiplatform import utils
  from xmanager.cloud import auth as xm_auth
  from xmanager.cloud import vertex
  monkeypatch.setattr(vertex, 'get_machine_spec', vertex.get_machine_spec)  # Put back afterwards.
  monkeypatch.setenv('GOOGLE_CLOUD_BUCKET_NAME', 'b')
  with (mock.patch.object(auth, 'default', return_value=(credentials.AnonymousCredentials(), 'p')),
        mock.patch.object(xm_auth, 'get_service_account', return_value='sa'),
        mock.patch.object(utils.ClientWithOverride, 'WrappedClient') as client,
        mock.patch.object(aiplatform.CustomJob, 'resource_name', 'name'),
        mock.patch.object(aiplatform.CustomJob, '_dashboard_uri'),
        _no_data_base(tmp_path)):
    extend(accelerator)
    vertex.set_default_client(vertex.Client('p', 'us-central1'))
    assert experiment.submit(accelerator, SWEEP, 3, 'dcpt') == 0
  calls = client.return_value.create_custom_job.call_args_list
  assert len(calls) == 3 and calls[0].kwargs['parent'] == 'projects/p/locations/us-central1'
  for call in calls:
    [pool] = call.kwargs['custom_job'].job_spec.worker_pool_specs
    assert pool.machine_spec == v1.MachineSpec(machine_spec) and pool.replica_count == 1
    assert pool.container_spec == v1.ContainerSpec(image_uri='gcr.io/p/i:1', args=SWEEP)


@needs_xmanager
@pytest.mark.parametrize('accelerator, limits, labels', [
    (Machine('kubernetes', 'tpu_v6e', topology='2x2', cpu=8, ram_gib=4, image='gcr.io/p/i:1'),
     {'google.com/tpu': '4', 'cpu': '8', 'memory': str(4 * 2**30)},
     {'cloud.google.com/gke-tpu-accelerator': 'tpu-v6e-slice',
      'cloud.google.com/gke-tpu-topology': '2x2'}),
    (Machine('kubernetes', 'h100', 8, image='gcr.io/p/i:1'), {'nvidia.com/gpu': '8'},
     {'cloud.google.com/gke-accelerator': 'nvidia-h100-80gb'}),
])
def test_kubernetes_gets_a_job_a_worker(accelerator, limits, labels, tmp_path, monkeypatch):
  from kubernetes import client as k8s
  from xmanager.cloud import kubernetes
  for name in ('requirements', 'annotations', 'node_selector'):
    monkeypatch.setattr(kubernetes, f'{name}_from_executor',
                        getattr(kubernetes, f'{name}_from_executor'))
  monkeypatch.setattr(kubernetes, 'client', lambda: kubernetes.Client(k8s.ApiClient()))
  extend(accelerator)
  flags.FLAGS.mark_as_parsed()
  with (mock.patch.object(k8s.BatchV1Api, 'create_namespaced_job') as create,
        mock.patch.object(k8s.CoreV1Api, 'list_namespaced_service',
                          return_value=k8s.V1ServiceList(items=[])),
        mock.patch.object(k8s.CoreV1Api, 'create_namespaced_service'), _no_data_base(tmp_path)):
    assert experiment.submit(accelerator, SWEEP, 2, 'dcpt') == 0
  jobs = [call.kwargs['body'] for call in create.call_args_list]
  assert len({job.metadata.name for job in jobs}) == 2
  for job in jobs:
    pod = job.spec.template.spec
    assert pod.node_selector == labels and pod.containers[0].resources.limits == limits
    assert pod.containers[0].image == 'gcr.io/p/i:1' and pod.containers[0].args == SWEEP
  shown = experiment.specification(accelerator, SWEEP, 2)
  assert json.loads(json.dumps(shown)) == shown and shown['limits'] == limits


def _no_data_base(folder):
  from xmanager.xm_local.storage import database
  made = database.Database(database.SqliteConnector,
                           database.sqlite_settings(str(folder / 'experiments.sqlite3')))
  return mock.patch.object(database, 'database', lambda: made)


@pytest.mark.parametrize('asked, words', [
    ({'executor': 'vertex'}, '--image'),
    ({'executor': 'local', 'accelerator': 'h100'}, '--accelerator'),
    ({'executor': 'vertex', 'image': 'gcr.io/p/i', 'accelerator': 'tpu_v4'}, 'tpu_v5e, tpu_v6e'),
    ({'executor': 'kubernetes', 'image': 'gcr.io/p/i', 'accelerator': 'tpu_v5e',
      'topology': '4x4'}, "--tpu_topology: '4x4'.*2x4"),
    ({'executor': 'kubernetes', 'image': 'gcr.io/p/i', 'topology': '2x4'}, 'only TPUs'),
    ({'executor': 'kubernetes', 'image': 'gcr.io/p/i', 'accelerator': 'h1000'}, 'h1000'),
    ({'executor': 'kubernetes', 'image': 'not an image'}, '--image'),
])
def test_a_machine_that_there_is_not_is_refused(asked, words):
  with pytest.raises(InputError, match=words):
    Machine(**asked)


def test_the_sweeps_flags_are_told_from_the_launchers():
  known = flags.FlagValues()
  for name in ('name', 'config', 'pack', 'count'):
    flags.DEFINE_string(name, None, '', flag_values=known)
  for name in ('spot', 'json'):
    flags.DEFINE_bool(name, False, '', flag_values=known)
  given = ['--name', 'x', '--spot', '--config', 'c.py', '--nospot', '--json', '--pack=4',
           '--config.base.seed=-1', '--xm_x=1', '--nojson', '--count=2']
  assert arguments.of_sweep(given, {'name', 'spot', 'count'}, known) == [
      '--config', 'c.py', '--json', '--pack=4', '--config.base.seed=-1', '--nojson']
