"""Token stores: what is read is what was written, and a damaged one is refused in one line."""

import json
import os
import shutil

import numpy as np
import pytest

from scaling.data import build, token_store, tokenizers
from scaling.data.job import Job
from scaling.data.prepare import prepare
from scaling.data.token_store import TokenStore
from scaling.errors import InputError


def texts(count=200, size=40):
  rng = np.random.default_rng(0)
  words = ['alpha', 'beta', 'naïve', 'übung', 'x = 1\n', '  ', '東京']
  return [f'{i} ' + ' '.join(rng.choice(words, rng.integers(1, size))) for i in range(count)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp('store')
  lines = folder / 'in.jsonl'
  lines.write_text(''.join(json.dumps({'text': t}) + '\n' for t in texts()), encoding='utf-8')
  for kind, size in (('bytes', 256), ('bpe', 300)):
    prepare(Job.of(str(folder), ['mine'], kind, size, path=[str(lines)]))
  return folder


@pytest.fixture
def store(root):
  return TokenStore.open(root / 'bytes' / 'mine')


@pytest.fixture
def copy(root, tmp_path):
  shutil.copytree(root / 'bpe-300-mine', tmp_path / 'bpe-300-mine')
  return tmp_path / 'bpe-300-mine' / 'mine'


def documents(store, split, tokenizer):
  ids = store.tokens(split)
  ends = np.flatnonzero(ids == tokenizer.end)
  return [tokenizer.decode(part) for part in np.split(ids, ends + 1)[:-1]]


@pytest.mark.parametrize('folder', ['bytes', 'bpe-300-mine'])
def test_every_document_comes_back_in_one_split(root, folder):
  store = TokenStore.open(root / folder / 'mine')
  tokenizer = (tokenizers.Bytes() if folder == 'bytes' else
               tokenizers.Bpe((root / folder / 'tokenizer.model').read_bytes()))
  found = {split: documents(store, split, tokenizer) for split in token_store.SPLITS}
  assert sorted(found['train'] + found['valid']) == sorted(texts())
  for split, docs in found.items():
    assert store.documents(split) == len(docs)
    assert store.characters(split) == sum(map(len, docs))
    assert store.bytes(split) == sum(len(d.encode()) for d in docs)
    assert store.token_bytes[store.tokens(split)].sum() == store.bytes(split)


def test_tokenizers_see_the_documents_in_the_same_order(root):
  a, b = TokenStore.open(root / 'bytes' / 'mine'), TokenStore.open(root / 'bpe-300-mine' / 'mine')
  bpe = tokenizers.Bpe((root / 'bpe-300-mine' / 'tokenizer.model').read_bytes())
  assert documents(a, 'train', tokenizers.Bytes()) == documents(b, 'train', bpe)
  assert a.fingerprint != b.fingerprint


def test_windows_overlap_by_the_target_and_tile_the_split(store):
  length, tokens = 10, store.tokens('train')
  count = store.windows('train', length)
  assert count == (len(tokens) - 1) // length
  read = store.read('train', np.arange(count).reshape(1, -1), length)
  assert read.shape == (1, count, length + 1)
  assert read.dtype == np.int32
  np.testing.assert_array_equal(read[0, :, :-1].reshape(-1), tokens[:count * length])
  np.testing.assert_array_equal(read[0, :-1, -1], read[0, 1:, 0])
  assert store.windows('train', length, unique_tokens=101) == 10
  assert store.windows('train', length, unique_tokens=100) == 9
  assert store.windows('train', len(tokens)) == 0


def test_unigram_is_minus_the_log_share_and_zero_for_tokens_never_seen(store):
  counts = np.bincount(store.tokens('train'), minlength=256)
  share = counts / counts.sum()
  np.testing.assert_allclose(np.exp(-store.unigram_nll[store.seen]), share[share > 0])
  np.testing.assert_array_equal(store.seen, counts > 0)
  assert (store.unigram_nll[~store.seen] == 0).all()
  assert store.seen[0xFF]  # the end of a document is a token like any other


def test_the_character_index_counts_a_prefix_of_the_documents(store):
  docs = documents(store, 'train', tokenizers.Bytes())
  tokens = characters = 0
  for doc in docs[:30]:
    assert store.characters_before('train', tokens) == characters
    tokens += len(doc.encode()) + 1
    characters += len(doc)
    assert store.tokens_for_characters('train', characters) == tokens
  half = store.tokens_for_characters('train', characters - 1)
  assert tokens - 8 < half < tokens
  assert store.characters_before('train', store.count('train')) == store.characters('train')
  assert store.tokens_for_characters('train', 10**12) == store.count('train')
  assert store.tokens_for_characters('train', 0) == 0


def test_the_fingerprint_depends_on_the_text_alone(root, tmp_path):
  lines = tmp_path / 'again.jsonl'  # other order, repetitions, another name of the file
  again = [t for t in reversed(texts()) for _ in range(2)]
  lines.write_text(''.join(json.dumps({'text': t}) + '\n' for t in again))
  made = prepare(Job.of(str(tmp_path), ['mine'], 'bytes', path=[str(lines)]))['mine']
  assert made.fingerprint == TokenStore.open(root / 'bytes' / 'mine').fingerprint
  assert made.manifest['duplicates_dropped'] == len(texts())


def test_adding_documents_moves_none_between_splits_and_keeps_the_order(root, tmp_path):
  lines = tmp_path / 'more.jsonl'
  more = texts() + [f'another {i}' for i in range(200)]
  lines.write_text(''.join(json.dumps({'text': t}) + '\n' for t in more))
  made = prepare(Job.of(str(tmp_path), ['mine'], 'bytes', path=[str(lines)]))['mine']
  old = TokenStore.open(root / 'bytes' / 'mine')
  for split in token_store.SPLITS:
    kept = [d for d in documents(made, split, tokenizers.Bytes()) if not d.startswith('another')]
    assert kept == documents(old, split, tokenizers.Bytes())


def test_wide_vocabularies_take_four_bytes():
  assert token_store.dtype_of(2**16) == np.uint16
  assert token_store.dtype_of(2**16 + 1) == np.uint32


@pytest.mark.parametrize('name', [
    'train.bin', 'valid.bin', 'train.documents', 'unigram.npy', 'token_bytes.npy'])
def test_truncated_and_missing_files_are_refused(copy, name):
  path = copy / name
  os.truncate(path, path.stat().st_size - 2)
  with pytest.raises(InputError, match=rf'{name} has \d+ bytes instead of \d+.*remove it and run'):
    TokenStore.open(copy)
  path.unlink()
  with pytest.raises(InputError, match=f'{name} is missing'):
    TokenStore.open(copy)


@pytest.mark.parametrize('text', ['', '{"format": 1', '[]', '{"format": 99}', '{"format": 1}',
                                  '{"format": 1, "tokenizer": "bpe-300-mine"}'])
def test_damaged_manifests_are_refused(copy, text):
  (copy / 'manifest.json').write_text(text)
  with pytest.raises(InputError, match=r'broken token store|built with'):
    TokenStore.open(copy)


def test_a_missing_store_names_the_command_that_makes_it(tmp_path):
  path = token_store.folder(tmp_path, 'bpe', 512, ('python_docs', 'python_code'), 'python_docs')
  assert path.endswith('bpe-512-python_code+python_docs/python_docs')
  with pytest.raises(InputError) as error:
    TokenStore.open(path)
  assert str(error.value).endswith(
      'python -m scaling.data.prepare --corpus=python_docs --tokenizer=bpe --vocab_size=512 '
      f'--tokenizer_corpora=python_code,python_docs --store={tmp_path}')
  with pytest.raises(InputError, match='--corpus=markov --tokenizer=symbols --store='):
    TokenStore.open(token_store.folder(tmp_path, 'symbols', 64, (), 'markov'))


def test_a_store_of_another_tokenizer_is_refused(copy):
  model = copy.parent / 'tokenizer.model'
  model.write_bytes(model.read_bytes() + b'\0')
  with pytest.raises(InputError, match='built with another bpe-300-mine'):
    TokenStore.open(copy)
  model.unlink()
  TokenStore.open(copy)  # a store copied alone
  moved = copy.parent.parent / 'bpe-400-mine'
  copy.parent.rename(moved)
  with pytest.raises(InputError, match='built with tokenizer bpe-300-mine, not bpe-400-mine'):
    TokenStore.open(moved / 'mine')


def test_a_symbol_store_has_no_ends_of_documents(tmp_path):
  target = str(tmp_path / 'symbols-64' / 'markov')
  build.markov_store(target, str(tmp_path / 'scratch'), 5000, 300, lambda *_: None)
  store = TokenStore.open(target)
  assert (store.count('train'), store.count('valid')) == (5000, 300)
  assert store.characters('train') == store.bytes('train') == 5000
  assert 2 < store.entropy_rate < 3
  assert store.characters_before('train', 1234) == 1234
