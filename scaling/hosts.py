"""Several processes as one worker: how they find each other, and what the first tells the others.

Process 0 leads. It alone claims runs, decides, and writes; the others hear from it, call by call,
what to do with their part of every array (scaling/train/shared.py, follow.py), so that no decision
is taken twice. Calls go through the key-value store of JAX's coordination service, on the host's
network. A process that dies takes the rest with it: its neighbours' collectives fail at once, or
the service misses its heartbeat.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from scaling.errors import BAD_INPUT, FAILED, STOPPED, InputError

METHODS = ('tpu', 'slurm')  # environments that say by themselves who the processes are

SILENCE = 30  # seconds without a heartbeat after which a process counts as dead
COMPILATION = 7200  # seconds that one process may compile for longer than another
KEPT = 512  # calls that stay in the store; nobody lags by as many

# What jax and its transports say when another process is gone.
_GONE = ('gloo', 'unavailable', 'connection', 'socket', 'coordination', 'heartbeat', 'peer',
         'aborted', 'nccl', 'deadline')


class HostLost(RuntimeError):
  """Another process is gone, so this one cannot go on."""


class Hosts:
  """This process among those that train together."""

  def __init__(self, client: Any, index: int, count: int):
    self._client, self.index, self.count = client, index, count
    self._calls = self._met = 0
    self._looked, self._asked = -1.0, False

  @property
  def leads(self) -> bool:
    return self.index == 0

  def tell(self, call: str, **values: Any) -> None:
    """The next thing that all others do."""
    text = json.dumps({'call': call, **values})
    self._client.key_value_set_bytes(f'scaling/call/{self._calls}', text.encode())
    if self._calls >= KEPT:
      self._client.key_value_delete(f'scaling/call/{self._calls - KEPT}')
    self._calls += 1

  def hear(self, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """The next call; a stop asked for in this process is passed on while it waits."""
    while True:
      if stopping() and not self._asked:
        self._asked = True
        self._client.key_value_set(f'scaling/stop/{self.index}', 'asked', allow_overwrite=True)
      try:
        text = self._client.blocking_key_value_get_bytes(f'scaling/call/{self._calls}', 500)
      except Exception as error:
        if 'DEADLINE_EXCEEDED' in str(error):
          continue
        raise HostLost(f'process 0 of {self.count} cannot be reached') from error
      self._calls += 1
      return json.loads(text)

  def meet(self) -> None:
    """Waits for all others here: gloo gives up on who first uses a group of devices half a minute
    after it, and one process may compile where another reads a cache, or has less of its cores."""
    self._client.wait_at_barrier(f'scaling/meet/{self._met}', COMPILATION * 1000)
    self._met += 1

  def stop_asked(self) -> bool:
    """Whether any other process was asked to stop; looks twice a second."""
    now = time.monotonic()
    if not self._asked and now - self._looked > 0.5:
      self._looked = now
      self._asked = bool(self._client.key_value_dir_get('scaling/stop/'))
    return self._asked


def join(method: str | None, coordinator: str | None = None, processes: int | None = None,
         process: int | None = None, patience: int = 300) -> Hosts:
  """Waits for all processes, `patience` seconds at most; before anything else uses JAX.

  `method`, one of METHODS, asks the environment of a TPU VM or a Slurm step; None: `coordinator`
  (host:port of process 0), the number of processes and this one's number say it all.
  """
  import jax  # pylint: disable=import-outside-toplevel
  from jax._src import clusters, distributed  # pylint: disable=import-outside-toplevel
  detected: str | None = 'deactivate'
  if method is None:
    check(coordinator, processes, process)
  elif method == 'slurm':
    detected = 'slurm'
    if not clusters.SlurmCluster.is_env_present():
      raise InputError('--hosts=slurm: this is no step of a Slurm job; start it with srun')
  else:
    detected = None
    if not (clusters.GceTpuCluster.is_env_present() or clusters.GkeTpuCluster.is_env_present()):
      raise InputError('--hosts=tpu: this is no TPU VM')
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.config.update('jax_enable_preemption_service', False)  # It takes SIGTERM for itself.
  try:
    jax.distributed.initialize(
        coordinator, processes, process, cluster_detection_method=detected,
        initialization_timeout=patience, heartbeat_timeout_seconds=SILENCE,
        shutdown_timeout_seconds=SILENCE)
    jax.devices()  # They tell each other what they have: all at once, or nobody.
  except Exception as error:  # jaxlib has its own kinds.
    said = ' '.join(str(error).split())[:200]
    raise InputError(f'the processes do not find each other within {patience} s: {said}') from None
  state = distributed.global_state
  return Hosts(state.client, state.process_id, state.num_processes)


def check(coordinator: str | None, processes: int | None, process: int | None) -> None:
  """Raises InputError unless the three flags say who the processes are."""
  for flag, value in (('coordinator', coordinator), ('processes', processes),
                      ('process', process)):
    if value is None:
      raise InputError(f'--{flag}: it must be given with the others of --coordinator, --processes '
                       'and --process')
  assert coordinator is not None and processes is not None and process is not None
  if not coordinator.rpartition(':')[0] or not coordinator.rpartition(':')[2].isdecimal():
    raise InputError(f'--coordinator: {coordinator!r} is not allowed; it is host:port of process 0')
  if not 0 <= process < processes:
    raise InputError(f'--process: {process} is not allowed; it must lie in [0, {processes})')


def together(hosts: Hosts, lead: Callable[[], int], follow: Callable[[], int]) -> int:
  """Leads or follows, and returns the exit code, in all processes or, after an error, not at all.

  After an error nobody is waited for; the others notice, at the latest when the heartbeat stops.
  """
  import jax  # pylint: disable=import-outside-toplevel
  try:
    if not hosts.leads:
      code = follow()
    else:
      try:
        code = lead()
      except (InputError, OSError) as error:  # A full disk; the command says it in one line.
        with contextlib.suppress(Exception):  # The error itself is what the user must see.
          hosts.tell('end', code=BAD_INPUT if isinstance(error, InputError) else FAILED)
          jax.distributed.shutdown()
        raise
      hosts.tell('end', code=code)
    jax.distributed.shutdown()
    return code
  except (InputError, OSError):
    raise
  except Exception as error:
    code = STOPPED
    if _lost(error):
      print(f'error: process {hosts.index} of {hosts.count} has lost another one '
            f'({" ".join(str(error).split())[:200]}); run the same command again in all of them',
            file=sys.stderr)
    else:
      traceback.print_exc()
      code = FAILED
    sys.stderr.flush()
    os._exit(code)


def _lost(error: BaseException) -> bool:
  """Whether an error says that another process is gone."""
  text = str(error).lower()
  return isinstance(error, HostLost) or any(word in text for word in _GONE)
