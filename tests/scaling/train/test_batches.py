"""The tokens of a dispatch: from the device the same as from the host."""

import types

import jax
import numpy as np
import pytest

from scaling import specs
from scaling.data.feed import Feed
from scaling.data.job import Job
from scaling.data.prepare import prepare
from scaling.train import batches, sharding
from scaling.train.batches import Batches, room

K, B, L = 6, 5, 16


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
  root = tmp_path_factory.mktemp('batches')
  for name in ('a', 'b'):
    rng = np.random.default_rng(ord(name))
    lines = [f'{{"text": "{rng.bytes(60).hex()}"}}' for _ in range(200)]
    (root / f'{name}.jsonl').write_text('\n'.join(lines))
  return prepare(Job.of(str(root), ['a', 'b'], 'bytes',
                        path=[f'a={root}/a.jsonl', f'b={root}/b.jsonl']))


def lanes(stores):
  """Places 0 and 2 of three: both domains in other shares and seeds, then one domain alone."""
  found = []
  for place, weights, seed in ((0, {'b': 0.75, 'a': 0.25}, 1), (2, {'b': 1.0}, 2)):
    spec = specs.RunSpec(seed=seed, data=specs.DataSpec(
        domains={name: specs.DomainSpec(weight) for name, weight in weights.items()},
        tokenizer='bytes', vocab_size=256, length=L, batch=B),
        evaluation=specs.EvalSpec(windows=2))
    feed = Feed(spec, {name: stores[name] for name in weights})
    found.append((place, types.SimpleNamespace(feed=feed, step=0, drawn=feed.start())))
  return found


def program():
  return types.SimpleNamespace(
      lanes=3, chunk=K, shape=types.SimpleNamespace(batch=B, length=L), mesh=sharding.single())


def test_the_device_gathers_what_the_host_reads(stores):
  host, device = lanes(stores), lanes(stores)
  held = Batches(2**40)
  for n in (K, 4):
    expected = Batches().gather(program(), host, n)
    with jax.transfer_guard_host_to_device('disallow'):
      found = held.gather(program(), device, n)
    assert isinstance(found, jax.Array) and found.dtype == np.int32
    for (i, one), (_, other) in zip(host, device, strict=True):
      np.testing.assert_array_equal(found[:n, i], expected[:n, i])
      assert one.drawn == other.drawn != one.feed.start()
      one.step = other.step = n


def test_one_gather_serves_whatever_the_lanes_read(stores):
  batches._gatherer.cache_clear()
  pack = Batches(2**40)
  both = lanes(stores)
  for these in (both, both[::-1], both[1:], both[:1]):
    expected = Batches().gather(program(), [
        (i, types.SimpleNamespace(**vars(lane))) for i, lane in these], 2)
    found = pack.gather(program(), these, 2)
    for i, _ in these:
      np.testing.assert_array_equal(found[:2, i], expected[:2, i])
  assert batches._gatherer(program().mesh, L)._cache_size() == 1


def test_a_store_without_room_stays_with_the_host(stores):
  size = {name: stores[name].tokens('train').nbytes for name in 'ab'}
  held = Batches(size['b'] + 1)
  both, alone = lanes(stores), lanes(stores)[1:]
  assert isinstance(held.gather(program(), both, 1), np.ndarray)
  assert isinstance(held.gather(program(), alone, 1), jax.Array)
  assert isinstance(held.gather(program(), both, 1), np.ndarray)


def test_room_is_a_tenth_of_an_accelerator_and_none_of_a_cpu():
  accelerator = types.SimpleNamespace(platform='gpu', memory_stats=lambda: {'bytes_limit': 1000})
  assert room(accelerator) == 100
  assert room(types.SimpleNamespace(platform='gpu', memory_stats=lambda: None)) == 0
  assert room(jax.devices('cpu')[0]) == 0
