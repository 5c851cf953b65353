"""Checkpoints: what goes in comes out, and what was touched is refused."""

import pathlib
import weakref

import numpy as np
import pytest

from scaling import files
from scaling.leases import Worker
from scaling.runs import Run
from scaling.train import checkpoint
from scaling.train.checkpoint import Damaged, Position

POSITIONS = [('a', Position(7, (3, 4), -(2**70), 5)), ('b', Position(8, (0, 8)))]


def _state() -> dict:
  rng = np.random.default_rng(0)
  return {'params': {'w.x': rng.normal(size=(2, 3, 4)).astype(np.float32)},
          'count': np.array([7, 8], np.int32)}


@pytest.fixture
def saved(tmp_path) -> tuple[str, str, pathlib.Path]:
  folder = checkpoint.save(str(tmp_path), 'worker-1', _state(), POSITIONS, {})
  return str(tmp_path), folder, tmp_path / folder


def test_a_lane_comes_back_bit_for_bit(saved):
  workdir, folder, _ = saved
  for lane, (run_id, position) in enumerate(POSITIONS):
    arrays, at = checkpoint.restore(workdir, folder, run_id)
    assert at == position  # loss_sum is beyond 64 bits: exact all the same
    np.testing.assert_array_equal(arrays['params']['w.x'], _state()['params']['w.x'][lane])
    assert arrays['count'] == _state()['count'][lane]


def test_a_pack_is_read_and_checked_once_for_all_of_its_lanes(saved, monkeypatch):
  workdir, folder, path = saved
  reads, read = [], checkpoint._read

  def counted(path):
    reads.append(path)
    return read(path)

  monkeypatch.setattr(checkpoint, '_read', counted)
  checkpoint.forget()
  arrays, _ = checkpoint.restore(workdir, folder, 'a')
  checkpoint.restore(workdir, folder, 'b')
  assert len(reads) == 1
  held = weakref.ref(arrays['params']['w.x'].base)
  checkpoint.forget()
  assert held() is not None
  del arrays
  assert held() is None  # no second copy while the pack trains
  checkpoint.restore(workdir, folder, 'a')
  assert len(reads) == 2
  other = {'params': {'w.x': _state()['params']['w.x'] + 1}, 'count': np.array([9, 9], np.int32)}
  checkpoint.save(workdir, 'worker-1', other, POSITIONS, {})
  assert checkpoint.restore(workdir, folder, 'a')[0]['count'] == 9
  (path / 'index.json').unlink()  # deleted by another process
  with pytest.raises(Damaged, match='missing'):
    checkpoint.restore(workdir, folder, 'a')


def test_every_file_is_checked(saved):
  workdir, folder, path = saved
  for file in sorted(p for p in (path / 'state').rglob('*') if p.is_file()):
    whole = file.read_bytes()
    if whole:
      file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
      with pytest.raises(Damaged, match='have changed'):
        checkpoint.restore(workdir, folder, 'a')
      file.write_bytes(whole[:-1])
      with pytest.raises(Damaged, match='bytes'):
        checkpoint.restore(workdir, folder, 'a')
    file.unlink()
    with pytest.raises(Damaged, match='missing'):
      checkpoint.restore(workdir, folder, 'a')
    file.write_bytes(whole)
  checkpoint.restore(workdir, folder, 'a')


def test_a_folder_without_its_index_or_the_run_is_no_checkpoint(saved):
  workdir, folder, path = saved
  with pytest.raises(Damaged, match='does not hold run c'):
    checkpoint.restore(workdir, folder, 'c')
  (path / 'index.json').write_text('{"runs"')
  with pytest.raises(Damaged, match='cannot be read'):
    checkpoint.restore(workdir, folder, 'a')
  (path / 'index.json').unlink()
  with pytest.raises(Damaged, match=r'index\.json is missing'):
    checkpoint.restore(workdir, folder, 'a')


def test_a_checkpoint_lives_while_a_run_lists_it(saved):
  workdir, folder, path = saved
  run = pathlib.Path(Run(workdir, 'b').folder)
  run.mkdir(parents=True)
  (run / 'checkpoints.json').write_text(f'[{{"step":8,"folder":"{folder}"}}]')
  other = Worker(workdir)
  checkpoint.drop(workdir, [folder], 'worker')
  checkpoint.sweep_orphans(workdir, other)  # 'worker' has left no heartbeat: it is gone
  assert path.exists()
  (run / 'checkpoints.json').write_text('[]')
  checkpoint.sweep_orphans(workdir, other)
  assert not path.exists()


def test_a_checkpoint_lives_while_its_maker_may_list_it(saved):
  """A worker that stalls between saving a pack and listing it in all of its runs, and comes back:
  another has taken over the one that lists it, and no longer needs it."""
  workdir, folder, path = saved
  maker, other = Worker(workdir), Worker(workdir)
  maker.name, maker._identity['machine'] = 'worker', 'elsewhere'
  other.seconds = -1  # so that whoever is silent is presumed dead at the second look
  files.make_folder(f'{workdir}/workers')
  maker.beat()
  for name in 'ab':
    files.make_folder(Run(workdir, name).folder)
    assert maker.claim(Run(workdir, name).folder)
  maker.seconds = -1
  maker.beat()
  other.claim(Run(workdir, 'a').folder)  # It sees the new beat, and then that it stands still.
  assert other.claim(Run(workdir, 'a').folder)
  checkpoint.drop(workdir, [folder], other.name)
  checkpoint.sweep_orphans(workdir, other)
  assert path.exists()  # b is still the maker's
  assert other.claim(Run(workdir, 'b').folder)
  checkpoint.drop(workdir, [folder], other.name)
  assert not path.exists()
