"""The gcloud commands of TPU VMs, as argument lists, and running them.

  gcloud compute tpus tpu-vm {create,delete,list,ssh,scp}
  https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm

A TPU VM is one name, be it a single host or a pod slice; `ssh` and `scp` reach all its hosts
(--worker=all). Nothing here decides anything: tpu_vm.py does.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import threading
from collections.abc import Sequence

from scaling.errors import InputError

READY = 'READY'
# States that an instance does not leave by itself: it has to be made anew.
LOST = ('PREEMPTED', 'TERMINATED', 'STOPPED', 'FAILED', 'SUSPENDED')


class CommandFailed(RuntimeError):
  """A command that ended with an error: `str` is one line with the last thing it said."""


@dataclasses.dataclass(frozen=True)
class Place:
  """Where the TPU VMs are, and what they are."""

  project: str
  zone: str
  type: str = ''  # v5litepod-8
  version: str = ''  # the runtime: v2-alpha-tpuv5-lite
  spot: bool = False
  network: str = ''
  service_account: str = ''

  def _command(self, verb: str, *arguments: str) -> list[str]:
    return ['gcloud', 'compute', 'tpus', 'tpu-vm', verb, *arguments,
            f'--project={self.project}', f'--zone={self.zone}', '--quiet']

  def create(self, name: str) -> list[str]:
    more = [f'--{flag}={value}' for flag, value in (
        ('network', self.network), ('service-account', self.service_account)) if value]
    return [*self._command('create', name), f'--accelerator-type={self.type}',
            f'--version={self.version}', *(['--spot'] if self.spot else []), *more]

  def delete(self, name: str) -> list[str]:
    return self._command('delete', name)

  def states(self) -> list[str]:
    """Prints a line `name state` for every TPU VM of the zone."""
    return [*self._command('list'), '--format=value(name.basename(),state)']

  def ssh(self, name: str, command: str, worker: str = 'all') -> list[str]:
    return [*self._command('ssh', name), f'--worker={worker}', f'--command={command}']

  def scp(self, name: str, source: str, target: str) -> list[str]:
    return [*self._command('scp', source, f'{name}:{target}'), '--worker=all']


class Runner:
  """Runs commands, or with `dry` prints them as a shell would take them."""

  def __init__(self, dry: bool):
    self.dry = dry
    self._lock = threading.Lock()

  def say(self, text: str) -> None:
    with self._lock:
      print(text, flush=True)

  def run(self, command: Sequence[str], text: str | None = None) -> str:
    """What the command printed. Raises CommandFailed, or InputError where there is no such program.

    text: what it reads.
    """
    if self.dry:
      self.say(('' if text is None else f'echo {shlex.quote(text)} | ') + shlex.join(command))
      return ''
    try:
      done = subprocess.run(list(command), input=text or '', capture_output=True, text=True)
    except FileNotFoundError:
      raise missing(command[0]) from None
    if done.returncode:
      said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
      errors = [line for line in said if line.startswith('ERROR')] or said[-1:]
      raise CommandFailed(f'{shlex.join(command[:6])}: '
                          f'{" ".join(errors) or f"exit code {done.returncode}"}')
    return done.stdout

  def follow(self, command: Sequence[str], prefix: str) -> None:
    """Prints what a command prints, as it does so, each line behind `prefix`."""
    if self.dry:
      self.say(shlex.join(command))
      return
    try:
      process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
      raise missing(command[0]) from None
    assert process.stdout is not None
    for line in process.stdout:
      self.say(f'{prefix}{line.rstrip()}')
    process.wait()


def missing(program: str) -> InputError:
  hint = ': install the Google Cloud SDK, https://cloud.google.com/sdk' * (program == 'gcloud')
  return InputError(f'{program}: there is no such program on the PATH{hint}')
