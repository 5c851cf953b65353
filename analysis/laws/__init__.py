"""The laws, one file each; a new one is imported and listed here."""

from __future__ import annotations

from analysis.laws import (
    average_parameters,
    broken,
    chinchilla,
    coupled,
    critical_batch,
    dcpt,
    hestness,
    kaplan,
    ladder,
    learning_curves,
    mixing,
    multilingual,
    nmt,
    overtraining,
    repetition,
    routing,
    shifted,
    trajectory,
    vocabulary,
    vocabulary_bits,
    vocabulary_rows,
)
from analysis.laws.combine import fix, of_inputs, tie
from analysis.laws.law import Law, Parameter
from scaling.errors import bad

# By topic; a file of several laws has them in LAWS.
_ALL: tuple[Law, ...] = (
    chinchilla.LAW, coupled.LAW, shifted.LAW, *overtraining.LAWS,
    *dcpt.LAWS, mixing.LAW, nmt.LAW, multilingual.LAW,
    *average_parameters.LAWS,
    *vocabulary.LAWS, vocabulary_bits.LAW, *vocabulary_rows.LAWS,
    *repetition.LAWS,
    routing.LAW,
    ladder.LAW,
    *kaplan.LAWS, trajectory.LAW, *critical_batch.LAWS,
    *hestness.LAWS, *learning_curves.LAWS, broken.LAW,
)
_LAWS = {law.name: law for law in _ALL}

__all__ = ['Law', 'Parameter', 'fix', 'get', 'names', 'of_inputs', 'tie']


def names() -> list[str]:
  """The names of all laws."""
  return sorted(_LAWS)


def get(name: str) -> Law:
  """The law of that name; `mixing(a,b,...)` is one too. InputError listing the names there are."""
  if name.startswith(mixing.PREFIX):
    return mixing.named(name)
  if name not in _LAWS:
    raise bad('law', name, f'the laws are {", ".join(names())}')
  return _LAWS[name]
