"""Weights & Biases, offline: what it writes down is read back with its own reader.

Needs the extra 'wandb':  uv pip install -c constraints.txt -e '.[wandb]'
"""

from __future__ import annotations

import json
import struct
import types

import pytest

from scaling import trackers
from scaling.errors import InputError


def _line(step: int, loss: float) -> dict:
  return {'step': step, 'lr': 0.1 / step, 'train_loss': None if step == 1 else loss + 1,
          'domains': {'docs': {'loss': loss, 'bits_per_byte': loss / 2, 'loss_unigram': loss - 1}}}


def test_the_numbers_of_a_line_are_the_same_for_all():
  found = trackers.numbers(_line(1, 3.0))
  assert found == {'loss/docs': 3.0, 'bits_per_byte/docs': 1.5, 'loss_unigram/docs': 2.0, 'lr': 0.1}


def test_a_run_begins_with_the_lines_it_has_and_ends_at_its_last_step():
  said: list[tuple] = []
  tracker = types.SimpleNamespace(
      begin=lambda claimed: said.append(('begin', claimed.run.run_id)),
      write=lambda claimed, step, numbers: said.append((step, numbers['loss/docs'])),
      end=lambda run_id: said.append(('end', run_id)))
  recorder = trackers.Recorder([tracker])
  claimed = types.SimpleNamespace(run=types.SimpleNamespace(run_id='a'),
                                  spec=types.SimpleNamespace(steps=3))
  recorder.begin(claimed, [_line(1, 5.0)])
  recorder.begin(claimed, [_line(1, 5.0)])  # Taken up again, as after a lost lease.
  recorder.write(claimed, _line(3, 4.0))
  recorder.close()
  assert said == [('begin', 'a'), (1, 5.0), ('end', 'a'), ('begin', 'a'), (1, 5.0), (3, 4.0),
                  ('end', 'a')]


def test_wandb_offline_holds_the_curve(tmp_path, monkeypatch):
  pytest.importorskip('wandb', reason="needs the extra 'wandb'")
  from wandb.proto import wandb_internal_pb2
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setattr(trackers.specs, 'canonical', lambda spec: {'steps': spec.steps})
  spec = types.SimpleNamespace(steps=2)
  recorder = trackers.Recorder([trackers.WeightsAndBiases(str(tmp_path), 'laws')])
  claimed = types.SimpleNamespace(run=types.SimpleNamespace(run_id='abc'), spec=spec)
  recorder.begin(claimed, [_line(1, 5.0)])
  recorder.write(claimed, _line(2, 4.0))
  recorder.close()
  [path] = tmp_path.glob('wandb/offline-run-*/run-abc.wandb')
  losses = {}
  for data in _records(path.read_bytes()):
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof('record_type') == 'history':
      row = {'/'.join(item.nested_key) or item.key: json.loads(item.value_json)
             for item in record.history.item}
      losses[row['_step']] = row['loss/docs']
  assert losses == {1: 5.0, 2: 4.0}


def _records(content: bytes) -> list[bytes]:
  """Of a LevelDB log: 7 bytes of W&B's own, then blocks of 32 KiB of (crc, size, kind, data)."""
  found, at = [b''], 7
  while at + 7 <= len(content):
    if 2**15 - at % 2**15 < 7:  # The rest of a block that no head fits into.
      at += 2**15 - at % 2**15
      continue
    size, kind = struct.unpack('<HB', content[at + 4:at + 7])
    found[-1] += content[at + 7:at + 7 + size]
    if kind in (1, 4):  # whole, or the last piece
      found.append(b'')
    at += 7 + size
  return found[:-1]


def test_trackers_that_cannot_be_are_one_line():
  with pytest.raises(InputError, match='--tensorboard: event files grow'):
    trackers.TensorBoard('gs://b/w')
