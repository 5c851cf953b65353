"""Whether the values of a fit.json can be a fit: everything that predictions and pictures rely on.

fit.json is a file that people edit and copy; what is wrong with it is said in one line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from analysis.fitting.noise import CROSSED, NESTED, Components
from analysis.fitting.objectives import Objective
from analysis.laws.law import Law
from scaling.errors import InputError, bad

SHAPES: dict[str, type] = {
    'metrics': dict, 'n_dropped': dict, 'warnings': list, 'columns': dict, 'data': dict,
    'held_out': list, 'held_out_metrics': dict, 'tests': list, 'validation': list, 'minima': list,
    'lack_of_fit': dict, 'search': dict}
OPTIONAL = ('columns', 'data', 'held_out', 'held_out_metrics', 'tests', 'validation', 'minima',
            'lack_of_fit', 'search')


def check(law: Law, values: Mapping[str, Any], methods: tuple[str, ...]) -> None:
  """Raises InputError, naming the entry, for values that cannot be a fit of `law`.

  methods: the names of interval methods; the first is the profile likelihood, which has no samples.
  """
  for name in law.names:
    value = _number(f'params.{name}', values['params'][name])
    if value <= 0 and next(p for p in law.parameters if p.name == name).scale == 'log':
      raise bad(f'params.{name}', value, 'it must be positive')
  objective = values['objective']
  delta = objective['delta']
  Objective.of(objective['name'], 1e-3 if delta is None else _number('objective.delta', delta))
  if (delta is None) == str(objective['name']).startswith('huber'):
    raise bad('objective.delta', delta, 'the Huber objectives have one, the others none')
  _number('objective.value', objective['value'])
  level = _number('level', values['level'])
  if not 0 < level < 1:
    raise bad('level', level, 'it must lie between 0 and 1')
  if _number('noise_floor', values['noise_floor']) < 0:
    raise bad('noise_floor', values['noise_floor'], 'it must be >= 0')
  _points(law, values['points'], str(objective['name']).endswith('_log'))
  _intervals(law, values, methods)
  _components(values.get('components'))
  for name, kind in SHAPES.items():
    held = values.get(name) if name in OPTIONAL else values[name]
    if not (isinstance(held, kind) or (held is None and name in OPTIONAL)):
      raise bad(name, held, f'it must be {"an object" if kind is dict else "a list"}')
  for line in values['warnings']:
    _text('warnings', line)
  for name in ('command', 'code_version'):
    if values.get(name) is not None:
      _text(name, values[name])
  for name, value in [*values['metrics'].items(), *(values.get('held_out_metrics') or {}).items()]:
    if value is not None:
      _number(name, value)
  for reason, count in values['n_dropped'].items():
    _number(f'n_dropped.{reason}', count)
  _others(law, values)


def _points(law: Law, points: Any, log: bool) -> None:
  """The rows that were fitted: lists of one length, of values that the law takes."""
  size = len(_list('points.loss', points['loss']))
  if not size:
    raise bad('points.loss', [], 'it must hold the rows that were fitted')
  for name in (*law.inputs, 'loss', 'group', *(('weight',) if 'weight' in points else ())):
    column = _list(f'points.{name}', points[name])
    if len(column) != size:
      raise InputError(f'points.{name}: {len(column)} values, but points.loss has {size}')
    if name == 'group':
      for label in column:
        _text('points.group', label)
      continue
    low = -math.inf if name == 'loss' and not log else 0.0
    for value in column:
      number = _number(f'points.{name}', value)
      if name in law.inputs and not law.allows(name, number):  # type: ignore[arg-type]
        raise bad(f'points.{name}', number, f'it must be {law.allowed(name)}')
      if name not in law.inputs and (number < low or (name == 'loss' and log and number == 0)):
        raise bad(f'points.{name}', number, 'it must be positive')
  for name, column in points.items():  # a column that is not used must still be numbers
    if name != 'group':
      for value in _list(f'points.{name}', column):
        _number(f'points.{name}', value)


def _intervals(law: Law, values: Mapping[str, Any], methods: tuple[str, ...]) -> None:
  method, samples = values['interval_method'], values['samples']
  if method is not None and method not in methods:
    raise bad('interval_method', method, f'it is {", ".join(methods)} or null')
  if (samples is not None) != (method in methods[1:]):
    raise bad('samples', None if samples is None else '[...]',
              f'a fit by {method or "no interval method"} has '
              f'{"refits" if samples is None else "none"}')
  if samples is not None:
    if not _list('samples', samples):
      raise bad('samples', samples, 'it must hold a row for every refit')
    for row in samples:
      if len(_list('samples', row)) != len(law.names):
        raise InputError(f'samples: a row of {len(row)} values, but {law.name} has '
                         f'{len(law.names)} free parameters')
      for value in row:
        _number('samples', value)
  for name, ends in values['intervals'].items():
    if name not in law.names:
      raise bad('intervals', name, f'the free parameters of {law.name} are {", ".join(law.names)}')
    _ends(f'intervals.{name}', ends)


def _components(held: Any) -> None:
  if held is None:
    return
  names = [f.name for f in dataclasses.fields(Components)]
  if not isinstance(held, dict) or sorted(held) != sorted(names):
    raise bad('components', held, f'it has {", ".join(names)}')
  if held['layout'] not in (CROSSED, NESTED):
    raise bad('components.layout', held['layout'], f'it is {CROSSED} or {NESTED}')
  for name in names[1:]:
    if held[name] is None and name == 'run':
      continue
    value = _number(f'components.{name}', held[name])
    if value < (1 if name in ('runs', 'resamples', 'per_run') else
                0 if name.endswith('freedom') else -math.inf):
      raise bad(f'components.{name}', value, 'it is too small')


def _others(law: Law, values: Mapping[str, Any]) -> None:
  """What the report shows of held-out rows, other minima and where the data come from."""
  for row in values.get('held_out') or []:
    for name in (*law.inputs, 'actual', 'predicted', 'relative_error'):
      number = _number(f'held_out.{name}', row[name])
      if name in law.inputs and not law.allows(name, number):  # type: ignore[arg-type]
        raise bad(f'held_out.{name}', number, f'it must be {law.allowed(name)}')
    if 'interval' in row:
      _ends('held_out.interval', row['interval'])
      if not isinstance(row['inside'], bool):
        raise bad('held_out.inside', row['inside'], 'it must be true or false')
    _text('held_out.run', row['run'])
  for one in values.get('minima') or []:
    _number('minima.above', one['above'])
    for name in law.names:
      _number(f'minima.params.{name}', one['params'][name])
  for name, value in (values.get('columns') or {}).items():
    _text(f'columns.{name}', value)
  data = values.get('data') or {}
  for name in ('source', 'sha256', 'domain', 'rows', 'where'):
    if data.get(name) is not None:
      _text(f'data.{name}', data[name])


def _number(name: str, value: Any) -> float:
  """A finite number, as JSON has them."""
  if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e308:
    raise bad(name, value, 'it must be a finite number')
  return float(value)


def _text(name: str, value: Any) -> None:
  if not isinstance(value, str):
    raise bad(name, value, 'it must be text')


def _list(name: str, value: Any) -> list[Any]:
  if not isinstance(value, list):
    raise bad(name, value, 'it must be a list')
  return value


def _ends(name: str, value: Any) -> None:
  """[low, high]; an end at infinity is null."""
  if len(_list(name, value)) != 2:
    raise bad(name, value, 'it must be [low, high]')
  for end in value:
    if end is not None:
      _number(name, end)
