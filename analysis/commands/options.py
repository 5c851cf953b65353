"""Flags that several commands have: their ranges, looked at before any file is read, and form."""

from __future__ import annotations

import math

from scaling.errors import bad


def check_intervals(bootstrap: int, level: float = 0.9) -> None:
  """InputError for a --bootstrap or --level out of range."""
  if bootstrap < 0 or bootstrap > 100_000 or 0 < bootstrap < 20:
    raise bad('--bootstrap', bootstrap, 'it must be 0 (no intervals) or in [20, 100000]')
  check_level(level)


def check_level(level: float) -> None:
  """InputError unless --level lies between 0 and 1."""
  if not 0 < level < 1:
    raise bad('--level', level, 'it must lie between 0 and 1')


def check_positive(flag: str, value: float | None) -> None:
  """InputError for a flag that is given but not positive and finite."""
  if value is not None and not (math.isfinite(value) and value > 0):
    raise bad(f'--{flag}', value, 'it must be positive and finite')


def numbers(flag: str, text_: str) -> dict[str, float]:
  """{name: number} of a flag such as --fix=A=520.8,alpha=0.35."""
  values = {}
  for name, number in pairs(flag, text_):
    try:
      values[name] = float(number)
    except ValueError:
      raise bad(f'--{flag} {name}', number, 'it must be a number') from None
  return values


def pairs(flag: str, text_: str) -> list[tuple[str, str]]:
  """The (name, value) of a flag that is name=value,...; InputError for anything else."""
  found: list[tuple[str, str]] = []
  for part in filter(str.strip, text_.split(',')):
    name, equals, value = (s.strip() for s in part.partition('='))
    if not (name and equals and value) or name in dict(found):
      raise bad(f'--{flag}', part.strip(), 'write name=value,... with every name once')
    found.append((name, value))
  return found
