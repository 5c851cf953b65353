"""The loop: what it transfers; when a program does not fit, the run says so and frees its lease."""

import contextlib
import dataclasses
import json
import math
import types

import jax
import numpy as np
import pytest

from configs import tiny
from scaling import leases, prefixes, study
from scaling.data import token_store
from scaling.runs import Run
from scaling.segments import Claimed, Queue
from scaling.train import checkpoint
from scaling.train.batches import Batches
from scaling.train.loop import Loop
from scaling.train.pack import Options, Pack
from scaling.train.program import Program
from scaling.train.shape import Shape
from tests.scaling import sweeps


@contextlib.contextmanager
def _claims(workdir, markov_store):
  """A worker, its queue over the tiny study, and the stores."""
  def stores(spec):
    del spec
    return {'markov': token_store.TokenStore.open(
        token_store.folder(markov_store, 'symbols', 64, (), 'markov'))}
  planned = study.build(tiny.get_config(), {}, stores)
  worker = leases.Worker(str(workdir))
  worker.start()
  for r in planned.runs:
    Run(str(workdir), r.run_id).prepare(r.spec)
  queue = Queue(str(workdir), worker,
                prefixes.forest((r.run_id, r.spec) for r in planned.runs))
  yield worker, queue, stores
  worker.stop()


@pytest.fixture
def claims(tmp_path, markov_store):
  with _claims(tmp_path, markov_store) as found:
    yield found


def _loop(tmp_path, claims, program, said):
  worker, queue, stores = claims
  options = Options(str(tmp_path), worker, stores, say=said.append, lost=queue.put_back)
  return Loop(Pack(program, options), queue.take)


def _program(claims) -> Program:
  _, queue, _ = claims
  spec = next(iter(queue._open.values())).spec
  return Program(Shape.of(spec), 1, 8)


def test_out_of_memory_at_compile_is_a_failure_to_be_tried_again(tmp_path, claims, monkeypatch):
  def full(self):
    raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 2 TiB')
  monkeypatch.setattr(Program, 'compile', full)
  said: list[str] = []
  training = _loop(tmp_path, claims, _program(claims), said)
  training.train()
  failures = list(tmp_path.glob('runs/*/failure.json'))
  assert len(failures) == len(training.pack.failed) == 1 and 'out of memory' in ' '.join(said)
  assert json.loads(failures[0].read_text())['reason'] == 'memory'
  run = Run(str(tmp_path), training.pack.failed[0])
  assert leases.holder(run.folder) is None
  again = claims[0].claim(run.folder)
  assert again is not None


def test_any_error_frees_the_lease(tmp_path, claims, monkeypatch):
  def broken(self):
    raise OSError(5, 'Input/output error')
  monkeypatch.setattr(Program, 'compile', broken)
  training = _loop(tmp_path, claims, _program(claims), [])
  with pytest.raises(OSError, match='Input'):
    training.train()
  assert all(leases.holder(str(p)) is None for p in tmp_path.glob('runs/*'))


def test_a_lease_lost_on_the_way_in_goes_back_to_the_queue(tmp_path, claims, monkeypatch):
  worker, queue, _ = claims
  compiled = Program.compile
  stolen: list[Claimed] = []

  def steal(self):
    """While this worker compiles, another one takes the run over."""
    if not stolen:
      folder = next(p for p in tmp_path.glob('runs/*') if leases.holder(str(p)) == worker.name)
      other = leases.Worker(str(tmp_path))
      monkeypatch.setattr(other, 'presumed_dead', lambda *_: True)
      stolen.append(other.claim(str(folder)))
    return compiled(self)

  monkeypatch.setattr(Program, 'compile', steal)
  said: list[str] = []
  before = len(queue)
  taken: list[Claimed] = []

  def once():
    return None if taken else taken.append(queue.take()) or taken[0]

  worker_, queue_, stores = claims
  options = Options(str(tmp_path), worker_, stores, say=said.append, lost=queue_.put_back)
  Loop(Pack(_program(claims), options), once).train()
  assert 'taken over by another worker' in ' '.join(said)
  assert len(queue) == before and not list(tmp_path.glob('runs/*/result.json'))


@pytest.mark.parametrize('continued', [True, False])
def test_the_end_of_a_run_that_others_start_from_has_idle_lanes_ask_again(
    tmp_path, claims, monkeypatch, continued):
  _, queue, _ = claims
  claimed = dataclasses.replace(queue.take(lambda spec: True), continued=continued)
  loop = _loop(tmp_path, claims, _program(claims), [])
  monkeypatch.setattr(Pack, 'save', lambda *_, **__: None)
  monkeypatch.setattr(Run, 'write_result', lambda *_: None)
  lane = types.SimpleNamespace(
      run=claimed.run, lease=claimed.lease, claimed=claimed, curve=[], step=3, last=3,
      segment=dataclasses.replace(claimed.segment, name='a'))  # a run, no prefix
  loop.pack.lanes[0], loop._asked = lane, 5.0
  loop._finish()
  assert loop.pack.finished == [claimed.run.run_id] and not loop.pack.active
  assert loop._asked == (-math.inf if continued else 5.0)


class Unread:
  """A device array whose numbers jax.device_get alone may fetch: another way waits unseen."""

  def __init__(self, value):
    self.value = value

  def __array__(self, *_, **__):
    raise RuntimeError('fetched without jax.device_get')

  __float__ = __int__ = __bool__ = __len__ = __iter__ = __getitem__ = __array__


def _strict(monkeypatch):
  """What programs compute is Unread; the transfer guard does not see fetches on a CPU."""
  train, evaluate, get = Program.train, Program.evaluate, jax.device_get

  def strict_train(self, *arguments):
    assert not checkpoint._verified  # What lanes were restored from is let go before they train.
    state, metrics = train(self, *arguments)
    return state, {name: Unread(value) for name, value in metrics.items()}

  monkeypatch.setattr(Program, 'train', strict_train)
  monkeypatch.setattr(Program, 'evaluate', lambda *arguments: Unread(evaluate(*arguments)))
  monkeypatch.setattr(jax, 'device_get', lambda tree: get(jax.tree.map(
      lambda x: x.value if isinstance(x, Unread) else x, tree)))


def test_data_on_the_device_gives_the_same_curves_and_no_turn_transfers_unasked(
    tmp_path, markov_store, monkeypatch):
  _strict(monkeypatch)
  program, curves = None, []
  for room in (0, 2**40):
    workdir = tmp_path / str(room)
    with _claims(workdir, markov_store) as claims:
      worker, queue, stores = claims
      program = program or Program(Shape.of(next(iter(queue._open.values())).spec), 2, 8)
      batches = Batches(room)
      options = Options(str(workdir), worker, stores, say=str, batches=batches)
      with jax.transfer_guard('disallow'):
        Loop(Pack(program, options), queue.take).train()
    assert len(batches._there) == bool(room)
    curves.append(sweeps.curves(workdir))
  assert len(curves[0]) == 4 and curves[0] == curves[1]


def test_a_transfer_unasked_for_is_seen(tmp_path, claims, monkeypatch):
  """The two ways there are: arguments of a program left on the host, and numbers looked at."""
  made = _program(claims)
  made.compile()
  pack = made.init([0])
  K, shape = made.chunk, made.shape
  arguments = (np.zeros((K, 1, shape.batch, shape.length + 1), np.int32), np.zeros((K, 1)),
               {name: np.ones(1) for name in ('b1', 'b2', 'eps', 'weight_decay', 'clip_norm')},
               np.ones(1, bool), 1)
  with monkeypatch.context() as patched, jax.transfer_guard('disallow'):
    patched.setattr(made, '_put', lambda tree, spec: tree)
    with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
      made.train(pack, *arguments)
  _strict(monkeypatch)
  _, metrics = made.train(made.init([0]), *arguments)
  for look in (np.asarray, np.isfinite, float, bool, list):
    with pytest.raises(RuntimeError, match='without jax'):
      look(metrics['loss'])
  assert np.isfinite(jax.device_get(metrics)['loss'][0, 0])
