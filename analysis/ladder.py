"""Accuracy of a model that was not trained: its task loss from one fit, its accuracy from another.

  python -m analysis.fit --law=chinchilla --data=ladder.csv --columns=loss=task_loss --out=a.json
  python -m analysis.fit --law=sigmoid_accuracy --data=ladder.csv --out=b.json
  python -m analysis.ladder --loss_fit=a.json --accuracy_fit=b.json --N=7e9 --D=4e12

Bhagia et al. 2024 (arXiv 2412.04403): step 1 is a law of the task loss, step 2 a law with that loss
as its one input; chained they are step 2 at the loss of step 1. The interval takes both steps'
uncertainty: a draw of the loss from the refits of step 1 (with a residual added, for a new run)
goes through a refit of step 2, drawn independently (and a residual of its own). A step fitted on
too few groups for a bootstrap has its profile interval instead, as a normal with two half-widths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags
from scipy import special

from analysis import predict
from analysis.commands.options import check_level
from analysis.fit import Fit
from analysis.fitting import diagnostics
from analysis.laws.law import check_inputs
from scaling import cli
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS
DRAWS = 8000
KINDS = ('prediction', 'confidence')


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('loss_fit', None, 'The fit.json of step 1: task loss, often in N and D.')
  flags.DEFINE_string('accuracy_fit', None, 'The fit.json of step 2, in the task loss.')
  for name in predict.INPUTS:
    flags.DEFINE_float(name, None, f'Input {name} of step 1.', short_name=None)
  flags.DEFINE_float('level', None, 'Of the intervals (default: that of both fits).')
  flags.DEFINE_boolean('json', False, 'Print JSON.')
  cli.run(main, need=('loss_fit', 'accuracy_fit'))


def main(argv: list[str]) -> None:
  del argv
  if FLAGS.level is not None:
    check_level(FLAGS.level)
  loss_fit, accuracy_fit = Fit.load(FLAGS.loss_fit), Fit.load(FLAGS.accuracy_fit)
  inputs = loss_fit.law.inputs
  given: dict[str, Any] = {name: FLAGS[name].value for name in sorted(
      predict.INPUTS, key=lambda n: inputs.index(n) if n in inputs else len(inputs))
      if FLAGS[name].value is not None}
  wrong = [*(n for n in given if n not in inputs), *(n for n in inputs if n not in given)]
  if wrong:
    raise InputError(f'step 1 is {loss_fit.law.name}, which takes '
                     f'{", ".join(f"--{n}" for n in inputs)}: --{wrong[0]} is '
                     + ('not one of them' if wrong[0] in given else 'missing'))
  answer = chain(loss_fit, accuracy_fit, given, FLAGS.level)
  if FLAGS.json:
    print(json.dumps(answer | {'inputs': given, 'law': [loss_fit.law.name, accuracy_fit.law.name]}))
  else:
    print(text(answer, given))


def chain(loss_fit: Fit, accuracy_fit: Fit, inputs: Mapping[str, Any],
          level: float | None = None, seed: int = 0) -> dict[str, Any]:
  """What step 2 says of step 1's output at `inputs` (scalars).

  Gives `loss` and the output of step 2 under its name ('accuracy'), their intervals under
  {'prediction': {name: [low, high]}, 'confidence': ...} where both fits have some, and `warnings`.
  level: of the intervals; by default that of both fits. Raises InputError when step 2 is not a law
  of one input, or for fits of two levels with none given.
  """
  if len(accuracy_fit.law.inputs) != 1:
    raise bad('accuracy_fit', accuracy_fit.law.name, 'step 2 has one input, the output of step 1; '
              f'this one has {", ".join(accuracy_fit.law.inputs)}')
  if level is None:
    level = accuracy_fit.level
    if loss_fit.level != level:
      raise InputError(f'the fits have intervals at {loss_fit.level:g} and {level:g}: give --level')
  middle, output = accuracy_fit.law.inputs[0], accuracy_fit.law.output
  x = {k: np.atleast_1d(v) for k, v in check_inputs(loss_fit.law, inputs).items()}
  loss = loss_fit.predict(x)
  answer: dict[str, Any] = {
      'loss': float(loss[0]), output: float(accuracy_fit.predict({middle: loss})[0]),
      'level': level}
  if loss_fit.interval_method and accuracy_fit.interval_method:
    tails = [(1 - level) / 2, (1 + level) / 2]
    least = {name: [answer[name]] for name in ('loss', output)}
    for kind in reversed(KINDS):
      random = np.random.default_rng(seed)
      first = draws(loss_fit, {k: np.repeat(v, DRAWS) for k, v in x.items()}, kind, random)
      # A draw that step 2 cannot take (a loss below zero) is a loss at the edge of what it can.
      first = np.where(accuracy_fit.law.allows(middle, first), first, np.min(first[first > 0]))
      second = draws(accuracy_fit, {middle: first}, kind, random)
      ends = {'loss': np.quantile(first, tails), output: np.quantile(second, tails)}
      # The laws' interval holds the prediction, a new run's holds the laws', whatever the draws.
      least = {name: [float(min(*least[name], *at)), float(max(*least[name], *at))]
               for name, at in ends.items()}
      answer[kind] = least
  answer['warnings'] = [
      *(f'step 1: {w}' for w in diagnostics.far(loss_fit.inputs, x)), *_beyond(accuracy_fit, loss)]
  return answer


def draws(found: Fit, inputs: Mapping[str, np.ndarray], kind: str, random: np.random.Generator,
          ) -> np.ndarray:
  """One draw of the law's output at each row of `inputs` [n]; of a new run for 'prediction'."""
  count = len(next(iter(inputs.values())))
  log = found.objective.log
  if found.samples is None:
    return _two_piece(found, inputs, kind, random)
  refits = found.refits()
  picked = random.integers(len(next(iter(refits.values()))), size=count)
  drawn = found.law.predict({k: v[picked] for k, v in refits.items()}, inputs)
  if kind == 'confidence':
    if found.components is None:
      return drawn
    shift = found.components.half_width(found.level) / special.ndtri((1 + found.level) / 2)
    common = shift * random.normal(size=count)  # of the evaluation resamples that runs share
    return drawn * np.exp(common) if log else drawn + common
  fitted = found.predict(found.inputs)
  residual = np.log(found.loss / fitted) if log else found.loss - fitted
  groups = len(np.unique(found.groups))
  noise = random.choice(residual, count) * np.sqrt(groups / max(groups - len(found.params), 1))
  if found.noise_floor > np.std(residual):
    noise = found.noise_floor * random.normal(size=count)
  return drawn * np.exp(noise) if log else drawn + noise


def _two_piece(found: Fit, inputs: Mapping[str, np.ndarray], kind: str,
               random: np.random.Generator) -> np.ndarray:
  """Normal draws whose half-widths are those of the profile interval.

  Along a law of one input the interval is profiled at 33 points and interpolated.
  """
  log = found.objective.log
  rows = {k: np.asarray(v, np.float64) for k, v in inputs.items()}
  name = next(iter(rows))
  if len(rows) == 1 and np.ptp(rows[name]) > 0:
    places = np.quantile(rows[name], np.linspace(0, 1, 33))
  else:
    places = rows[name][:1]
  at = {name: places} if len(rows) == 1 else {k: v[:1] for k, v in rows.items()}
  low, high = found.interval(at, kind)
  centre = found.predict(at)
  if log:
    low, high, centre = np.log(low), np.log(high), np.log(centre)
  z = special.ndtri((1 + found.level) / 2)
  draw = random.normal(size=len(rows[name]))

  def along(values: np.ndarray) -> np.ndarray:
    return np.interp(rows[name], places, values) if len(places) > 1 else values[0]

  value = along(centre) + draw * np.where(draw < 0, along(centre - low), along(high - centre)) / z
  return np.exp(value) if log else value


def _beyond(step: Fit, loss: np.ndarray) -> list[str]:
  """Whether a loss lies outside those that step 2 was fitted on."""
  seen = step.inputs[step.law.inputs[0]]
  low, high, value = float(seen.min()), float(seen.max()), float(loss[0])
  if low <= value <= high:
    return []
  return [f'step 2: a loss of {value:.4g} lies outside those it was fitted on, '
          f'{low:.4g} to {high:.4g}']


def text(answer: Mapping[str, Any], inputs: Mapping[str, float]) -> str:
  """The answer in a few lines."""
  output = next(k for k in answer if k not in ('loss', 'level', 'warnings', *KINDS))
  lines = [f'{name:10} {value:.4g}' for name, value in inputs.items()]
  percent = f'{100 * answer["level"]:g} %'
  for name in ('loss', output):
    line = f'{name:10} {answer[name]:.4f}'
    for kind, of in zip(KINDS, ('of a new run', 'of the laws')):
      if kind in answer:
        low, high = answer[kind][name]
        line += f'   {percent} [{low:.4f}, {high:.4f}] {of}'
    lines.append(line)
  return '\n'.join(lines + [f'warning: {w}' for w in answer['warnings']])


if __name__ == '__main__':
  start()
