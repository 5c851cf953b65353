"""The laws, one file each; a new one is imported and listed here."""

from __future__ import annotations

from analysis.laws import chinchilla
from analysis.laws.law import Law, Parameter
from scaling.errors import bad

_LAWS = {law.name: law for law in (chinchilla.LAW,)}

__all__ = ['Law', 'Parameter', 'get', 'names']


def names() -> list[str]:
  """The names of all laws."""
  return sorted(_LAWS)


def get(name: str) -> Law:
  """The law of that name. Raises InputError listing the names there are."""
  if name not in _LAWS:
    raise bad('law', name, f'the laws are {", ".join(names())}')
  return _LAWS[name]
