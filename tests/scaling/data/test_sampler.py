"""The sampler: counts follow the weights, epochs are exact, and only `drawn` carries over."""

import itertools
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data import sampler

weights = st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda w: sum(w) > 1e-3)
row = weights.map(lambda w: np.array(w) / np.sum(w))
seeds = st.integers(0, 2**31 - 1)


def take(seed, w, batch, steps, drawn, windows, first=0, start=None):
  return sampler.draw(seed, np.tile(w, (steps, 1)), batch, drawn, windows, start=start)


@settings(deadline=None, max_examples=100)
@given(row, st.integers(1, 40), seeds)
def test_counts_stay_within_three_of_the_weights_at_every_sequence(w, batch, seed):
  domain, _, drawn = take(seed, w, batch, 3000 // batch, (0,) * len(w), (100,) * len(w))
  n = np.arange(1, domain.size + 1)
  for m, weight in enumerate(w):
    counts = np.cumsum(domain.reshape(-1) == m)
    assert np.abs(counts - weight * n).max() < 3
    assert counts[-1] == drawn[m]
    assert weight > 0 or drawn[m] == 0


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_counts_stay_within_three_of_weights_that_change_every_step(domains, batch, seed):
  w = np.random.default_rng(seed).dirichlet(np.full(domains, 0.3), 300)
  due = batch * np.concatenate([np.zeros((1, domains)), np.cumsum(w, axis=0)[:-1]])
  domain, _, _ = sampler.draw(0, w, batch, (0,) * domains, (100,) * domains, due_KxM=due)
  wanted = np.cumsum(np.repeat(w, batch, axis=0), axis=0)
  counts = np.cumsum(domain.reshape(-1, 1) == np.arange(domains), axis=0)
  assert np.abs(counts - wanted).max() < 3


def test_an_adversary_cannot_push_eleven_domains_three_apart():
  # It always feeds, in equal parts, those not served since it began: the worst there is.
  domains, due = 11, np.zeros(11)
  own, waiting = [0] * domains, list(range(domains))
  for _ in range(500):
    w = np.zeros(domains)
    w[waiting] = 1 / len(waiting)
    served = int(sampler.choose(w[None], 1, own, due[None])[0, 0])
    due += w
    own[served] += 1
    waiting = [m for m in waiting if m != served] or list(range(domains))
    assert np.abs(due - own).max() < 3


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 500), st.integers(0, 50), seeds)
def test_a_permutation_is_one(size, epoch, seed):
  out = sampler.permute(np.uint64(seed), np.full(size, epoch), np.arange(size), size)
  np.testing.assert_array_equal(np.sort(out), np.arange(size))


def test_permutations_are_spread_evenly():
  # 20,000 keys on 4 elements: chi-square of the 24 orders, 23 degrees of freedom, p = 1e-5 at 64.
  out = sampler.permute(np.uint64(1), np.repeat(np.arange(20_000), 4),
                        np.tile(np.arange(4), 20_000), 4).reshape(-1, 4)
  counts = np.unique(out @ [64, 16, 4, 1], return_counts=True)[1]
  assert len(counts) == 24
  assert np.sum((counts - 20_000 / 24) ** 2) / (20_000 / 24) < 64


def test_neighbours_in_an_epoch_are_uncorrelated():
  size = 100_000
  out = sampler.permute(np.uint64(7), np.zeros(size, int), np.arange(size), size).astype(float)
  correlations = [np.corrcoef(out[:-lag], out[lag:])[0, 1] for lag in range(1, 50)]
  assert np.abs(correlations).max() < 5 / np.sqrt(size)


@settings(deadline=None, max_examples=30)
@given(row, st.integers(1, 8), seeds)
def test_every_window_of_an_epoch_once_in_an_order_of_its_own(w, batch, seed):
  windows = tuple(17 + 6 * m for m in range(len(w)))
  domain, window, _ = take(seed, w, batch, 600 // batch, (0,) * len(w), windows)
  for m, size in enumerate(windows):
    read = window[domain == m]
    epochs = [read[i:i + size] for i in range(0, len(read) - size + 1, size)]
    for epoch in epochs:
      np.testing.assert_array_equal(np.sort(epoch), np.arange(size))
    for one, other in itertools.pairwise(epochs):
      assert (one != other).any()


@settings(deadline=None, max_examples=50)
@given(row, st.integers(1, 8), seeds, st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_the_chunks_of_the_steps_do_not_matter(w, batch, seed, chunks):
  windows, drawn = (13,) * len(w), (0,) * len(w)
  whole = take(seed, w, batch, sum(chunks), drawn, windows)
  parts = []
  for steps in chunks:
    *part, drawn = take(seed, w, batch, steps, drawn, windows)
    parts.append(part)
  for a, b in zip(whole, map(np.concatenate, zip(*parts))):
    np.testing.assert_array_equal(a, b)
  assert drawn == whole[2]


@settings(deadline=None, max_examples=50)
@given(row, row, st.integers(1, 8), seeds)
def test_a_child_goes_on_where_its_parent_stopped(before, after, batch, seed):
  domains = min(len(before), len(after))
  before, after = (w[:domains] / w[:domains].sum() if w[:domains].sum() > 0
                   else np.full(domains, 1 / domains) for w in (before, after))
  windows = (5000,) * domains
  one, first, drawn = take(seed, before, batch, 40, (0,) * domains, windows)
  two, second, end = take(seed, after, batch, 40, drawn, windows, start=drawn)
  n = np.arange(1, 40 * batch + 1)
  for m in range(domains):
    read = np.concatenate([first[one == m], second[two == m]])
    assert len(np.unique(read)) == len(read) == end[m]  # no window of the parent's again
    assert np.abs(np.cumsum(two.reshape(-1) == m) - after[m] * n).max() < 3  # its own weights


def test_a_domain_keeps_its_windows_when_others_join():
  alone = sampler.draw(3, np.ones((20, 1)), 4, (0,), (999,), ('docs',))[1]
  domain, window, _ = sampler.draw(
      3, np.tile([0.5, 0.5], (40, 1)), 4, (0, 0), (50, 999), ('code', 'docs'))
  np.testing.assert_array_equal(window[domain == 1], alone.reshape(-1))


def test_seeds_and_domains_have_orders_of_their_own():
  w = np.tile([0.5, 0.5], (50, 1))
  domain, window, _ = sampler.draw(0, w, 4, (0, 0), (999, 999))
  other = sampler.draw(1, w, 4, (0, 0), (999, 999))[1]
  assert (window != other).mean() > 0.9
  assert (window[domain == 0] != window[domain == 1]).mean() > 0.9


def test_costs_do_not_grow_with_the_step():
  w, windows = np.tile([0.3, 0.7], (200, 1)), (10**6, 3 * 10**9)

  def seconds(drawn):
    best = []
    for _ in range(5):
      begun = time.perf_counter()
      sampler.draw(0, w, 16, drawn, windows)
      best.append(time.perf_counter() - begun)
    return min(best)

  assert seconds((3 * 10**11, 7 * 10**11)) < 3 * seconds((0, 0)) + 0.01


def test_a_million_windows_a_second():
  position = np.arange(10**6)
  begun = time.perf_counter()
  sampler.permute(np.uint64(0), np.zeros(10**6, int), position, 3 * 10**9)
  assert time.perf_counter() - begun < 1  # 0.1 s on one idle core
