"""Checkpoints: one orbax save for any number of lanes, trusted only once verified.

WORKDIR/checkpoints/<name>/state is the orbax save (made on the local disk and then uploaded, where
the workdir is a bucket), with a leading axis over the lanes that it
holds; `index.json` beside it says which run is at which place and step, what else the run needs to
go on (its data counters), and the size and SHA-256 of every file. The index is written last: a
folder without one is no checkpoint. Each run lists the checkpoints that hold it in its own
`checkpoints.json`; a folder that no run lists any more is deleted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from scaling import files, leases
from scaling.leases import Worker
from scaling.runs import Run

FOLDER = 'checkpoints'


@dataclasses.dataclass(frozen=True)
class Position:
  """Where a run stands: all that its next step depends on beside the arrays."""

  step: int  # updates done
  drawn: tuple[int, ...]  # sequences taken so far from each domain
  loss_sum: int = 0  # of the train losses since the last evaluation, in units of 2**-40 nats
  loss_count: int = 0
  start: tuple[int, ...] = ()  # `drawn` before the run's first step, what it inherited; (): zeros

  @classmethod
  def of(cls, values: Mapping[str, Any]) -> Position:
    return cls(int(values['step']), tuple(values['drawn']), int(values['loss_sum']),
               int(values['loss_count']), tuple(values.get('start', ())))


class Damaged(Exception):
  """A checkpoint that is incomplete or whose bytes have changed."""


def save(workdir: str, name: str, state: Any, positions: Sequence[tuple[str, Position]],
         note: Mapping[str, Any], places: Sequence[int] | None = None,
         put: Callable[[str, Any], None] | None = None) -> str:
  """Writes lanes (leading axis of every leaf of `state`) and returns the folder, under `workdir`.

  `positions[i]` is the run id of lane i, or of lane `places[i]`, and where it stands; `put` puts
  the arrays into a folder. Raises OSError, leaving no checkpoint,
  when there is no room.
  """
  folder = f'{FOLDER}/{name}'
  path = f'{workdir}/{folder}'
  forget()
  files.remove_tree(path)  # What a killed writer of the same name left.
  files.make_folder(path)
  try:
    # Orbax and tensorstore log a page of tracebacks from their threads when the disk is full.
    with files.spool(path) as local:
      files.check_room(local, 2**16 + sum(leaf.nbytes for leaf in jax.tree.leaves(state)) * 9 // 8)
      (put or write)(os.path.abspath(f'{local}/state'), state)
      contents = _contents(f'{local}/state')
    index = {
        'runs': {run_id: {'lane': lane, **dataclasses.asdict(position)}
                 for lane, (run_id, position) in zip(
                     places or range(len(positions)), positions, strict=True)},
        'files': contents,
        'note': dict(note),
    }
    files.replace(f'{path}/index.json', files.to_json(index))
  except BaseException as error:
    files.remove_tree(path)
    if isinstance(error, Exception) and not isinstance(error, OSError) and files.no_room(error):
      raise OSError(files.NO_ROOM[0], 'No space left on device', path) from error
    raise
  return folder


def write(path: str, state: Any) -> None:
  """The arrays alone; every process of several writes what its devices hold."""
  checkpointer().save(path, _plain(state))


def restore(workdir: str, folder: str, run_id: str) -> tuple[Any, Position]:
  """One run's arrays (without the lane axis, as nested dicts of numpy arrays) and its position.

  The lanes of a pack are restored one by one, so the last checkpoint that was read and verified is
  kept until `forget`; the arrays are views of it. Raises Damaged when it cannot be trusted.
  """
  path = f'{workdir}/{folder}'
  index = _index(path)
  if run_id not in index['runs']:
    raise Damaged(f'it does not hold run {run_id}')
  entry = index['runs'][run_id]
  if _verified[:2] != [path, index]:
    forget()  # before there is another
    with files.fetched(path) as local:
      _verify(local, index)
      _verified[:] = path, index, _read(f'{local}/state')
  return jax.tree.map(lambda leaf: leaf[entry['lane']], _verified[2]), Position.of(entry)


_verified: list[Any] = []  # path, index and arrays of one checkpoint at most


def forget() -> None:
  """Lets go of the arrays that `restore` keeps: nothing holds a second copy of a pack in training.
  """
  _verified.clear()


def _index(path: str) -> dict[str, Any]:
  try:
    return files.read_json(f'{path}/index.json')
  except FileNotFoundError:
    raise Damaged('index.json is missing') from None
  except ValueError:
    raise Damaged('index.json cannot be read') from None


def _verify(path: str, index: Mapping[str, Any]) -> None:
  """Raises Damaged, saying what is wrong, unless every file is what the index says."""
  for name, (size, digest) in index['files'].items():
    try:
      with open(f'{path}/state/{name}', 'rb') as file:
        content = file.read()
    except FileNotFoundError:
      raise Damaged(f'{name} is missing') from None
    if len(content) != size:
      raise Damaged(f'{name} has {len(content)} of {size} bytes')
    if hashlib.sha256(content).hexdigest() != digest:
      raise Damaged(f'the bytes of {name} have changed')


def _read(path: str) -> Any:
  """The arrays of all lanes. Their bytes are what was written: an error here is no damage."""
  import orbax.checkpoint as ocp  # pylint: disable=import-outside-toplevel
  saved, state = checkpointer(alone=True), path
  shapes = saved.metadata(state).item_metadata.tree
  as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
  return jax.tree.map(np.asarray, saved.restore(
      state, ocp.args.PyTreeRestore(restore_args=as_numpy)))


def newest(run: Run, warn: Callable[[str], None], before: int | None = None
           ) -> tuple[Any, Position] | None:
  """The run's arrays and position from its newest sound checkpoint; None: start from the init.

  Damaged ones are named through `warn` and passed over.
  """
  for entry in reversed(run.checkpoints()):
    if before is not None and entry['step'] > before:
      continue
    try:
      return restore(run.workdir, entry['folder'], run.run_id)
    except Damaged as error:
      warn(f'run {run.run_id}: the checkpoint at step {entry["step"]} ({entry["folder"]}) is '
           f'damaged: {error}; using the one before it')
  return None


def drop(workdir: str, folders: Sequence[str], worker: str = '') -> None:
  """Deletes those of the checkpoint folders that no run lists any more, or will list.

  Their maker lists a folder in each of its runs after saving it. If it sleeps in between, its runs
  are taken over, and this is called for what the first of them had listed, the others are still
  the maker's: it may wake and list the folder. So a folder stays as long as its maker holds the
  lease of any run in it, unless the maker is `worker`: the caller, or one that is gone.
  """
  forget()
  for folder in folders:
    maker = _maker(folder)
    try:
      held = files.read_json(f'{workdir}/{folder}/index.json')['runs']
    except (FileNotFoundError, ValueError):
      held = {}
    except OSError:  # Not to be read now is no reason to delete it.
      continue
    # Leases are read before lists: who holds none any more can list nothing after that.
    if maker != worker and (not held or any(
        leases.holder(Run(workdir, run_id).folder) == maker for run_id in held)):
      continue
    listed = any(entry['folder'] == folder
                 for run_id in held for entry in Run(workdir, run_id).checkpoints())
    if not listed:
      files.remove_tree(f'{workdir}/{folder}')


def sweep_orphans(workdir: str, worker: Worker) -> None:
  """Deletes what other workers left: folders that no run lists, of one that is gone or whose runs
  have all been taken over."""
  for name in files.names(f'{workdir}/{FOLDER}'):
    folder, maker = f'{FOLDER}/{name}', _maker(name)
    if maker != worker.name:
      drop(workdir, [folder], maker if worker.gone(maker) else '')


def _maker(folder: str) -> str:
  """The worker that a checkpoint's folder is named after."""
  return folder.rpartition('/')[2].rpartition('-')[0]


def checkpointer(alone: bool = False) -> Any:
  """The one orbax checkpointer of this process (it owns threads), which in saving waits for all
  others where there are several; `alone`: one that waits for nobody, to read with."""
  return _checkpointer(alone and jax.process_count() > 1)


@functools.cache
def _checkpointer(alone: bool) -> Any:
  import orbax.checkpoint as ocp  # pylint: disable=import-outside-toplevel
  of = ocp.options.MultiprocessingOptions(
      jax.process_index(), {jax.process_index()}, 'alone') if alone else (
      ocp.options.MultiprocessingOptions())
  return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(multiprocessing_options=of),
                          multiprocessing_options=of)


def _plain(state: Any) -> Any:
  return state._asdict() if hasattr(state, '_asdict') else state


def _contents(folder: str) -> dict[str, tuple[int, str]]:
  """{file: (size, SHA-256)} of everything below a folder."""
  contents = {}
  for root, _, found in os.walk(folder):
    for name in found:
      path = os.path.join(root, name)
      with open(path, 'rb') as file:
        content = file.read()
      contents[os.path.relpath(path, folder)] = (len(content), hashlib.sha256(content).hexdigest())
  return contents
