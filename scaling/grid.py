"""Axes of a study and how they combine: plain data, expanded to points after the flags.

A grid is a nested tuple, so it lives inside a ConfigDict, prints, and can be typed as a flag:

  axis('size', (6e3, 2e4))                   ('axis', 'size', (6e3, 2e4))
  shares('code', (0, 0.5, 1), 'docs')        two domains' weights, r and 1 - r
  product(a, b)   every point of a with every point of b; product() is the one empty point
  zip_(a, b)      the first of a with the first of b, and so on
  chain(a, b)     the points of a, then those of b; chain() has none
  where(a, 'tokens >= 20 * size')            the points of a for which the condition holds

A point is a dict {path: value}: 'size', 'tokens', or a field as it is typed on the command line
after `--config.`. An axis value that is a dict is a bundle of fields below the axis's path.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from scaling.errors import InputError, bad

Grid = tuple  # ('axis', path, values), ('product' | 'zip' | 'chain', grids), ('where', grid, test)
Point = dict[str, Any]
Condition = str | Callable[[Point], bool]


def axis(path: str, values: Iterable[Any]) -> Grid:
  """One point a value: `path` takes it, or the fields below `path` when it is a dict."""
  return ('axis', path, tuple(_plain(value) for value in values))


def shares(domain: str, values: Iterable[float], rest: str | Mapping[str, float]) -> Grid:
  """An axis of mixtures: `domain` has the share r, each of `values`, the others 1 - r.

  `rest` names the other domain, or gives several with their shares of 1 - r.
  """
  others = {rest: 1.0} if isinstance(rest, str) else dict(rest)
  bundles = []
  for r in map(_plain, values):
    if type(r) not in (int, float) or not 0 <= r <= 1:
      raise bad(f'axis {domain}', r, 'a share must lie in [0, 1]')
    weights = {name: round(part * (1 - r), 12) for name, part in others.items()}
    weights[domain] = float(r)
    bundles.append({name: {'weight': weight} for name, weight in weights.items()})
  return axis('base.data.domains', bundles)


def product(*grids: Grid) -> Grid:
  """Every combination; the last grid varies fastest."""
  return ('product', grids)


def zip_(*grids: Grid) -> Grid:
  """Point by point; all of one length."""
  return ('zip', grids)


def chain(*grids: Grid) -> Grid:
  """One after the other; the grids may set different fields."""
  return ('chain', grids)


def where(grid: Grid, condition: Condition) -> Grid:
  """The points for which `condition` holds.

  A condition is text, which can be typed and printed: comparisons, and / or / not, arithmetic,
  numbers, strings and the paths the points set (it is parsed, never evaluated as Python); or a
  function of the point.
  """
  return ('where', grid, condition)


def expand(grid: Grid | None, field: str = 'config.axes') -> list[Point]:
  """The points of a grid in order; None is the one empty point.

  Raises InputError, naming `field`, for something that is not a grid, an axis without values, a
  path set twice, grids of unequal length in a zip, a condition that cannot be judged.
  """
  if grid is None:
    return [{}]
  return list(_points(grid, field))


def _points(grid: Any, field: str) -> Iterator[Point]:
  if not isinstance(grid, tuple | list) or len(grid) < 2 or grid[0] not in _KINDS:
    raise bad(field, grid, f'it must be a grid: ({_KINDS[0]!r}, path, values), or one of '
                           f'{", ".join(_KINDS[1:])} of grids')
  kind, parts = grid[0], grid[1:]
  if len(parts) != (2 if kind in ('axis', 'where') else 1):
    raise bad(field, grid, f'a grid of kind {kind!r} has another number of parts')
  if kind == 'axis':
    return _axis(parts[0], parts[1], field)
  if kind == 'where':
    return _where(_points(parts[0], field), parts[1], field)
  if not isinstance(parts[0], tuple | list):
    raise bad(field, parts[0], f'a grid of kind {kind!r} holds a tuple of grids')
  if kind == 'chain':
    return itertools.chain.from_iterable(_points(part, field) for part in parts[0])
  columns = [list(_points(part, field)) for part in parts[0]]
  if kind == 'zip':
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
      raise InputError(f'{field}: a zip of grids of unequal lengths {lengths}; they must be equal')
    return (_union(parts, field) for parts in zip(*columns))
  return (_union(parts, field) for parts in itertools.product(*columns))


_KINDS = ('axis', 'product', 'zip', 'chain', 'where')


def _axis(path: Any, values: Any, field: str) -> Iterator[Point]:
  if not isinstance(path, str) or not path:
    raise bad(field, path, 'an axis starts with the path of a field, such as base.optim.peak_lr')
  if not isinstance(values, tuple | list):
    raise bad(f'{field}: axis {path}', values, 'it must be a tuple of values')
  if not values:
    raise bad(f'{field}: axis {path}', values, 'it must have at least one value')
  for value in values:
    if isinstance(value, Mapping):
      if not value:
        raise bad(f'{field}: axis {path}', value, 'a bundle must set at least one field')
      yield dict(_flatten(path, value))
    else:
      yield {path: value}


def _flatten(path: str, bundle: Mapping) -> Iterator[tuple[str, Any]]:
  for name, value in bundle.items():
    if isinstance(value, Mapping):
      yield from _flatten(f'{path}.{name}', value)
    else:
      yield f'{path}.{name}', value


def _union(points: tuple[Point, ...], field: str) -> Point:
  whole: Point = {}
  count = 0
  for point in points:
    whole.update(point)
    count += len(point)
  if len(whole) < count:
    paths = list(itertools.chain.from_iterable(points))
    twice = next(path for path in paths if paths.count(path) > 1)
    raise InputError(f'{field}: {twice} is set by two axes of one point; it may be set once')
  return whole


def _where(points: Iterator[Point], condition: Any, field: str) -> Iterator[Point]:
  if isinstance(condition, str):
    test: Callable[[Point], Any] = _compile(condition, field)
  elif callable(condition):
    test = condition
  else:
    raise bad(f'{field}: where', condition, 'a condition is text or a function of the point')
  for point in points:
    try:
      kept = test(point)
    except (TypeError, ZeroDivisionError, OverflowError, KeyError) as error:
      raise InputError(
          f'{field}: where {condition!r} cannot be judged at {point}: {error}') from None
    if kept:
      yield point


_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b}
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: math.pow}
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}


def _compile(text: str, field: str) -> Callable[[Point], Any]:
  try:
    tree = ast.parse(text, mode='eval')
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    raise bad(
        f'{field}: where', text, 'it must be a condition such as tokens >= 20 * size') from None
  return _node(tree.body, text, field)


def _node(node: ast.expr, text: str, field: str) -> Callable[[Point], Any]:
  """A closure for one node of a condition: some microseconds a point instead of an `eval`."""
  def inner(child: ast.expr) -> Callable[[Point], Any]:
    return _node(child, text, field)

  match node:
    case ast.Constant(value=value):
      return lambda point: value
    case ast.Name() | ast.Attribute():
      path = ast.unparse(node)
      return lambda point: _look_up(point, path)
    case ast.Tuple(elts=parts) | ast.List(elts=parts):
      several = [inner(part) for part in parts]
      return lambda point: tuple(part(point) for part in several)
    case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
      one, unary = inner(operand), _UNARY[type(op)]
      return lambda point: unary(one(point))
    case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
      a, b, binary = inner(left), inner(right), _BINARY[type(op)]
      return lambda point: binary(a(point), b(point))
    case ast.BoolOp(op=op, values=parts):
      several, join = [inner(part) for part in parts], all if isinstance(op, ast.And) else any
      return lambda point: join(part(point) for part in several)
    case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(o) in _COMPARE for o in ops):
      terms, tests = [inner(left), *map(inner, rest)], [_COMPARE[type(o)] for o in ops]
      return lambda point: all(
          test(a(point), b(point)) for test, a, b in zip(tests, terms, terms[1:]))
  raise bad(f'{field}: where', text, f'a condition has no {ast.unparse(node)!r}; it has '
            'comparisons, and, or, not, arithmetic, numbers, strings and paths')


def _look_up(point: Point, path: str) -> Any:
  if path not in point:
    raise KeyError(f'{path} is not set there; {", ".join(sorted(point)) or "nothing"} is')
  return point[path]


def _plain(value: Any) -> Any:
  """numpy's numbers and arrays as Python's, so that a point is plain data."""
  return value.tolist() if hasattr(value, 'tolist') else value
