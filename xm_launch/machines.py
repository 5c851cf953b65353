"""The machine of a work unit, and what XManager's executors are told of it.

XManager 0.8.5 knows TPUs up to v3 on Vertex AI, none on today's Kubernetes clusters, and writes the
labels of GPUs after the V100 wrongly there. `extend` teaches it those, in the three functions that
it asks; the rest of its specifications stays its own.

  TPU    Kubernetes: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
         Vertex AI:  https://cloud.google.com/vertex-ai/docs/training/configure-compute
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from scaling.errors import InputError, bad

# Of a TPU generation: label in Kubernetes, machine on Vertex AI ('' where it has none), and the
# topologies of one host. A slice of several hosts is no work unit: see xm_launch/tpu_vm.py.
TPUS = {
    'tpu_v4': ('tpu-v4-podslice', '', ('2x2x1',)),
    'tpu_v5e': ('tpu-v5-lite-podslice', 'ct5lp-hightpu-{chips}t', ('1x1', '2x2', '2x4')),
    'tpu_v5p': ('tpu-v5p-slice', '', ('2x2x1',)),
    'tpu_v6e': ('tpu-v6e-slice', 'ct6e-standard-{chips}t', ('1x1', '2x2', '2x4')),
}
GPUS = {  # name of XManager: label in Kubernetes
    'p4': 'nvidia-tesla-p4', 't4': 'nvidia-tesla-t4', 'p100': 'nvidia-tesla-p100',
    'v100': 'nvidia-tesla-v100', 'l4_24th': 'nvidia-l4', 'a100': 'nvidia-tesla-a100',
    'a100_80gib': 'nvidia-a100-80gb', 'h100': 'nvidia-h100-80gb', 'h200': 'nvidia-h200-141gb',
    'b200': 'nvidia-b200',
}
EXECUTORS = ('local', 'vertex', 'kubernetes')


@dataclasses.dataclass(frozen=True)
class Machine:
  """What one worker runs on."""

  executor: str
  accelerator: str = ''  # a key of TPUS or GPUS; '': none
  count: int = 1  # of GPUs
  topology: str = ''  # of a TPU slice
  cpu: int = 0  # cores; 0: the executor's default
  ram_gib: int = 0
  image: str = ''

  def __post_init__(self) -> None:
    if self.executor == 'local':
      for flag, value in (('accelerator', self.accelerator), ('image', self.image),
                          ('tpu_topology', self.topology)):
        if value:
          raise bad(f'--{flag}', value, '--executor=local runs on what this machine has')
      return
    if not self.image:
      raise InputError(f'--image: this flag must be given with --executor={self.executor} '
                       '(REGISTRY/NAME:TAG, made with xm_launch/Dockerfile)')
    if not re.fullmatch(r'[a-z0-9.\-:]+(/[\w.\-]+)+(:[\w.\-]+|@sha256:[0-9a-f]{64})?', self.image):
      raise bad('--image', self.image, 'an image is written as REGISTRY/NAME:TAG')
    if self.accelerator in TPUS:
      allowed = TPUS[self.accelerator][2]
      if self.executor == 'vertex' and not TPUS[self.accelerator][1]:
        there = [name for name, (_, machine, _) in TPUS.items() if machine]
        raise bad('--accelerator', self.accelerator, f'Vertex AI trains on {", ".join(there)}')
      if self.topology not in allowed:
        raise bad('--tpu_topology', self.topology, f'one host of {self.accelerator} is '
                  f'{" or ".join(allowed)}; larger slices start with xm_launch.tpu_vm')
    elif self.topology:
      raise bad('--tpu_topology', self.topology, f'only TPUs have one: --accelerator is one of '
                f'{", ".join(TPUS)}')
    elif self.accelerator and self.accelerator not in GPUS:
      raise bad('--accelerator', self.accelerator, f'it must be one of {", ".join([*GPUS, *TPUS])}')

  @property
  def chips(self) -> int:
    return math.prod(int(n) for n in self.topology.split('x')) if self.topology else self.count

  def requirements(self) -> Any:
    """As xm.JobRequirements."""
    from xmanager import xm  # pylint: disable=import-outside-toplevel
    asked: dict[str, Any] = {}
    if self.accelerator:
      asked[self.accelerator] = self.topology or self.count
    if self.cpu:
      asked['cpu'] = self.cpu
    if self.ram_gib:
      asked['ram'] = self.ram_gib * xm.GiB
    return xm.JobRequirements(**asked)


def extend(machine: Machine) -> None:
  """Teaches XManager's executor of a machine what it does not know of TPUs and GPUs."""
  if machine.executor == 'vertex' and machine.accelerator in TPUS:
    from xmanager.cloud import vertex  # pylint: disable=import-outside-toplevel
    vertex.get_machine_spec = lambda job: {
        'machine_type': TPUS[machine.accelerator][1].format(chips=machine.chips),
        'tpu_topology': machine.topology}
  elif machine.executor == 'kubernetes' and machine.accelerator:
    from xmanager.cloud import kubernetes  # pylint: disable=import-outside-toplevel
    if machine.accelerator in GPUS:
      labels = {'cloud.google.com/gke-accelerator': GPUS[machine.accelerator]}
    else:
      labels = {'cloud.google.com/gke-tpu-accelerator': TPUS[machine.accelerator][0],
                'cloud.google.com/gke-tpu-topology': machine.topology}
      plain = dataclasses.replace(machine, accelerator='', topology='').requirements()
      ask = kubernetes.requirements_from_executor

      def with_chips(executor: Any) -> Any:
        found = ask(type(executor)(plain))
        found.limits['google.com/tpu'] = str(machine.chips)
        return found

      kubernetes.requirements_from_executor = with_chips
      kubernetes.annotations_from_executor = lambda executor: {}  # Of the TPU nodes before VMs.
    kubernetes.node_selector_from_executor = lambda executor: labels
