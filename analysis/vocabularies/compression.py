"""f(V) as `prepare` measured it on the whole training text (scaling/data/compression.py).

Without that file f is fitted to D / H of the runs, which have read the beginning of the text.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis.laws import vocabulary as law
from scaling import files
from scaling.data import compression
from scaling.errors import InputError

OF_RUNS = 'D / H of the runs'
CLOSE = 0.05  # between tokens a character of the whole text and of its beginning


@dataclasses.dataclass(frozen=True)
class Compression:
  """a, b, c of f; the V measured and their tokens a character; the file; whether it was asked for.
  """

  coefficients: tuple[float, float, float]
  V: tuple[float, ...]
  ratio: tuple[float, ...]
  path: str
  asked: bool = True

  def misfit(self, V: np.ndarray, ratio: np.ndarray) -> str:
    """What says that runs with V [n] and their tokens a character [n] have other tokenizers, or ''.
    """
    known = dict(zip(self.V, self.ratio))
    for own, read_ in zip(V, ratio):
      if own not in known:
        return f'no V = {own:g}, which runs have; prepare measures all that a store has'
      if abs(known[own] / read_ - 1) > CLOSE:
        return (f'{known[own]:.4g} tokens a character at V = {own:g}, and runs read {read_:.4g}: '
                'it is of other tokenizers or text')
    return ''


def read(path: str, asked: bool = True) -> Compression:
  """InputError for a file that is none, or has fewer than three sizes."""
  try:
    values: Any = files.read_json(path)
    a, b, c = (float(values[name]) for name in 'abc')
    V, ratio = zip(*((float(row['V']), float(row['ratio'])) for row in values['sizes']))
  except OSError as error:
    raise InputError(f'--compression: {path}: {error.strerror or error}') from None
  except (KeyError, TypeError, ValueError, RecursionError) as error:
    raise InputError(f'--compression: {path}: not what prepare writes from three sizes on '
                     f'({type(error).__name__}: {error})') from None
  if not np.isfinite([a, b, c, *V, *ratio]).all():
    raise InputError(f'--compression: {path}: it holds a number that is not finite')
  return Compression((a, b, c), V, ratio, path, asked)


def found(workdir: str, domain: str) -> Compression | None:
  """That of the token stores in a workdir (WORKDIR/tokens), where the tokenizers are of the domain
  alone and their sizes three or more."""
  path = compression.path(f'{workdir}/tokens', (domain,), domain)
  if not files.exists(path):
    return None
  try:
    return read(path, asked=False)
  except InputError:
    return None


def of_runs(given: Compression | None, V: np.ndarray, ratio: np.ndarray,
            ) -> tuple[tuple[float, float, float], str]:
  """a, b, c of f and what they are from; one found that is of other tokenizers is left aside."""
  why = given.misfit(V, ratio) if given else ''
  if given and why and given.asked:
    raise InputError(f'--compression: {given.path} has {why}')
  if given and not why:
    return given.coefficients, given.path
  return law.compression(V, ratio), OF_RUNS
