"""What a fitted law says about a run, or the best run for a budget.

  python -m analysis.predict --fit=fit.json --N=7e9 --D=1e12
  python -m analysis.predict --fit=fit.json --flops=1e23
"""

from __future__ import annotations

import json

import numpy as np
from absl import flags

from analysis import laws
from analysis.fit import Fit
from analysis.fitting import diagnostics
from analysis.laws.law import check_inputs
from scaling import cli
from scaling.errors import InputError

FLAGS = flags.FLAGS
INPUTS = sorted({name for law in laws.names() for name in laws.get(law).inputs})


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('fit', None, 'The fit.json of analysis.fit.')
  for name in INPUTS:
    flags.DEFINE_float(name, None, f'Input {name} of the law.', short_name=None)
  flags.DEFINE_float('flops', None, 'A budget of FLOPs: the inputs of least loss for it.')
  flags.DEFINE_integer('resamples', 0, 'The run is scored on so many other evaluation resamples '
                       '(0: on those of the fit, if it had any).', lower_bound=0)
  flags.DEFINE_boolean('json', False, 'Print JSON.')
  cli.run(main, need=('fit',))


def main(argv: list[str]) -> None:
  del argv
  found = Fit.load(FLAGS.fit)
  given = {name: float(FLAGS[name].value) for name in INPUTS  # type: ignore[arg-type]
           if FLAGS[name].value is not None}
  if FLAGS.resamples and found.components is None:
    raise InputError('--resamples: this fit was not made with --resample, so it does not know how '
                     'much resamples differ')
  answer = predict(found, given, FLAGS.flops, FLAGS.resamples)
  print(json.dumps(answer) if FLAGS.json else text(found, answer))


def predict(found: Fit, given: dict[str, float], flops: float | None, resamples: int = 0) -> dict:
  """The inputs (those given, or the optimum for `flops`), the loss, intervals and warnings.

  Raises InputError unless exactly the law's inputs, or a budget, are given.
  """
  answer: dict = {'law': found.law.name, 'level': found.level}
  if flops is not None:
    if given:
      raise InputError(f'give either --flops or inputs, not both (got --{sorted(given)[0]})')
    best = {k: float(v[0]) for k, v in found.optimum(flops).items()}
    answer |= {'flops': flops, 'intervals': {k: [best[f'{k}_low'], best[f'{k}_high']]
                                             for k in found.law.optimum_of if f'{k}_low' in best}}
    given = {k: best[k] for k in found.law.optimum_of}
  unknown = sorted(set(given) - set(found.law.inputs))
  missing = [name for name in found.law.inputs if name not in given]
  if unknown or missing:
    wrong = f'--{unknown[0]} is not one of them' if unknown else f'--{missing[0]} is missing'
    raise InputError(f'{found.law.name} takes '
                     f'{", ".join(f"--{n}" for n in found.law.inputs)}: {wrong}')
  x = {name: np.atleast_1d(v) for name, v in check_inputs(found.law, given).items()}
  answer |= {'inputs': given, 'output': found.law.output, 'loss': float(found.predict(x)[0])}
  if found.interval_method is not None:
    for kind in ('prediction', 'confidence'):
      low, high = found.interval(x, kind, resamples)
      answer[kind] = [float(low[0]), float(high[0])]
  answer['warnings'] = diagnostics.far(found.inputs, x)
  if flops is not None:
    answer['warnings'] += [
        f'the optimal {name} lies outside the {name} of the data' for name in found.law.optimum_of
        if not np.min(found.inputs[name]) <= given[name] <= np.max(found.inputs[name])]
  return answer


def text(found: Fit, answer: dict) -> str:
  """The answer in a few lines."""
  percent = f'{100 * found.level:g} %'
  lines = []
  for name, value in answer['inputs'].items():
    ends = answer.get('intervals', {}).get(name)
    lines.append(f'{name:5} {value:.4g}' + (f'   {percent} [{ends[0]:.4g}, {ends[1]:.4g}]'
                                           if ends else ''))
  lines.append(f'{answer["output"]:5} {answer["loss"]:.4f}')
  if 'prediction' in answer:
    low, high = answer['prediction']
    lines.append(f'      {percent} [{low:.4f}, {high:.4f}] for a new run')
    low, high = answer['confidence']
    lines.append(f'      {percent} [{low:.4f}, {high:.4f}] for the law itself')
  lines += [f'warning: {w}' for w in answer['warnings']]
  return '\n'.join(lines)


if __name__ == '__main__':
  start()
