"""Curves handed on to those who draw them: TensorBoard event files, Weights & Biases.

Both are fed the same numbers, of the curve's own lines. A run begins anew with the lines that its
curve has, so that each is there once, whether a shared prefix, a killed worker or nobody has
written it yet.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from scaling import files, objects, specs
from scaling.errors import InputError
from scaling.segments import Claimed


class Tracker(Protocol):
  def begin(self, claimed: Claimed) -> None: ...
  def write(self, claimed: Claimed, step: int, numbers: Mapping[str, float]) -> None: ...
  def end(self, run_id: str) -> None: ...


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
  """What is drawn of a curve line: {'loss/python_docs': 3.2, 'lr': 1e-3, ...}."""
  found = {f'{metric}/{name}': metrics[metric] for name, metrics in line['domains'].items()
           for metric in ('loss', 'bits_per_byte', 'loss_unigram')}
  return found | {name: line[name] for name in ('lr', 'train_loss') if line[name] is not None}


class TensorBoard:
  """WORKDIR/tensorboard/<run id>. Needs the extra 'tensorboard' and a local workdir."""

  def __init__(self, workdir: str):
    if objects.on_bucket(workdir):
      raise InputError('--tensorboard: event files grow, which objects of a bucket cannot: '
                       'leave it out, or use --wandb')
    try:
      import tensorboardX  # pylint: disable=import-outside-toplevel
    except ImportError:
      raise InputError("--tensorboard: needs the extra 'tensorboard': "
                       "pip install -e '.[tensorboard]'") from None
    self._make, self._folder = tensorboardX.SummaryWriter, f'{workdir}/tensorboard'
    self._writers: dict[str, Any] = {}

  def begin(self, claimed: Claimed) -> None:
    folder = f'{self._folder}/{claimed.run.run_id}'
    files.remove_tree(folder)
    self._writers[claimed.run.run_id] = self._make(folder)

  def write(self, claimed: Claimed, step: int, numbers: Mapping[str, float]) -> None:
    writer = self._writers[claimed.run.run_id]
    for name, value in numbers.items():
      writer.add_scalar(name, value, step)
    writer.flush()

  def end(self, run_id: str) -> None:
    self._writers.pop(run_id).close()


class WeightsAndBiases:
  """One W&B run a run, of the same id, so that whoever goes on with it goes on there.

  W&B drops steps that it has had. Offline (its own WANDB_MODE=offline) a folder a start lies in
  WORKDIR/wandb, to be sent later: wandb sync WORKDIR/wandb/offline-*. Needs the extra 'wandb'.
  """

  def __init__(self, workdir: str, project: str):
    try:
      import wandb  # pylint: disable=import-outside-toplevel
    except ImportError:
      raise InputError("--wandb: needs the extra 'wandb': pip install -e '.[wandb]'") from None
    self._wandb, self._project = wandb, project
    self._folder = tempfile.gettempdir() if objects.on_bucket(workdir) else workdir
    self._runs: dict[str, Any] = {}

  def begin(self, claimed: Claimed) -> None:
    os.makedirs(self._folder, exist_ok=True)
    self._runs[claimed.run.run_id] = self._wandb.init(
        project=self._project, id=claimed.run.run_id, name=claimed.run.run_id, dir=self._folder,
        resume='allow', reinit='create_new', config=specs.canonical(claimed.spec),
        settings=self._wandb.Settings(silent=True))

  def write(self, claimed: Claimed, step: int, numbers: Mapping[str, float]) -> None:
    self._runs[claimed.run.run_id].log(dict(numbers), step=step)

  def end(self, run_id: str) -> None:
    self._runs.pop(run_id).finish()


class Recorder:
  """Evaluations handed on to all trackers."""

  def __init__(self, trackers: Sequence[Tracker]):
    self._trackers = list(trackers)
    self._open: set[str] = set()

  def begin(self, claimed: Claimed, lines: Sequence[dict[str, Any]]) -> None:
    if not self._trackers:
      return
    self._end(claimed.run.run_id)
    self._open.add(claimed.run.run_id)
    for tracker in self._trackers:
      tracker.begin(claimed)
    for line in lines:
      self.write(claimed, line)

  def write(self, claimed: Claimed, line: dict[str, Any]) -> None:
    for tracker in self._trackers:
      tracker.write(claimed, line['step'], numbers(line))
    if line['step'] == claimed.spec.steps:
      self._end(claimed.run.run_id)

  def _end(self, run_id: str) -> None:
    if run_id in self._open:
      self._open.remove(run_id)
      for tracker in self._trackers:
        tracker.end(run_id)

  def close(self) -> None:
    for run_id in list(self._open):
      self._end(run_id)
