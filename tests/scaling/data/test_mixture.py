"""Shares of the domains against their formulas, and how close the sampler keeps to them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data import mixture, sampler
from scaling.specs import DataSpec, DomainSpec, MixtureSpec

DOMAINS = {'code': DomainSpec(0.1, late_weight=0.6), 'docs': DomainSpec(0.7, late_weight=0.4),
           'law': DomainSpec(0.2, late_weight=0.0)}
STEP = DataSpec(domains=DOMAINS, mixture=MixtureSpec('step', change_at=0.8))
PLAIN = {name: dataclasses.replace(domain, late_weight=None) for name, domain in DOMAINS.items()}
COOLED = DataSpec(domains=PLAIN, mixture=MixtureSpec('temperature', None, 5.0, 1.0))
ALL = (DataSpec(domains=PLAIN), STEP, COOLED)


def test_step_changes_once():
  rows = mixture.weights(STEP, np.arange(10), 10)
  np.testing.assert_array_equal(rows[:8], np.tile([0.1, 0.7, 0.2], (8, 1)))
  np.testing.assert_array_equal(rows[8:], np.tile([0.6, 0.4, 0.0], (2, 1)))


def test_temperature_goes_from_flat_to_the_weights():
  rows = mixture.weights(COOLED, np.arange(101), 101)
  w = np.array([0.1, 0.7, 0.2])
  np.testing.assert_allclose(rows[0], w**0.2 / (w**0.2).sum(), rtol=1e-14)
  np.testing.assert_allclose(rows[50], w**(1 / 3) / (w**(1 / 3)).sum(), rtol=1e-14)
  np.testing.assert_allclose(rows[100], w, rtol=1e-14)


def test_a_domain_without_weight_is_never_drawn_at_any_temperature():
  domains = {'a': DomainSpec(0.0), 'b': DomainSpec(1.0)}
  rows = mixture.weights(DataSpec(domains=domains, mixture=COOLED.mixture), np.arange(5), 5)
  np.testing.assert_array_equal(rows, np.tile([0.0, 1.0], (5, 1)))


@pytest.mark.parametrize('spec', ALL)
@given(total=st.integers(1, 300), data=st.data())
@settings(max_examples=30, deadline=None)
def test_sums_are_those_of_the_weights_wherever_a_chunk_begins(spec, total, data):
  steps = np.arange(total)
  rows = mixture.weights(spec, steps, total)
  np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-12)
  sums = mixture.sums(spec, steps, total)
  np.testing.assert_allclose(sums[1:], np.cumsum(rows, 0)[:-1], rtol=1e-10, atol=1e-10)
  first = data.draw(st.integers(0, total - 1))
  np.testing.assert_array_equal(mixture.sums(spec, steps[first:], total), sums[first:])
  np.testing.assert_array_equal(mixture.weights(spec, steps[first:], total), rows[first:])


@pytest.mark.parametrize('spec', ALL)
def test_what_is_drawn_follows_the_shares_within_three_sequences(spec):
  total, batch, steps = 200, 4, np.arange(200)
  sums = batch * mixture.sums(spec, steps, total)
  domain, _, _ = sampler.draw(0, mixture.weights(spec, steps, total), batch, (0, 0, 0),
                              (50, 50, 50), due_KxM=sums)
  counts = np.stack([(domain == m).sum(1).cumsum() for m in range(3)], 1)
  assert np.abs(counts[:-1] - sums[1:]).max() < 3
