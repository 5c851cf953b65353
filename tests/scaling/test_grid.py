"""The algebra of grids, and what is refused."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from scaling.errors import InputError
from scaling.grid import axis, chain, expand, product, where, zip_

A = axis('base.seed', (0, 1, 2))
B = axis('size', (1e4, 2e4))
C = axis('tokens', (1e5, 2e5, 3e5))

values = st.lists(st.integers(0, 9), min_size=1, max_size=4)


def grids(name: str):
  return st.builds(lambda v: axis(f'base.{name}', v), values)


def test_product_varies_the_last_fastest():
  assert expand(product(B, C))[:4] == [
      {'size': 1e4, 'tokens': 1e5}, {'size': 1e4, 'tokens': 2e5}, {'size': 1e4, 'tokens': 3e5},
      {'size': 2e4, 'tokens': 1e5}]


def test_zip_goes_together():
  assert expand(zip_(A, C))[1] == {'base.seed': 1, 'tokens': 2e5}


def test_chain_may_change_the_fields():
  assert expand(chain(B, A)) == expand(B) + expand(A)


def test_no_grid_is_one_point_that_sets_nothing():
  assert expand(None) == [{}] == expand(product())
  assert expand(chain()) == []


def test_a_bundle_sets_several_fields():
  assert expand(axis('base.model', [{'width': 16, 'layers': 2}, {'width': 24}])) == [
      {'base.model.width': 16, 'base.model.layers': 2}, {'base.model.width': 24}]
  deep = axis('base.data.domains', [{'docs': {'weight': 0.5}, 'code.weight': 0.5}])
  assert expand(deep) == [
      {'base.data.domains.docs.weight': 0.5, 'base.data.domains.code.weight': 0.5}]


@settings(deadline=None)
@given(grids('a'), grids('b'), grids('c'))
def test_algebra(a, b, c):
  assert expand(product(a, product(b, c))) == expand(product(product(a, b), c))
  assert expand(product(a, product())) == expand(a) == expand(product(product(), a))
  assert expand(chain(a, chain(b, c))) == expand(chain(chain(a, b), c))
  assert expand(chain(a, chain())) == expand(a)
  assert expand(product(chain(a, b), c)) == expand(chain(product(a, c), product(b, c)))
  assert expand(product(a, chain())) == []
  assert len(expand(product(a, b, c))) == len(expand(a)) * len(expand(b)) * len(expand(c))
  assert expand(zip_(a, axis('base.z', range(len(expand(a)))))) == [
      {**point, 'base.z': i} for i, point in enumerate(expand(a))]


@settings(deadline=None)
@given(grids('a'), grids('b'), st.integers(0, 9))
def test_where_is_a_filter(a, b, bound):
  grid, text = product(a, b), f'base.a + base.b < {bound}'
  kept = [p for p in expand(grid) if p['base.a'] + p['base.b'] < bound]
  assert expand(where(grid, text)) == kept
  assert expand(where(grid, lambda p: p['base.a'] + p['base.b'] < bound)) == kept
  assert expand(where(where(grid, text), 'base.a != 1')) == expand(
      where(grid, f'({text}) and base.a != 1'))
  assert expand(where(chain(a, a), 'base.a > 3')) == expand(
      chain(where(a, 'base.a > 3'), where(a, 'base.a > 3')))


@pytest.mark.parametrize('text, kept', [
    ('tokens >= 20 * size', 2), ('tokens / size == 10', 2), ('not tokens < 2e5', 4),
    ('1e4 < size <= 2e4 and tokens in (1e5, 2e5)', 2), ('size == 1e4 or tokens == 1e5', 4),
    ('tokens % 2e5 == 0', 2), ('size ** 2 > 1e8', 3), ('-size < -1e4', 3), ('True', 6),
    ('tokens not in [1e5]', 4)])
def test_conditions(text, kept):
  assert len(expand(where(product(B, C), text))) == kept


@pytest.mark.parametrize('text', [
    '__import__("os").system("true")', 'open("x")', '(lambda: 1)()', '[s for s in (1, 2)]',
    'size if 1 else 2', 'f"{size}"', 'size[0]', 'size >', '', 'size = 3', 'size is 3', '~size'])
def test_a_condition_is_not_python(text):
  with pytest.raises(InputError, match=r'config\.axes: where'):
    expand(where(B, text))


@pytest.mark.parametrize('grid, message', [
    (axis('size', ()), r"config\.axes: axis size: \(\).*at least one value"),
    (axis('base.model', ({},)), r'config\.axes: axis base\.model: \{\}.*at least one field'),
    (('axis', 'size', 3), r'config\.axes: axis size: 3.*tuple of values'),
    (('axis', '', (1,)), r'an axis starts with the path'),
    (('axis', 'size'), r'another number of parts'),
    (product(B, B), r'config\.axes: size is set by two axes'),
    (zip_(A, B), r'config\.axes: a zip of grids of unequal lengths \[3, 2\]'),
    (product(A, 3), r'config\.axes: 3 is not allowed; it must be a grid'),
    ('size', r"config\.axes: 'size' is not allowed; it must be a grid"),
    (('outer', A), r'it must be a grid'),
    (where(B, 'tokens > 3'), r'where .* at \{.*\}: .*tokens is not set there; size is'),
    (where(B, 'size > "a"'), r'cannot be judged'),
    (where(B, 'size / 0 > 1'), r'cannot be judged'),
    (where(B, 3), r'where: 3 is not allowed; a condition is text or a function'),
    (product(axis('base.model', [{'width': 1}]), axis('base.model.width', [2])),
     r'base\.model\.width is set by two axes'),
])
def test_bad_grids(grid, message):
  with pytest.raises(InputError, match=message) as caught:
    expand(grid)
  assert '\n' not in str(caught.value)


def test_a_grid_lives_in_a_config_and_in_json():
  grid = where(product(A, B, axis('base.model', [{'width': 16}])), 'size > 1e4')
  config = ConfigDict({'axes': grid})
  assert config.to_dict()['axes'] == grid
  assert expand(config.copy_and_resolve_references().axes) == expand(grid)
  assert expand(json.loads(json.dumps(grid))) == expand(grid)


def test_numpy_values_become_plain():
  points = expand(axis('size', np.geomspace(1e3, 1e5, 3))) + expand(axis('seed', np.arange(2)))
  assert [type(v) for p in points for v in p.values()] == [float] * 3 + [int] * 2


def test_large_grids_expand_in_seconds():
  start = time.perf_counter()
  grid = where(product(axis('base.a', range(1000)), axis('base.b', range(100))), 'base.a >= 0')
  assert len(expand(grid)) == 100_000
  assert time.perf_counter() - start < 10  # 0.3 s on one quiet core
