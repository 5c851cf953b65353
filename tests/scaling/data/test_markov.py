"""The synthetic corpus: its entropy rate is that of its own chain."""

import numpy as np
import pytest

from scaling.data import markov


@pytest.fixture(scope='module')
def rows():
  return markov.rows()


def test_rows_are_zipf_distributions_with_positive_entries(rows):
  assert rows.shape == (4, 64, 64)
  np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-12)
  ranked = np.sort(rows, axis=-1)[..., ::-1]
  k = np.arange(1, 65)
  np.testing.assert_allclose(ranked[0, 0], k**-1.5 / np.sum(k**-1.5), atol=0.01)
  assert rows.min() > 0


def test_the_stationary_distribution_is_that_of_the_pair_chain(rows):
  # All 4,096 pairs (older, newest), by power iteration.
  pair = np.full((64, 64), 1 / 4096)
  full = rows[np.arange(64) % 4]  # [older, newest, next]
  for _ in range(200):
    pair = np.einsum('ab,abc->bc', pair, full)
  lumped = np.stack([pair[c::4].sum(0) for c in range(4)])
  np.testing.assert_allclose(markov.stationary(rows), lumped, atol=1e-12)
  rate = -np.sum(pair[..., None] * full * np.log(full))
  assert markov.entropy_rate(rows) == pytest.approx(rate, rel=1e-10)


def test_the_truth_scores_its_entropy_rate_on_a_walk(rows):
  walk = markov.walk(rows, 400_000, 5).astype(int)
  nll = -np.log(rows[walk[:-2] % 4, walk[1:-1], walk[2:]])
  error = nll.std() / np.sqrt(len(nll))
  assert nll.mean() == pytest.approx(markov.entropy_rate(rows), abs=5 * error)


def test_the_second_order_matters(rows):
  pi = markov.stationary(rows)
  newest = (pi[..., None] * rows).sum(0) / pi.sum(0)[:, None]
  first_order = -np.sum(pi.sum(0)[:, None] * newest * np.log(newest))
  unigram = -np.sum(pi.sum(0) * np.log(pi.sum(0)))
  assert markov.entropy_rate(rows) < 0.8 * first_order < 0.8 * unigram


def test_walks_are_reproducible_and_differ_by_seed(rows):
  one = markov.walk(rows, 1000, 1)
  np.testing.assert_array_equal(one, markov.walk(rows, 1000, 1))
  assert (one != markov.walk(rows, 1000, 2)).any()
