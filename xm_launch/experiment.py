"""Work units of XManager: what is submitted to an executor, one a worker."""

from __future__ import annotations

import os
import sys
from typing import Any

from scaling.errors import DONE, FAILED
from xm_launch import arguments
from xm_launch.machines import Machine


def submit(machine: Machine, sweep: list[str], workers: int, title: str) -> int:
  """Adds a work unit a worker to a new experiment; local ones are waited for."""
  from xmanager import xm, xm_local  # pylint: disable=import-outside-toplevel
  try:
    with xm_local.create_experiment(experiment_title=title) as experiment:
      executable = _executable(machine, sweep, experiment)
      for _ in range(workers):
        experiment.add(xm.Job(executable, executor(machine), name='sweep'))
  except RuntimeError as error:  # A worker's exit code, which it has explained itself.
    print(f'error: a worker failed: {error}', file=sys.stderr)
    return FAILED
  return DONE


def executor(machine: Machine) -> Any:
  from xmanager import xm_local  # pylint: disable=import-outside-toplevel
  kind = {'local': xm_local.Local, 'vertex': xm_local.Vertex, 'kubernetes': xm_local.Kubernetes}
  return kind[machine.executor](machine.requirements())


def _executable(machine: Machine, sweep: list[str], experiment: Any) -> Any:
  """The interpreter of this machine, or the image; its entry point is scaling.sweep."""
  from xmanager import xm, xm_local  # pylint: disable=import-outside-toplevel
  from xmanager.xm_local import executables  # pylint: disable=import-outside-toplevel
  if machine.executor != 'local':
    return executables.GoogleContainerRegistryImage(
        name='sweep', image_path=machine.image, args=xm.SequentialArgs.from_collection(sweep))
  path = os.pathsep.join(filter(None, (arguments.ROOT, os.environ.get('PYTHONPATH'))))
  [found] = experiment.package([xm.binary(
      executor_spec=xm_local.Local.Spec(), path=sys.executable,
      args=['-m', 'scaling.sweep', *sweep], env_vars={'PYTHONPATH': path})])
  return found


def specification(machine: Machine, sweep: list[str], workers: int) -> dict[str, Any]:
  """What a worker is asked for with, in the executor's own terms; needs no network."""
  found: dict[str, Any] = {'executor': machine.executor, 'workers': workers,
                           'args': ['-m', 'scaling.sweep', *sweep]}
  if machine.executor == 'local':
    return {**found, 'command': sys.executable}
  from xmanager import xm  # pylint: disable=import-outside-toplevel
  found.update(image=machine.image, args=sweep)
  job = xm.Job(_executable(machine, sweep, None), executor(machine), name='sweep')
  if machine.executor == 'vertex':
    from google.cloud import aiplatform_v1  # pylint: disable=import-outside-toplevel
    from xmanager.cloud import vertex  # pylint: disable=import-outside-toplevel
    spec = aiplatform_v1.MachineSpec(vertex.get_machine_spec(job))
    return {**found, 'machine_spec': aiplatform_v1.MachineSpec.to_dict(
        spec, use_integers_for_enums=False)}
  from xmanager.cloud import kubernetes  # pylint: disable=import-outside-toplevel
  return {**found, 'node_selector': kubernetes.node_selector_from_executor(job.executor),
          'limits': kubernetes.requirements_from_executor(job.executor).limits}
