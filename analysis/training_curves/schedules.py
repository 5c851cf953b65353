"""Learning-rate schedules written in one line, as the rate of every update.

A schedule is its pieces, in order: SHAPE:UNTIL or SHAPE:UNTIL:RATE, up to and with update UNTIL,
where the rate is RATE. It starts from rate 0 before the first update.

  linear:2160:3e-4               warm-up: eta_k = 3e-4 k / 2160
  cosine:24000:3e-5              half a cosine from the rate before to 3e-5
  exponential:24000:3e-5         falls by the same factor every update
  constant:20000                 the rate before, held
  constant:16000:9e-5            another rate at once, held

so 'linear:2160:3e-4 constant:20000 exponential:24000:3e-5' warms up, is stable and decays. Over
x in (0, 1], from the end of the piece before (x = 0, rate a) to its own end (x = 1, rate b):
linear a + (b - a) x; cosine b + (a - b) (1 + cos(pi x)) / 2; exponential a (b / a)^x.
A run of ours has update k at `scaling.optim.schedules.learning_rate(spec, steps, k - 1)`.
"""

from __future__ import annotations

import math

import numpy as np

from scaling.errors import bad
from scaling.optim import schedules
from scaling.specs import RunSpec

SHAPES = ('linear', 'cosine', 'exponential', 'constant')
LONGEST = 10_000_000  # updates
_FORM = 'a piece is SHAPE:UNTIL or SHAPE:UNTIL:RATE, such as linear:2160:3e-4 or constant:20000'


def parse(text: str) -> np.ndarray:
  """eta [T + 1]: eta[0] = 0, eta[k] the rate of update k. InputError, one line, if it is none."""
  pieces = [np.zeros(1)]
  end = 0
  for word in text.split():
    shape, until, rate = _piece(text, word)
    if until <= end:
      raise bad('schedule', text, f'{word} must end after update {end}, the end of the one before')
    if until > LONGEST:
      raise bad('schedule', text, f'the longest is {LONGEST} updates')
    before = float(pieces[-1][-1])
    pieces.append(_rates(text, word, shape, before, before if rate is None else rate, until - end))
    end = until
  if not end:
    raise bad('schedule', text, _FORM)
  return np.concatenate(pieces)


def of_run(spec: RunSpec) -> np.ndarray:
  """eta [T + 1] of a run of the trainer, from where its parent left the schedule if it goes on."""
  return np.concatenate([[0.0], schedules.of_run(spec, np.arange(spec.steps))])


def of_column(step: np.ndarray, rate: np.ndarray) -> np.ndarray:
  """eta [T + 1] from rates logged at some steps: linear from 0 before the first, and in between."""
  order = np.argsort(step)
  known = np.concatenate([[0.0], step[order]]), np.concatenate([[0.0], rate[order]])
  return np.interp(np.arange(int(step.max()) + 1), *known)


def _piece(text: str, word: str) -> tuple[str, int, float | None]:
  shape, *rest = word.split(':')
  if shape not in SHAPES:
    raise bad('schedule', text, f'{word}: the shapes are {", ".join(SHAPES)}; {_FORM}')
  try:
    until, *rate = map(float, rest)
  except ValueError:
    raise bad('schedule', text, f'{word}: {_FORM}') from None
  if len(rate) > 1 or not (until == math.floor(until) if math.isfinite(until) else False):
    raise bad('schedule', text, f'{word}: {_FORM}')
  if shape != 'constant' and not rate:
    raise bad('schedule', text, f'{word} needs the rate it ends at; {_FORM}')
  if rate and not (math.isfinite(rate[0]) and rate[0] >= 0):
    raise bad('schedule', text, f'{word}: a rate is zero or more')
  return shape, int(until), rate[0] if rate else None


def _rates(text: str, word: str, shape: str, before: float, after: float, count: int,
           ) -> np.ndarray:
  x = np.arange(1, count + 1) / count
  match shape:
    case 'linear':
      return before + (after - before) * x
    case 'cosine':
      return after + (before - after) * (1 + np.cos(np.pi * x)) / 2
    case 'exponential':
      if not (before > 0 and after > 0):
        raise bad('schedule', text, f'{word}: an exponential piece needs rates above 0')
      return before * (after / before) ** x
  return np.full(count, after)
