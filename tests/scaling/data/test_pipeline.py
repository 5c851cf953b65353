"""Parquet and TFDS corpora through the same door, and Beam's stores beside one machine's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.data import corpora, sampler, shards
from scaling.data.job import Job
from scaling.data.prepare import prepare, prepare_sharded
from scaling.data.token_store import TokenStore
from scaling.errors import InputError

TEXTS = [f'document {i}: ' + 'word ' * (i % 17) + '\u00e4' * (i % 3) for i in range(300)]


@pytest.fixture(scope='module')
def parquet(tmp_path_factory) -> str:
  folder = tmp_path_factory.mktemp('parquet')
  for i in range(3):  # The last document of a file is the first one of the next.
    part = TEXTS[100 * i:100 * i + 101]
    pq.write_table(pa.table({'body': [*part, None], 'n': [*range(len(part)), 0]}),
                   folder / f'{i}.parquet', row_group_size=40)
  return f'{folder}/*.parquet'


@pytest.fixture(scope='module')
def tiny_corpus(tmp_path_factory) -> str:
  """A corpus as TFDS prepares them, made on the spot."""
  pytest.importorskip('importlib_resources', reason="needs the extra 'data': TFDS asks for it")
  tfds = pytest.importorskip('tensorflow_datasets')

  class TinyCorpus(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.2.3')

    def _info(self):
      return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(
          {'body': tfds.features.Text(), 'n': np.int64}))

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples(0, 200), 'test': self._generate_examples(200, 300)}

    def _generate_examples(self, first, last):
      for i in range(first, last):
        yield i, {'body': TEXTS[i], 'n': i}

  folder = str(tmp_path_factory.mktemp('tfds'))
  TinyCorpus(data_dir=folder).download_and_prepare()
  return f'tfds:tiny_corpus:1.2.3@{folder}'


def _job(root, path, name='mine', **more) -> Job:
  return Job.of(str(root), [name], 'bytes', path=[path], text_field='body', **more)


def test_all_sources_hold_the_same_corpus(tmp_path, parquet, tiny_corpus):
  stores = [prepare(_job(tmp_path / str(i), path))['mine']
            for i, path in enumerate((parquet, tiny_corpus))]
  assert stores[0].fingerprint == stores[1].fingerprint
  assert stores[0].manifest['duplicates_dropped'] == 2
  assert sum(stores[0].documents(split) for split in ('train', 'valid')) == len(TEXTS)
  assert stores[1].manifest['source']['tfds'] == ['tiny_corpus/1.2.3 (test 100, train 200)']
  folder = f'{tiny_corpus.partition("@")[2]}/tiny_corpus/1.2.3'
  assert sorted(corpora.documents('x', (f'tfds:{folder}',), 'body')) == sorted(TEXTS)
  for path, field, words in (
      (parquet, 'text', 'no column .text.*body, n'), (parquet, 'n', 'holds int64'),
      (tiny_corpus, 'text', 'no feature .text.*body, n'),
      (tiny_corpus.replace('tiny', 'huge'), 'body', 'TFDS has none')):
    with pytest.raises(InputError, match=words):
      source = corpora.source('x', (path,), field)
      assert source and list(corpora.documents('x', (path,), field))


def test_64_shards_are_the_store_of_one_machine_and_4_hosts_read_each_window_once(
    tmp_path, parquet):
  pytest.importorskip('apache_beam', reason="needs the extra 'beam'")
  whole = prepare(_job(tmp_path / 'one', parquet))['mine']
  sharded = prepare_sharded(_job(tmp_path / 'many', parquet), 64, 'DirectRunner', ())['mine']
  assert sharded.fingerprint == whole.fingerprint
  assert sharded.manifest['shards'] == 64
  for split in ('train', 'valid'):
    np.testing.assert_array_equal(np.asarray(sharded.tokens(split)), whole.tokens(split))
  different = {'shards', 'sizes'}
  assert {k: v for k, v in sharded.manifest.items() if k not in different} == {
      k: v for k, v in whole.manifest.items() if k not in different}
  np.testing.assert_array_equal(sharded.unigram_nll, whole.unigram_nll)
  assert sharded.characters_before('train', 3000) == whole.characters_before('train', 3000)
  # Every host asks the sampler for the same batch and reads its own quarter of it.
  length, batch, hosts = 16, 8, 4
  windows = sharded.windows('train', length)
  steps = windows // batch
  found = []
  for host in range(hosts):
    store = TokenStore.open(sharded.path)
    _, window_KxB, _ = sampler.draw(0, np.ones((steps, 1)), batch, (0,), (windows,))
    own = window_KxB[:, host * batch // hosts:(host + 1) * batch // hosts]
    np.testing.assert_array_equal(store.read('train', own, length),
                                  whole.read('train', own, length))
    found.append(own.ravel())
  read = np.concatenate(found)
  assert len(read) == len(set(read.tolist())) == steps * batch > windows - batch
  assert set(read.tolist()) <= set(range(windows))
  # A second call finds what is there; a store cut short is one line.
  assert prepare_sharded(_job(tmp_path / 'many', parquet), 64, 'DirectRunner', ())['mine'].path
  pieces = shards.paths(sharded.path, 'train', 'bin', 64)
  with open(pieces[7], 'ab') as file:
    file.write(b'x')
  with pytest.raises(InputError, match=r'train-00007-of-00064\.bin'):
    TokenStore.open(sharded.path)


def test_pieces_end_to_end_are_indexed_as_one_array():
  pieces = [np.arange(3), np.arange(0), np.arange(10, 17)]
  joined, plain = shards.Pieces(pieces), np.concatenate(pieces)
  index = np.random.default_rng(0).integers(-10, 10, (4, 5))
  np.testing.assert_array_equal(joined[index], plain[index])
  np.testing.assert_array_equal(joined[2:9:3], plain[2:9:3])
  assert len(joined) == 10 and joined.nbytes == plain.nbytes
  with pytest.raises(IndexError, match='10 of 10'):
    joined[np.array([3, 10])]


def test_shards_need_a_tokenizer_first(tmp_path, parquet):
  pytest.importorskip('apache_beam', reason="needs the extra 'beam'")
  job = Job.of(str(tmp_path), ['mine'], 'bpe', 300, path=[parquet], text_field='body')
  with pytest.raises(InputError, match=r'tokenizer\.model is not there'):
    prepare_sharded(job, 4, 'DirectRunner', ())
