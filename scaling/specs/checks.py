"""Checks that several specs share."""

from __future__ import annotations

from typing import Any

from scaling.errors import bad


def positive(spec: Any, path: str, *fields: str) -> None:
  for name in fields:
    if getattr(spec, name) <= 0:
      raise bad(f'{path}.{name}', getattr(spec, name), 'it must be positive')


def one_of(spec: Any, path: str, name: str, allowed: tuple[str, ...]) -> None:
  if getattr(spec, name) not in allowed:
    raise bad(f'{path}.{name}', getattr(spec, name), f'allowed are {", ".join(allowed)}')
