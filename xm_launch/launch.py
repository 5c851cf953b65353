"""Launcher for XManager: N workers on one study, one work unit each.

  xmanager launch xm_launch/launch.py -- --config=configs/dcpt.py --workdir=gs://BUCKET/dcpt \
    --executor=vertex --workers=8 --accelerator=tpu_v5e --tpu_topology=2x4 --image=IMAGE --project=P

All flags that are not the launcher's go to every worker's `scaling.sweep` as they were given. The
workers share the runs through leases in the workdir, so it does not matter how many there are, nor
which of them are lost: launch again, and what is missing is trained.

--executor=local starts processes of this machine and waits for them; vertex and kubernetes submit
and return. --dry_run prints what would be submitted.
"""

from __future__ import annotations

import json
import os
import sys

if __name__ == 'launch':  # xmanager imports a launch script by its file name, and tells it flags.
  sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  from xmanager import xm_flags  # noqa: F401
  from xmanager.xm import utils  # noqa: F401

from absl import flags

import scaling.sweep  # noqa: F401  Its flags are handed on, so they must be known here.
from scaling import cli, files
from scaling.errors import DONE, InputError
from xm_launch import arguments, experiment
from xm_launch.machines import EXECUTORS, Machine, extend

_EXECUTOR = flags.DEFINE_enum('executor', 'local', EXECUTORS, 'Where the workers run.')
_WORKERS = flags.DEFINE_integer('workers', 1, 'How many.', lower_bound=1)
_ACCELERATOR = flags.DEFINE_string('accelerator', '', 'TPU or GPU of a worker: tpu_v5e, h100, ...')
_COUNT = flags.DEFINE_integer('gpus', 1, 'GPUs of a worker.', lower_bound=1)
_TOPOLOGY = flags.DEFINE_string('tpu_topology', '', 'Shape of a TPU slice, such as 2x4.')
_CPU = flags.DEFINE_integer('cpu', 0, 'Cores of a worker.', lower_bound=0)
_RAM = flags.DEFINE_integer('ram_gib', 0, 'Memory of a worker.', lower_bound=0)
_IMAGE = flags.DEFINE_string('image', '', 'Container image, REGISTRY/NAME:TAG.')
_PROJECT = flags.DEFINE_string('project', '', "Google Cloud project; default: the credentials'.")
_LOCATION = flags.DEFINE_string('location', 'us-central1', 'Region of Vertex AI.')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the specification and launch nothing.')
OWN = frozenset(holder.name for holder in (
    _EXECUTOR, _WORKERS, _ACCELERATOR, _COUNT, _TOPOLOGY, _CPU, _RAM, _IMAGE, _PROJECT, _LOCATION,
    _DRY_RUN))


def main(argv: list[str]) -> int:
  """What `xmanager launch` calls, the flags parsed; returns the exit code."""
  return cli.guarded(launch, argv)


def launch(argv: list[str]) -> int:
  del argv
  machine = Machine(_EXECUTOR.value, _ACCELERATOR.value, _COUNT.value, _TOPOLOGY.value, _CPU.value,
                    _RAM.value, _IMAGE.value)
  config, workdir = flags.FLAGS['config'], flags.FLAGS['workdir'].value
  if config.value is None or not workdir:
    raise InputError(f'--{"workdir" if config.value else "config"}: this flag must be given')
  if machine.executor != 'local':
    arguments.check_config(cli.filename(config))
    arguments.check_workdir(workdir, _WORKERS.value)
  try:
    from xmanager import xm  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import
  except ImportError:
    raise InputError("xmanager is not installed: it comes with the extra 'xm': "
                     "pip install -e '.[xm]'") from None
  given = sys.argv[1:]
  if '--' in given:  # xmanager launch xm_launch/launch.py -- FLAGS
    given = given[given.index('--') + 1:]
  sweep = arguments.of_sweep(given, OWN)
  extend(machine)
  if _DRY_RUN.value:
    print(json.dumps(experiment.specification(machine, sweep, _WORKERS.value), indent=2))
    return DONE
  _prepare(machine, workdir)
  return experiment.submit(machine, sweep, _WORKERS.value, config.value.name)


def _prepare(machine: Machine, workdir: str) -> None:
  """Raises InputError where nothing could be submitted, or no worker could write."""
  if '://' in workdir:
    files.check_writable(workdir)
  if machine.executor == 'vertex':
    from xmanager.cloud import auth, vertex  # pylint: disable=import-outside-toplevel
    try:
      project = _PROJECT.value or auth.get_project_name()
    except Exception as error:  # Of google.auth, which has many.
      raise InputError(f'--project: no project is known ({str(error).splitlines()[0]})') from None
    if not project:
      raise InputError('--project: this flag must be given (the credentials name no project)')
    if workdir.startswith('gs://'):  # For what Vertex AI stages.
      os.environ.setdefault('GOOGLE_CLOUD_BUCKET_NAME', workdir.split('/')[2])
    vertex.set_default_client(vertex.Client(project, _LOCATION.value))
  elif machine.executor == 'kubernetes':
    from xmanager.cloud import kubernetes  # pylint: disable=import-outside-toplevel
    try:
      kubernetes.client()
    except Exception as error:
      raise InputError('--executor=kubernetes: no cluster is configured (kubectl config '
                       f'get-contexts): {error}') from None


if __name__ == '__main__':
  cli.run(launch, need=('config', 'workdir'))
