"""The expressions of --columns and --where: what they compute, and that nothing breaks them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reading import tables
from analysis.reading.expressions import Expression
from scaling.errors import InputError

TABLE = {'N': np.array([1e6, 2e6, 4e6]), 'loss': np.array([5.0, 4.0, np.nan]),
         'Model Size': np.array([1, 2, 3]), 'name': np.array(['a', 'b', 'a'], object),
         'mixed': np.array(['1.5', ' ', 'x'], object), 'digits': np.array(['1', '', '3'], object),
         'loss/docs': np.array([1.0, 2.0, 3.0])}


@pytest.mark.parametrize('text, value', [
    ('N', [1e6, 2e6, 4e6]), ('N/1e6*2 - 1', [1, 3, 7]), ('-N**2/1e12', [-1, -4, -16]),
    ('6*`Model Size`', [6, 12, 18]), ('`loss/docs`+0', [1, 2, 3]), ('digits * 2', [2, np.nan, 6]),
    ('loss < 5', [False, True, False]), ('loss < 4.5 and N > 1e6', [False, True, False]),
    ('not loss < 5 or N == 4e6', [True, False, True]), ('1e6 < N <= 2e6', [False, True, False]),
    ("name == 'a'", [True, False, True]), ("name != 'a' and loss > 1", [False, True, False]),
    ('2 ** 3 ** 2', 512), ('1 / 0', np.inf), ('(1 +\n 2)', 3)])
def test_values(text, value):
  np.testing.assert_array_equal(Expression(text).evaluate(TABLE), value)


def test_names():
  assert Expression('`Training FLOP`/(6*`Model Size`) + N').names == (
      'Model Size', 'N', 'Training FLOP')


@pytest.mark.parametrize('text, said', [
    ('missing + 1', 'the columns are N, loss'), ('name * 2', "'a'"), ('mixed + 1', "'x'"),
    ('name < 3', 'cannot be ordered'), ('N and loss < 3', 'take comparisons'),
    ('__import__("os").system("true")', 'Call is not allowed'), ('N.real', 'Attribute'),
    ('N[0]', 'Subscript'), ('lambda: 1', 'Lambda'), ('[N]', 'List'), ('`N', 'not closed'),
    ('', 'expression'), ('N +', 'expression'), ('f"{N}"', 'not allowed'), ('x := 1', 'expression'),
    ('1j', 'not allowed'), ('(' * 300 + ')' * 300, 'expression'), ('N\x00', 'expression'),
    ('N' * 3000, 'longest'), ('9' * 1900, 'expression')])
def test_errors_are_one_line(text, said):
  with pytest.raises(InputError, match=said) as error:
    Expression(text).evaluate(TABLE)
  assert '\n' not in str(error.value) and len(str(error.value)) < 600


PIECES = st.sampled_from(['N', 'loss', 'name', '`Model Size`', '`', '(', ')', '+', '-', '*', '/',
                          '**', '<', '==', ' and ', ' or ', ' not ', '1e9', '0', "'a'", '"', '.',
                          '[', ',', '=', '\\', '\n', 'é', '1_0', 'if', ' in ', '@', '~', '%'])


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map(''.join)))
def test_no_text_gives_a_traceback(text):
  try:
    value = Expression(text).evaluate(TABLE)
  except InputError as error:
    assert '\n' not in str(error)
  else:
    assert isinstance(value, np.ndarray)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map(''.join)))
def test_no_columns_text_gives_a_traceback(text):
  try:
    for name in tables.columns(text):
      assert name.isidentifier()
  except InputError as error:
    assert '\n' not in str(error)
