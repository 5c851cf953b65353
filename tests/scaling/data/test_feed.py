"""A run's batches and evaluation windows, and what it says it has seen."""

import dataclasses

import numpy as np
import pytest

from scaling import specs
from scaling.data.feed import Feed
from scaling.data.job import Job
from scaling.data.prepare import prepare
from scaling.errors import InputError


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
  root = tmp_path_factory.mktemp('feed')
  for name in ('a', 'b'):
    rng = np.random.default_rng(ord(name))  # no two windows are alike
    lines = [f'{{"text": "{rng.bytes(40 + i % 50).hex()} é"}}' for i in range(300)]
    (root / f'{name}.jsonl').write_text('\n'.join(lines), encoding='utf-8')
  return prepare(Job.of(str(root), ['a', 'b'], 'bytes',
                        path=[f'a={root}/a.jsonl', f'b={root}/b.jsonl']))


def spec(weight=0.25, unique=None, **more):
  return specs.RunSpec(
      data=specs.DataSpec(
          domains={'b': specs.DomainSpec(1 - weight), 'a': specs.DomainSpec(weight, unique)},
          tokenizer='bytes', vocab_size=256, length=16, batch=5),
      evaluation=specs.EvalSpec(windows=8), **more)


def test_batches_hold_windows_of_the_domains(stores):
  feed = Feed(spec(), stores)
  assert feed.names == ('a', 'b')
  tokens, drawn = feed.take(0, 40, feed.start())
  assert tokens.shape == (40, 5, 17)
  assert tokens.dtype == np.int32
  assert drawn == (50, 150)
  whole = {name: bytes(stores[name].tokens('train').astype(np.uint8)) for name in 'ab'}
  counts = {name: sum(bytes(row.astype(np.uint8)) in text for row in tokens.reshape(-1, 17))
            for name, text in whole.items()}
  assert counts['a'] >= 50
  assert counts['b'] >= 150


def test_chunks_hosts_and_restarts_read_the_same(stores):
  feed = Feed(spec(), stores)
  whole, end = feed.take(0, 12, feed.start())
  one, drawn = feed.take(0, 5, feed.start())
  two, drawn = Feed(spec(), stores).take(5, 7, drawn)
  np.testing.assert_array_equal(whole, np.concatenate([one, two]))
  assert drawn == end
  mine, drawn = feed.take(0, 12, feed.start(), rows=slice(1, 3))
  np.testing.assert_array_equal(mine, whole[:, 1:3])
  assert drawn == end


def test_a_child_reads_what_its_parent_did_not(stores):
  parent = Feed(spec(1.0), stores)
  first, drawn = parent.take(0, 10, parent.start())
  child = Feed(spec(0.5), stores, inherited=dict(zip(parent.names, drawn)))
  assert child.start() == drawn == (50, 0)
  second, end = child.take(0, 10, child.start())
  assert end == (75, 25)
  rows = {row.tobytes() for row in first.reshape(-1, 17)}
  assert not rows & {row.tobytes() for row in second.reshape(-1, 17)}


def test_unique_tokens_repeat_a_nested_subset(stores):
  unique = 16 * 6 + 1
  feed = Feed(spec(1.0, unique), stores)
  tokens, drawn = feed.take(0, 6, feed.start())
  rows = tokens.reshape(5, 6, 17)  # 30 sequences are 5 epochs of 6 windows
  for epoch in rows:
    starts = sorted(epoch.tolist())
    assert starts == sorted(stores['a'].read('train', np.arange(6), 16).tolist())
  assert feed.seen(drawn)['a'] == pytest.approx({
      'tokens': 480, 'unique': 96, 'epochs': 5,
      'characters': 480 * stores['a'].characters('train') / stores['a'].count('train'),
      'bytes': 480 * stores['a'].bytes('train') / stores['a'].count('train')})
  assert feed.seen(drawn)['b'] == {
      'tokens': 0, 'unique': 0, 'epochs': 0, 'characters': 0, 'bytes': 0}


def test_evaluation_reads_the_first_windows_of_valid(stores):
  windows = Feed(spec(), stores).eval_windows('b', 8)
  np.testing.assert_array_equal(windows, stores['b'].read('valid', np.arange(8), 16))
  with pytest.raises(InputError, match=r'evaluation.windows: 1000000 .* of a has \d+ windows'):
    Feed(spec(), stores).eval_windows('a', 10**6)


def test_bad_pairs_of_spec_and_stores(stores):
  with pytest.raises(InputError, match=r'data.domains: .b. .* no token store'):
    Feed(spec(), {'a': stores['a']})
  with pytest.raises(InputError, match=r'unique_tokens: 1000000000 .* has .* tokens'):
    Feed(spec(unique=10**9), stores)
  other = specs.DomainSpec(1.0, fingerprint='0' * 16)
  data = dataclasses.replace(spec().data, domains={'a': other})
  with pytest.raises(InputError, match='fingerprint'):
    Feed(dataclasses.replace(spec(), data=data), stores)
  data = dataclasses.replace(spec().data, tokenizer='bpe', vocab_size=512)
  with pytest.raises(InputError, match=r'data.vocab_size: 512 .* has 256'):
    Feed(dataclasses.replace(spec(), data=data), stores)
  data = dataclasses.replace(spec().data, length=10**6)
  with pytest.raises(InputError, match=r'data.length: 1000000'):
    Feed(dataclasses.replace(spec(), data=data), stores)
