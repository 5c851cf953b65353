"""Ranges of flags that several commands have, looked at before any file is read."""

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
