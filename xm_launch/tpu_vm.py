"""Entry point: a study on TPU VMs, through gcloud. Each VM (or pod slice) is one worker.

  python -m xm_launch.tpu_vm --action=create,copy,start,watch --name=dcpt --count=8 --spot \
    --project=P --zone=us-west4-a --type=v5litepod-8 --version=v2-alpha-tpuv5-lite \
    --config=configs/dcpt.py --workdir=gs://BUCKET/dcpt --store=/home/me/tokens

  create   the VMs NAME-0 .. NAME-(count-1), where they are not there yet
  copy     this source tree to all hosts, and install it there
  start    the sweep on all hosts, with all flags that are not this command's own
  logs     of every VM's first host, until its sweep ends
  watch    looks every --poll seconds: a VM that is gone is made, filled and started again, a sweep
           that was stopped is started again, until all have ended
  stop     SIGTERM to the sweeps: they save, free their runs and end
  delete   the VMs

With --dry_run the commands are printed and nothing is run. Exit codes: 0 done, 1 some runs failed
or a command did, 2 bad input, 3 interrupted: the sweeps go on, run the same command again.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

from absl import flags

import scaling.sweep  # noqa: F401  Its flags are handed on, so they must be known here.
from scaling import cli
from scaling.errors import BAD_INPUT, DONE, FAILED, InputError, bad
from xm_launch import arguments
from xm_launch.gcloud import LOST, READY, CommandFailed, Place, Runner

ACTIONS = ('create', 'copy', 'start', 'logs', 'watch', 'stop', 'delete')
_ACTION = flags.DEFINE_list('action', None, f'What to do, in this order: {", ".join(ACTIONS)}.')
_NAME = flags.DEFINE_string('name', None, 'What the VMs are called: NAME-0, NAME-1, ...')
_COUNT = flags.DEFINE_integer('count', 1, 'How many VMs, or pod slices.', lower_bound=1)
_PROJECT = flags.DEFINE_string('project', None, "Google Cloud project; default: gcloud's own.")
_ZONE = flags.DEFINE_string('zone', None, 'Zone, such as us-west4-a.')
_TYPE = flags.DEFINE_string('type', '', 'Accelerator type, such as v5litepod-8.')
_VERSION = flags.DEFINE_string('version', '', 'Runtime version, such as v2-alpha-tpuv5-lite.')
_SPOT = flags.DEFINE_bool('spot', False, 'Preemptible VMs, at a fraction of the price.')
_NETWORK = flags.DEFINE_string('network', '', 'Network of the VMs; default: the default one.')
_ACCOUNT = flags.DEFINE_string('service_account', '', 'Service account of the VMs, which has to be '
                               'allowed to read and write the bucket.')
_INSTALL = flags.DEFINE_string(
    'install', 'python3 -m pip install --quiet --user uv && U="python3 -m uv" && '
    '$U venv --quiet --python 3.11 .venv && '
    "$U pip install --quiet --python .venv/bin/python -c constraints.txt -e '.[tpu,bucket]'",
    'How a host installs the source tree it is in: a shell command that makes .venv/bin/python.')
_POLL = flags.DEFINE_float('poll', 60.0, 'Seconds between two looks of watch.', lower_bound=0.01)
_RESTARTS = flags.DEFINE_integer('restarts', 1000, 'How often watch starts one VM again at most.')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the commands and run nothing.')
OWN = frozenset(holder.name for holder in (
    _ACTION, _NAME, _COUNT, _PROJECT, _ZONE, _TYPE, _VERSION, _SPOT, _NETWORK, _ACCOUNT, _INSTALL,
    _POLL, _RESTARTS, _DRY_RUN))

FOLDER = 'scaling-laws'  # on the hosts, in the home folder
_PRESENT = 'kill -0 "$(cat sweep.pid)" 2>/dev/null'


def main(argv: list[str]) -> int:
  del argv
  actions = list(_ACTION.value or ())
  _check_flags(actions)
  runner = Runner(_DRY_RUN.value)
  place = Place(_PROJECT.value or _own_project(runner), str(_ZONE.value), _TYPE.value,
                _VERSION.value, _SPOT.value, _NETWORK.value, _ACCOUNT.value)
  fleet = Fleet(place, runner, tuple(f'{_NAME.value}-{i}' for i in range(_COUNT.value)),
                arguments.of_sweep(sys.argv[1:], OWN))
  try:
    if {'create', 'start'} & set(actions):
      _check_bucket(runner, flags.FLAGS['workdir'].value)
    for action in actions:
      code = getattr(fleet, action)()
      if code:
        return code
  except CommandFailed as error:
    print(f'error: {error}', file=sys.stderr)
    return FAILED
  return DONE


def _check_flags(actions: list[str]) -> None:
  for action in actions:
    if action not in ACTIONS:
      raise bad('--action', action, f'it must be of {", ".join(ACTIONS)}')
  if not re.fullmatch(r'[a-z]([-a-z0-9]{0,50}[a-z0-9])?', str(_NAME.value)):
    raise bad('--name', _NAME.value, 'it must be lower case letters, digits and dashes')
  if not re.fullmatch(r'[a-z]+-[a-z]+\d+-[a-z]', str(_ZONE.value)):
    raise bad('--zone', _ZONE.value, 'a zone is written as us-west4-a')
  if {'create', 'watch'} & set(actions):
    for holder in (_TYPE, _VERSION):
      if not holder.value:
        raise InputError(f'--{holder.name}: this flag must be given '
                         f'({flags.FLAGS[holder.name].help})')
  if {'start', 'watch'} & set(actions):
    if flags.FLAGS['config'].value is None:
      raise InputError('--config: this flag must be given (the study\'s file)')
    arguments.check_config(cli.filename(flags.FLAGS['config']))
    workdir = flags.FLAGS['workdir'].value
    if not workdir:
      raise InputError('--workdir: this flag must be given (gs://BUCKET/FOLDER)')
    arguments.check_workdir(workdir, _COUNT.value)


def _own_project(runner: Runner) -> str:
  problem = InputError('--project: this flag must be given (no project is set in gcloud either)')
  if runner.dry:
    raise problem
  try:
    found = runner.run(['gcloud', 'config', 'get-value', 'project']).strip()
  except CommandFailed:
    found = ''
  if not found or found == '(unset)':
    raise problem
  return found


def _check_bucket(runner: Runner, workdir: str | None) -> None:
  """Raises InputError unless whoever runs this may write to the study's bucket."""
  if not (workdir or '').startswith('gs://'):
    return
  probe = f'{workdir}/.probe'
  try:
    runner.run(['gcloud', 'storage', 'cp', '-', probe], text='may I write here?')
    runner.run(['gcloud', 'storage', 'rm', probe])
  except CommandFailed as error:
    raise bad('--workdir', workdir, f'it may not be written to: {error}') from None


class Fleet:
  """The VMs of one study, and what can be done to all of them at once."""

  def __init__(self, place: Place, runner: Runner, names: tuple[str, ...], sweep: list[str]):
    self.place, self.runner, self.names = place, runner, names
    self._sweep = shlex.join(['.venv/bin/python', '-m', 'scaling.sweep', *sweep])
    self._archive = os.path.join(tempfile.gettempdir(), f'{names[0]}.tar.gz')

  def _each(self, do: Callable[[str], object]) -> None:
    """Does it to all VMs at once, to the end, and raises what the first failing one raised."""
    workers = 1 if self.runner.dry else min(len(self.names), 32)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      jobs = [pool.submit(do, name) for name in self.names]
    for job in jobs:
      job.result()

  def states(self) -> Mapping[str, str]:
    lines = (line.split() for line in self.runner.run(self.place.states()).splitlines())
    return {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in self.names}

  def create(self) -> None:
    there = self.states()
    self._each(lambda name: self._make(name, there.get(name, '')))

  def _make(self, name: str, state: str) -> None:
    if state in LOST:
      self.runner.run(self.place.delete(name))
    if not state or state in LOST:
      self.runner.run(self.place.create(name))
      self.runner.say(f'{name}: created')

  def copy(self) -> None:
    self._pack()
    self._each(self._fill)

  def _pack(self) -> None:
    self.runner.run(['tar', '-czf', self._archive, '-C', arguments.ROOT, '--exclude=__pycache__',
                     *arguments.SOURCES])

  def _fill(self, name: str) -> None:
    self.runner.run(self.place.scp(name, self._archive, f'{FOLDER}.tar.gz'))
    self.runner.run(self.place.ssh(
        name, f'mkdir -p {FOLDER} && tar -xzf {FOLDER}.tar.gz -C {FOLDER} && cd {FOLDER} && '
        f'{_INSTALL.value}'))
    self.runner.say(f'{name}: copied and installed')

  def start(self) -> None:
    self._each(self._start)

  def _start(self, name: str) -> None:
    """On all hosts; does nothing on one where it runs already."""
    inner = f'trap : TERM; {self._sweep}; echo $? > sweep.rc'  # A signal is the sweep's to handle.
    self.runner.run(self.place.ssh(
        name, f'cd {FOLDER} && {{ {_PRESENT} && exit 0; rm -f sweep.rc; nohup setsid sh -c '
        f'{shlex.quote(inner)} >> sweep.log 2>&1 < /dev/null & echo $! > sweep.pid; }}'))
    self.runner.say(f'{name}: started')

  def logs(self) -> None:
    command = f'cd {FOLDER} && tail -n +1 --pid="$(cat sweep.pid)" -F sweep.log'
    self._each(lambda name: self.runner.follow(self.place.ssh(name, command, '0'), f'{name}: '))

  def stop(self) -> None:
    command = f'cd {FOLDER} && kill -TERM -- "-$(cat sweep.pid)"'
    self._each(lambda name: self.runner.run(self.place.ssh(name, command)))

  def delete(self) -> None:
    there = self.names if self.runner.dry else self.states()
    self._each(lambda name: name in there and self.runner.run(self.place.delete(name)))

  def watch(self) -> int:
    """Keeps the fleet at work until every sweep has ended; the worst of their exit codes."""
    self._pack()
    ended: dict[str, int] = {}
    restarts = dict.fromkeys(self.names, 0)
    while True:
      try:
        states = self.states()
      except CommandFailed as error:  # The network may be back at the next look.
        self.runner.say(str(error))
        states = dict.fromkeys(self.names, 'UNKNOWN')
      for name in self.names:
        if name in ended:
          continue
        try:
          code = self._look(name, states.get(name, ''), restarts)
        except CommandFailed as error:  # No capacity now, or lost while we looked.
          self.runner.say(f'{name}: {error}')
          continue
        if code is not None:
          ended[name] = code
          self.runner.say(f'{name}: ended with exit code {code}')
      if len(ended) == len(self.names) or BAD_INPUT in ended.values() or self.runner.dry:
        return max(ended.values(), default=DONE)
      time.sleep(_POLL.value)

  def _look(self, name: str, state: str, restarts: dict[str, int]) -> int | None:
    """The exit code of a VM's sweep once it has ended for good; brings back what is lost."""
    found = self._progress(name) if state == READY or self.runner.dry else []
    if state == READY and ('running' in found or not found):
      return None
    codes = [int(word) for word in found if word.isdigit()]
    if codes and len(codes) == len(found) and max(codes) in (DONE, FAILED, BAD_INPUT):
      return max(codes)
    if not (state == READY or state == '' or state in LOST):
      return None  # It is being made, or repaired.
    if restarts[name] >= _RESTARTS.value:
      raise InputError(f'{name}: it has been started again {restarts[name]} times (--restarts)')
    restarts[name] += 1
    if state != READY:
      self.runner.say(f'{name}: {state.lower() or "not there"}, making it again')
      self._make(name, state)
    if state != READY or 'empty' in found:
      self._fill(name)
    self._start(name)
    return None

  def _progress(self, name: str) -> list[str]:
    """Of every host of a VM: its sweep's exit code, 'running', 'stopped' without one, or 'empty'
    when nothing is installed there."""
    out = self.runner.run(self.place.ssh(
        name, f'cd {FOLDER} 2>/dev/null && [ -x .venv/bin/python ] && echo "sweep: $(cat sweep.rc '
        f'2>/dev/null || {{ {_PRESENT} && echo running || echo stopped; }})" '
        '|| echo "sweep: empty"'))
    return re.findall(r'^sweep: (\S+)$', out, re.MULTILINE)


if __name__ == '__main__':
  cli.run(main, need=('action', 'name', 'zone'))
