"""Entry point: plan, train or look at a study.

  python -m scaling.sweep --config=configs/quickstart.py --workdir=DIR [--mode=plan|run|status]

Running the same command again is always safe and does only what is missing. Exit codes: 0 done,
1 some runs failed (they are listed), 2 bad input, 3 stopped by a signal (run the command again).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from absl import flags
from ml_collections import config_flags

from scaling import (
  accounting,
  cli,
  files,
  preemption,
  prefixes,
  runs,
  segments,
  stages,
  status,
  study,
  trackers,
  usage,
)
from scaling import hosts as hosts_of
from scaling.data import token_store
from scaling.errors import DONE, FAILED, STOPPED, InputError, bad
from scaling.leases import Worker
from scaling.runs import Run
from scaling.specs import RunSpec

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The study: a file with get_config().')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where runs, checkpoints and programs are kept.')
_STORE = flags.DEFINE_string('store', None, 'The token stores; default: WORKDIR/tokens.')
_MODE = flags.DEFINE_enum('mode', 'run', ['plan', 'run', 'status'], 'What to do.')
_KEEP = flags.DEFINE_enum('keep', 'final', ['final', 'all', 'none'],
                          'Which checkpoints of a finished run stay.')
_RETRY_FAILED = flags.DEFINE_bool('retry_failed', False, 'Train diverged and broken runs again.')
_JSON = flags.DEFINE_bool('json', False, 'Print one JSON object in place of a table.')
_PACK = flags.DEFINE_string('pack', 'auto', 'Lanes a program; auto: one a CPU device, on an '
                            'accelerator as many as timing says.')
_ACCUMULATION = flags.DEFINE_integer('accumulation', None, 'Parts of a batch, one after the other.',
                                     lower_bound=1)
_MESH = flags.DEFINE_string('mesh', '', 'Devices that share lanes, as in data=2,fsdp=4,tensor=2; '
                            'default: chosen for each shape (docs/mesh.md).')
_HOSTS = flags.DEFINE_enum('hosts', None, list(hosts_of.METHODS), 'Train on all processes of this '
                           'TPU slice or Slurm step together.')
_COORDINATOR = flags.DEFINE_string('coordinator', None, 'The same by hand: host:port of process 0,')
_PROCESSES = flags.DEFINE_integer('processes', None, '... how many processes there are,')
_PROCESS = flags.DEFINE_integer('process', None, '... and the number of this one, from 0 on.')
_CPU_DEVICES = flags.DEFINE_integer('cpu_devices', None, 'Devices to make of the CPU; default: one '
                                    'a core, at most 16.', lower_bound=1)
_CHECKPOINT_SECONDS = flags.DEFINE_float('checkpoint_seconds', 30.0, 'Time between checkpoints.',
                                         lower_bound=0.0)
_LEASE_SECONDS = flags.DEFINE_float('lease_seconds', 60.0, 'How long a silent worker keeps its '
                                    'runs.', lower_bound=0.5)
_TENSORBOARD = flags.DEFINE_bool('tensorboard', False, 'Also write WORKDIR/tensorboard events.')
_SHARE_PREFIXES = flags.DEFINE_bool('share_prefixes', True, 'Train what runs have in common once; '
                                    'with --noshare_prefixes every run is trained alone.')
_WANDB = flags.DEFINE_string('wandb', None, 'Also write to this project of Weights & Biases '
                             '(WANDB_MODE=offline: to WORKDIR/wandb only).')
_METADATA = flags.DEFINE_string('metadata_server', preemption.SERVER, 'Where Google Cloud '
                                'announces that it takes the machine away; empty: nowhere.')
_CALIBRATE = flags.DEFINE_bool('calibrate', False, 'With --mode=plan: time a few steps a shape.')


class Stores:
  """The token stores of specs, opened once."""

  def __init__(self, root: str):
    self._root = root
    self._open = functools.cache(token_store.TokenStore.open)

  def __call__(self, spec: RunSpec) -> Mapping[str, token_store.TokenStore]:
    data = spec.data
    return {name: self._open(files.mirror(token_store.folder(
        self._root, data.tokenizer, data.vocab_size, data.trained_on, name), token_store.MANIFEST))
            for name in data.domains}


def main(argv: list[str]) -> int:
  del argv
  stop = _StopFlag(_MODE.value == 'run')
  if not _WORKDIR.value:
    raise bad('--workdir', _WORKDIR.value, 'it must name a folder, or one of a bucket')
  bucket = '://' in _WORKDIR.value
  workdir = _WORKDIR.value.rstrip('/') if bucket else os.path.abspath(_WORKDIR.value)
  if bucket and _MODE.value == 'run':
    files.check_writable(workdir)
  stores = Stores(_STORE.value or f'{workdir}/tokens')
  if _CONFIG.value is None:
    raise InputError('--config: this flag must be given (the study\'s file)')
  planned = study.build(_CONFIG.value, cli.overrides('config'), stores)
  listed = {r.run_id: r.spec for r in planned.runs}
  outside = stages.parents(listed, workdir)
  study.check_inherited(planned, outside, stores, _CONFIG.value.max_epochs)
  forest = prefixes.forest([*outside.items(), *listed.items()], _SHARE_PREFIXES.value)
  if _MODE.value == 'status':
    return show_status(planned, forest, workdir)
  _set_devices()
  if _MODE.value == 'plan':
    return plan(planned, forest, workdir)
  asked = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  if _HOSTS.value is None and asked == (None, None, None):
    return run(planned, forest, workdir, stores, stop)
  if '://' in workdir:
    raise bad('--workdir', workdir, 'several hosts of one worker need a mounted disk')
  sparse = [r.run_id for r in planned.runs if not r.spec.sparsity.dense]
  if sparse:
    raise bad('sparsity', f'of run {sparse[0]}', 'with --hosts or --coordinator every run must be '
              'dense; without them each process is a worker of its own')
  hosts = hosts_of.join(_HOSTS.value, *asked)
  stop.also = hosts.stop_asked if hosts.leads else stop.also
  return hosts_of.together(
      hosts, lambda: run(planned, forest, workdir, stores, stop, hosts),
      lambda: follow(hosts, forest, workdir, stores, stop))


def _set_devices() -> None:
  """Makes the CPU as many devices as it has cores, so that lanes can be spread over them."""
  import jax  # pylint: disable=import-outside-toplevel
  jax.config.update('jax_num_cpu_devices', _CPU_DEVICES.value or min(_cores(), 16))


def _pack() -> int | None:
  """--pack; None: chosen for each shape."""
  text = str(_PACK.value).strip()
  if text == 'auto':
    return None
  if not text.isdecimal() or int(text) < 1:
    raise bad('--pack', text, 'it must be auto or a number of lanes, at least 1')
  return int(text)


def _cores() -> int:
  """Those this process may use; the machine may have more."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


# -- run


def run(planned: study.Study, forest: Mapping[str, prefixes.Segment], workdir: str, stores: Stores,
        stop: _StopFlag, hosts: hosts_of.Hosts | None = None) -> int:
  """Trains what is missing, shares the work with other workers, and waits for what they hold."""
  import jax  # pylint: disable=import-outside-toplevel

  from scaling import executables, programs, progress  # pylint: disable=import-outside-toplevel
  from scaling.train import batches, checkpoint, sharding, shared  # pylint: disable=import-outside-toplevel
  from scaling.train.loop import Loop  # pylint: disable=import-outside-toplevel
  from scaling.train.pack import Options, Pack  # pylint: disable=import-outside-toplevel
  from scaling.train.shape import Shape  # pylint: disable=import-outside-toplevel
  drawn: list[trackers.Tracker] = []
  if _TENSORBOARD.value:
    drawn.append(trackers.TensorBoard(workdir))
  if _WANDB.value:
    drawn.append(trackers.WeightsAndBiases(workdir, _WANDB.value))
  recorder = trackers.Recorder(drawn)
  axes = sharding.Axes.parse(_MESH.value)
  for shape in {Shape.of(r.spec) for r in planned.runs}:  # Bad flags are refused before a trace.
    programs.build(shape, programs.choose(shape, 1, _pack(), _ACCUMULATION.value,
                                          axes))
  _prepare_workdir(planned, forest, workdir)
  executables.use_cache(workdir)
  worker = Worker(workdir, _LEASE_SECONDS.value)
  todo = segments.remaining(workdir, forest, _RETRY_FAILED.value)
  total = sum(_flops(s.spec) * s.tokens for s in forest.values())
  left = sum(_flops(s.spec) * s.tokens for s in todo.values())
  unsettled = sum(not s.shared for s in todo.values())
  work = progress.Work(total, total - left, len(planned.runs), len(planned.runs) - unsettled,
                       programs.peak() if todo else None)
  meter = usage.Meter(workdir, worker.name, planned.name, work.peak)
  show = progress.display(work)
  if not todo:
    show.say(f'all {len(planned.runs)} runs of {planned.name} are settled')
  try:
    if todo:
      worker.start()
    checkpoint.sweep_orphans(workdir, worker)
    queue = segments.Queue(
        workdir, worker, forest, _RETRY_FAILED.value,
        lambda s: work.settle(_flops(s.spec) * s.tokens, int(not s.shared)))
    preemption.watch(_METADATA.value, stop.set)

    def record(claimed: segments.Claimed, line: dict[str, Any]) -> None:
      show.record(claimed, line)
      recorder.write(claimed, line)

    options = Options(
        workdir, worker, stores, stop.is_set, show.say, _KEEP.value, _CHECKPOINT_SECONDS.value,
        shared.SharedBatches() if hosts else batches.Batches(batches.room(jax.devices()[0])),
        watch=functools.partial(_watch, work, show, worker, meter), lost=queue.put_back,
        begin=recorder.begin, record=record)
    compiled = executables.Executables(
        workdir, _members(planned, forest), _pack(), _ACCUMULATION.value, axes, show.say,
        hosts=hosts)
    while todo and len(queue) and not stop.is_set():
      claimed = queue.take()
      if claimed is None:  # Others hold what is left: wait for them, or for their leases to end.
        stop.wait(min(1.0, _LEASE_SECONDS.value / 5))
        continue
      with _released_on_error(claimed):
        program = compiled.get(Shape.of(claimed.spec))
        compiled.ahead(Shape.of(spec) for spec in queue.specs())
      pack = Pack(program, options)
      work.count(pack)
      Loop(pack, _takes(queue, claimed)).train()
      if stop.is_set() and claimed.lease.held:  # Stopped before the pack had taken it up.
        claimed.lease.release()
    if _KEEP.value == 'none' and not stop.is_set():
      owned = {r.run_id for r in planned.runs} - runs.of_others(workdir, planned.name)
      segments.drop_ends(workdir, worker, forest, owned)
  finally:
    show.close()
    recorder.close()
    worker.stop()
    if todo:
      with contextlib.suppress(OSError):  # A full disk; the numbers are for looking at only.
        meter.write(work.tokens, work.trained, work.seconds, work.compilations)
  if stop.is_set():
    print('stopped by a signal: everything is saved, run the same command again', file=sys.stderr)
    compiled.leave(STOPPED)
    return STOPPED
  return _summary(planned, forest, workdir)


def follow(hosts: hosts_of.Hosts, forest: Mapping[str, prefixes.Segment], workdir: str,
           stores: Stores, stop: _StopFlag) -> int:
  """What every process but the first does in place of `run`."""
  from scaling import executables  # pylint: disable=import-outside-toplevel
  from scaling.train.follow import Follower  # pylint: disable=import-outside-toplevel
  executables.use_cache(workdir)
  preemption.watch(_METADATA.value, stop.set)  # Of this process's machine.
  return Follower(hosts, forest, stores).follow(stop.is_set)


def _members(planned: study.Study, forest: Mapping[str, prefixes.Segment]) -> Mapping[Any, int]:
  """What a pack of each shape has lanes for: on accelerators, what can train at once; of a CPU,
  whose lanes are its devices, the study's runs."""
  import jax  # pylint: disable=import-outside-toplevel

  from scaling import paths  # pylint: disable=import-outside-toplevel
  from scaling.train.shape import Shape  # pylint: disable=import-outside-toplevel
  if jax.devices()[0].platform != 'cpu':
    return paths.parallel(forest, Shape.of)
  return collections.Counter(Shape.of(r.spec) for r in planned.runs)


def _takes(queue: segments.Queue, first: segments.Claimed) -> Callable[[], Any]:
  """Hands out a claimed run, then whatever else of its shape the queue has."""
  from scaling.train.shape import Shape  # pylint: disable=import-outside-toplevel
  shape = Shape.of(first.spec)
  handed: list[segments.Claimed] = []

  def take() -> segments.Claimed | None:
    if not handed:
      handed.append(first)
      return first
    return queue.take(lambda spec: Shape.of(spec) == shape)

  return take


@contextlib.contextmanager
def _released_on_error(claimed: segments.Claimed) -> Iterator[None]:
  try:
    yield
  except BaseException:
    claimed.lease.release()
    raise


def _watch(work: Any, show: Any, worker: Worker, meter: usage.Meter, pack: Any) -> None:
  """Tells the display and, through the heartbeat, `status` where the pack stands."""
  worker.note = {'runs': {lane.run.run_id: lane.step for _, lane in pack.active},
                 'tokens_per_second': round(work.tokens_per_second),
                 'compilations': work.compilations}
  with contextlib.suppress(OSError):
    meter.write(work.tokens, work.trained, work.seconds, work.compilations, every=10.0)
  show.watch(pack)


def _prepare_workdir(planned: study.Study, forest: Mapping[str, prefixes.Segment], workdir: str,
                     ) -> None:
  try:
    files.make_folder(workdir)
    runs.write_study(workdir, planned.name, planned.laws, [
        {'run_id': r.run_id, 'point': r.point, 'held_out': r.held_out,
         **({'stage': r.stage} if r.stage else {})} for r in planned.runs])
    for r in planned.runs:
      Run(workdir, r.run_id).prepare(r.spec)
    for segment in forest.values():
      if segment.shared:
        Run(workdir, segment.name).prepare(segment.spec, {
            'first': segment.first, 'last': segment.last, 'parent': segment.parent,
            'history': segment.history})
  except OSError as error:
    if files.no_room(error):
      raise
    raise bad('--workdir', workdir, f'it cannot be written to: {error.strerror}') from error


class _StopFlag:
  """Set by SIGTERM and SIGINT; a second signal ends the process at once."""

  def __init__(self, listen: bool) -> None:
    self._event = threading.Event()
    self.wait = self._event.wait
    self.also: Callable[[], bool] = lambda: False  # whether another process was asked to stop
    for number in (signal.SIGTERM, signal.SIGINT) if listen else ():
      signal.signal(number, self._on_signal)

  def is_set(self) -> bool:
    return self._event.is_set() or self.also()

  def _on_signal(self, number: int, frame: object) -> None:
    del frame
    if self._event.is_set():
      os._exit(STOPPED)
    self.set(signal.Signals(number).name)

  def set(self, why: str) -> None:
    self._event.set()
    os.write(2, f'{why}: saving and stopping\n'.encode())


def _summary(planned: study.Study, forest: Mapping[str, prefixes.Segment], workdir: str) -> int:
  """Says what came of the study, by the run store and nothing else."""
  failed, done = [], 0
  own = {r.run_id: None for r in planned.runs}
  for name in [*(name for name in forest if name not in own), *own]:
    found = Run(workdir, name)
    state = found.state()
    done += state == runs.DONE and name in own
    if state == runs.FAILED:
      failed.append((name, found.failure() or {}))
  for name, failure in failed:
    print(f'failed: {"" if forest[name].shared else "run "}{name}: {failure.get("reason")} at step '
          f'{failure.get("step")}: {failure.get("message")}', file=sys.stderr)
  print(f'{planned.name}: {done} of {len(planned.runs)} runs done in {workdir}')
  return DONE if done == len(planned.runs) else FAILED


# -- plan and status


def plan(planned: study.Study, forest: Mapping[str, prefixes.Segment], workdir: str) -> int:
  """Prints what a sweep would train, and how long it may take; trains nothing."""
  from scaling import plans  # pylint: disable=import-outside-toplevel
  todo = segments.remaining(workdir, forest, _RETRY_FAILED.value)
  summary = plans.summarize(planned, forest, todo, workdir, _CALIBRATE.value, _pack())
  print(json.dumps(summary) if _JSON.value else plans.text(summary))
  return DONE


def show_status(planned: study.Study, forest: Mapping[str, prefixes.Segment], workdir: str) -> int:
  """Prints where every run of the study stands; 1 when some have failed."""
  summary = status.summarize(planned, forest, workdir, Worker(workdir, _LEASE_SECONDS.value),
                             _RETRY_FAILED.value)
  print(json.dumps(summary) if _JSON.value else status.text(summary))
  states = summary['states']
  return FAILED if states[runs.FAILED] or states[runs.BLOCKED] else DONE


def _flops(spec: RunSpec) -> float:
  return accounting.counted_flops(spec.model, spec.data.vocab_size, spec.data.length)


if __name__ == '__main__':
  cli.run(main, need=('workdir',))
