"""Specs as JSON, the run id, and specs of nested dicts."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import types
import typing
from typing import Any

from scaling import files
from scaling.errors import InputError, bad
from scaling.specs.run import RunSpec


def canonical(spec: Any) -> Any:
  """A spec as JSON values, fields at their default left out; a VERSION above 1 is kept."""
  if isinstance(spec, dict):
    return {name: canonical(value) for name, value in spec.items()}
  if not hasattr(type(spec), '__dataclass_fields__'):
    return spec
  kept = {} if spec.VERSION == 1 else {'version': spec.VERSION}
  for name, default in _defaults(type(spec)):  # type: ignore[arg-type]
    value = getattr(spec, name)
    if value is not default and value != default:
      kept[name] = canonical(value)
  return kept


def run_id(spec: RunSpec) -> str:
  """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
  return hashlib.sha256(files.to_json(canonical(spec)).encode()).hexdigest()[:16]


def to_dict(spec: Any) -> dict[str, Any]:
  """A spec with every field, as plain nested dicts."""
  return dataclasses.asdict(spec)


def from_dict(values: dict[str, Any], path: str = 'base') -> RunSpec:
  """The checked RunSpec of a nested dict (fields left out take their defaults).

  Raises InputError naming the field for an unknown field, a wrong type or an impossible value.
  """
  spec = _build(RunSpec, values, path)
  spec.check(path)
  return spec


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
  """The fields of a spec with their defaults; looked up once, for large grids hash many specs."""
  return tuple((field.name, _default(field)) for field in dataclasses.fields(kind))


def _default(field: dataclasses.Field) -> Any:
  if field.default is not dataclasses.MISSING:
    return field.default
  return field.default_factory()  # type: ignore[operator]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
  """The types of a spec's fields by name; looked up once, for large grids build many specs."""
  hints = typing.get_type_hints(kind)
  return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _build(kind: type, values: Any, path: str) -> Any:
  if not isinstance(values, dict):
    raise bad(path, values, 'it must be a group of fields')
  hints = _hints(kind)
  fields = set(hints)
  version = values.get('version', kind.VERSION)  # type: ignore[attr-defined]
  if version != kind.VERSION:  # type: ignore[attr-defined]
    raise bad(f'{path}.version', version, f'this code knows version {kind.VERSION}')  # type: ignore[attr-defined]
  unknown = sorted(set(values) - fields - {'version'})
  if unknown:
    raise InputError(f'{path}.{unknown[0]}: unknown field; allowed are {", ".join(sorted(fields))}')
  return kind(**{name: _convert(hints[name], value, f'{path}.{name}')
                 for name, value in values.items() if name != 'version'})


@functools.cache
def _form(hint: Any) -> tuple[str, tuple[Any, ...]]:
  """Whether a hint is of a spec, a dict or a plain value, and what it allows."""
  if dataclasses.is_dataclass(hint):
    return 'spec', ()
  origin = typing.get_origin(hint)
  if origin is dict:
    return 'dict', typing.get_args(hint)
  return 'plain', (typing.get_args(hint) if origin in (types.UnionType, typing.Union) else (hint,))


def part(name: str, values: dict[str, Any], path: str) -> Any:
  """One group of a RunSpec, such as `model`, of a nested dict: from_dict takes it as it is."""
  return _convert(_hints(RunSpec)[name], values, f'{path}.{name}')


def _convert(hint: Any, value: Any, path: str) -> Any:
  """`value` as the type `hint` says: an int is a float, nothing else is converted."""
  form, allowed = _form(hint)
  if form == 'spec':
    return value if type(value) is hint else _build(typing.cast(type, hint), value, path)
  if form == 'dict':
    if not isinstance(value, dict):
      raise bad(path, value, 'it must be a group of fields, one a name')
    return {name: _convert(allowed[1], value[name], f'{path}.{name}') for name in sorted(value)}
  if value is None and type(None) in allowed:
    return None
  for kind in allowed:
    if kind is float and type(value) in (int, float):
      if not math.isfinite(value):
        raise bad(path, value, 'it must be finite')
      return float(value)
    if type(value) is kind:
      return value
  wanted = ' or '.join('None' if k is type(None) else k.__name__ for k in allowed)
  raise bad(path, value, f'it must be {wanted}, not {type(value).__name__}')
