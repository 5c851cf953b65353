"""Expressions over a table's columns: `Training FLOP`/(6*`Model Size`), loss < 5 and N > 1e6.

Arithmetic (+ - * / ** and unary -), comparisons (chains too), and, or, not, numbers (also 100M,
1.5B, 2k, see analysis/reading/suffixes.py), 'texts', names, and names in backquotes when they hold
spaces or slashes. Nothing else: no calls, no attributes.
Python's own parser reads the text, an explicit list of its nodes is evaluated; there is no eval.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.reading import suffixes
from scaling.errors import InputError

LONGEST = 2000  # characters

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.Pow: operator.pow}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne}
_ALLOWED = 'allowed are + - * / **, comparisons, and, or, not, numbers, texts and column names'
# Texts and backquoted names are passed over, so a suffix is never looked for inside them.
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`|`"""
                    r"""|(?<![\w.])(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?P<power>[eE][+-]?[0-9]+)?)"""
    r"""(?P<letters>[A-Za-z_]\w*)?""")


class Expression:
  """A parsed expression: `names`, and `evaluate(table)` -> an array with a value a row."""

  def __init__(self, text: str) -> None:
    """Raises InputError, one line, for anything that is not such an expression."""
    self.text = text
    self._quoted: dict[str, str] = {}
    if len(text) > LONGEST:
      raise InputError(f'expression of {len(text)} characters: the longest allowed is {LONGEST}')
    marked = _TOKEN.sub(self._mark, text).strip()
    try:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Python's opinions on odd literals
        self._tree = ast.parse(marked, mode='eval').body
      self.names = tuple(sorted(self._check(self._tree)))
    except InputError:
      raise
    except SyntaxError as error:
      raise self._error(f'{error.msg}; {_ALLOWED}') from None
    except (ValueError, RecursionError, MemoryError) as error:
      raise self._error(f'it cannot be read ({type(error).__name__})') from None

  def evaluate(self, table: Any) -> np.ndarray:
    """The value in each row of a table (a mapping of columns), finite or not.

    Raises InputError for a column that is missing or does not hold what the operation needs.
    """
    try:
      with np.errstate(all='ignore'):
        return np.asarray(self._value(self._tree, table))
    except InputError:
      raise
    except (TypeError, ValueError, OverflowError, RecursionError, ZeroDivisionError,
            np.exceptions.DTypePromotionError) as error:
      raise self._error(f'{type(error).__name__}: {error}') from None

  def _mark(self, match: re.Match) -> str:
    """The Python for a token: a plain name for a backquoted one, 1.5e9 for 1.5B."""
    token = match.group()
    if token == '`':
      raise self._error('a backquote is not closed')
    if token[0] == '`':
      mark = f'q{len(self._quoted)}_quoted'
      while mark in self.text:
        mark += '_'
      self._quoted[mark] = token[1:-1]
      return f' {mark} '
    letters = match.group('letters')
    if not letters or keyword.iskeyword(letters) or re.fullmatch(
        r'_[0-9_]*|[jJ]|[xXoObB][0-9a-fA-F_]+', letters):
      return token
    if letters in suffixes.FACTORS and not match.group('power'):
      return f'{match.group("number")}e{suffixes.FACTORS[letters]}'
    raise self._error(f'{token!r} is no number: suffixes are {suffixes.KNOWN}'
                      + suffixes.hint(token))

  def _error(self, why: str) -> InputError:
    shown = self.text if len(self.text) <= 120 else self.text[:117] + '...'
    return InputError(' '.join(f'expression {shown!r}: {why}'.split()))

  def _check(self, node: ast.AST) -> set[str]:
    """The column names in a tree. Raises InputError for a node that is not allowed."""
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
      return self._check(node.left) | self._check(node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
      return self._check(node.operand)
    if isinstance(node, ast.BoolOp):
      return set().union(*map(self._check, node.values))
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
      return set().union(*map(self._check, [node.left, *node.comparators]))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str, bool):
      if type(node.value) is int and abs(node.value) > 1e300:
        raise self._error('a number is too large')
      return set()
    if isinstance(node, ast.Name):
      return {self._quoted.get(node.id, node.id)}
    raise self._error(f'{type(node).__name__} is not allowed; {_ALLOWED}')

  def _value(self, node: ast.AST, table: Any) -> Any:
    if isinstance(node, ast.BinOp):
      left, right = self._number(node.left, table), self._number(node.right, table)
      return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
      if isinstance(node.op, ast.Not):
        return ~self._truth(node.operand, table)
      value = self._number(node.operand, table)
      return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BoolOp):
      join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
      return join.reduce(np.broadcast_arrays(*(self._truth(v, table) for v in node.values)))
    if isinstance(node, ast.Compare):
      values = [self._value(v, table) for v in [node.left, *node.comparators]]
      found = [np.asarray(self._compare(op, a, b))
               for op, a, b in zip(node.ops, values, values[1:])]
      return np.logical_and.reduce(np.broadcast_arrays(*found))
    if isinstance(node, ast.Constant):
      return np.asarray(node.value if isinstance(node.value, str | bool)
                        else float(node.value))  # type: ignore[arg-type]
    assert isinstance(node, ast.Name)
    name = self._quoted.get(node.id, node.id)
    if name not in table:
      raise InputError(missing(f'column {name!r}: there is none', name, table))
    return column(np.asarray(table[name]))

  def _number(self, node: ast.AST, table: Any) -> np.ndarray:
    value = self._value(node, table)
    if value.dtype.kind in 'bif':
      return value.astype(np.float64)
    raise self._error(f'{ast.unparse(node)!r} holds {_sample(value)[0]}, not numbers'
                      + _sample(value)[1])

  def _truth(self, node: ast.AST, table: Any) -> np.ndarray:
    value = self._value(node, table)
    if value.dtype.kind == 'b':
      return value
    raise self._error('and, or and not take comparisons')

  def _compare(self, op: ast.AST, a: np.ndarray, b: np.ndarray) -> Any:
    kinds = [v.dtype.kind in 'bif' for v in (a, b)]
    if all(kinds):
      return _COMPARE[type(op)](a, b)
    if any(kinds):
      text = a if kinds[1] else b
      if not isinstance(op, ast.Eq | ast.NotEq) and suffixes.column(text.ravel()) is None:
        raise self._error(f'{_sample(text)[0]} cannot be ordered with numbers'
                          + _sample(text)[1])
      a, b = (v if ok else _loose(v) for v, ok in zip((a, b), kinds))
      return _COMPARE[type(op)](a, b)
    return _COMPARE[type(op)](a.astype(str), b.astype(str))


def missing(problem: str, name: str, table: Any) -> str:
  """One line about a name that a table lacks: near names, or what there is."""
  known = [str(c) for c in table]
  folded = {c.casefold(): c for c in reversed(known)}
  near = [folded[c] for c in difflib.get_close_matches(name.casefold(), folded, 2, 0.6)]
  hint = f'did you mean {" or ".join(near)}? ' if near else ''
  more = f' and {len(known) - 40} more' if len(known) > 40 else ''
  return ' '.join(f'{problem}; {hint}the columns are {", ".join(known[:40])}{more}'.split())


def column(values: np.ndarray) -> np.ndarray:
  """Numbers as float64 where every filled cell is one; texts otherwise, '' for an empty cell."""
  if values.dtype.kind in 'biuf':
    return values if values.dtype.kind == 'b' else values.astype(np.float64)
  cells = values.ravel()
  found = suffixes.column(cells)
  if found is not None:
    return found.values
  return np.array(['' if suffixes.empty(v) else str(v) for v in cells], object)


def _loose(values: np.ndarray) -> np.ndarray:
  """Texts as numbers, nan where they are none: equal to no number."""
  cells = [suffixes.number(v) for v in map(str, values.ravel())]
  return np.array([np.nan if v is None else v for v in cells]).reshape(values.shape)


def _sample(values: np.ndarray) -> tuple[str, str]:
  """A cell that is not a number and a hint at what it could mean, for the message."""
  for value in map(str, values.ravel()):
    if value.strip() and suffixes.number(value) is None:
      return repr(value)[:60], suffixes.hint(value)
  return 'texts', ''
