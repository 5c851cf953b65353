"""The command `python -m analysis.curves`: fit loss curves, predict those of other schedules.

  python -m analysis.curves --folder=DIR --schedules=schedules.json --fit=a.csv,b.csv \\
      --predict=c.csv --rank='short=linear:2160:3e-4 cosine:12000:0' --out=curves.json
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

import numpy as np
from absl import flags

from analysis import curves
from analysis.commands import fit as fit_command
from analysis.curves import NAMES, Curve, CurveFit
from analysis.laws import multi_power
from analysis.training_curves import schedules
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_list('fit', [], 'Curves to fit: FILE=SCHEDULE, or FILE with its schedule in '
                    '--schedules; with --logs, run ids (default: all finished ones).')
  flags.DEFINE_list('predict', [], 'Curves to predict and compare, written the same way.')
  flags.DEFINE_list('rank', [], 'NAME=SCHEDULE,...: schedules to order by their final loss.')
  flags.DEFINE_string('schedules', '', 'NAME=SCHEDULE,... or a .json file {name: schedule}.')
  flags.DEFINE_string('folder', '', 'Where the files are.')
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep, instead of files.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose loss, when the workdir has several.')
  flags.DEFINE_string('columns', '', 'step=expression,loss=expression over the files\' columns.')
  flags.DEFINE_string('where', '', "A condition on the rows, such as 'step > 3000'.")
  flags.DEFINE_string('params', '', 'No fit: L0=...,A=... or the file of an earlier --out.')
  flags.DEFINE_string('fix', '', 'parameter=value,...: held there.')
  flags.DEFINE_boolean('leave_out', False, 'Refit without each curve; shows how far finals move.')
  flags.DEFINE_string('objective', 'huber_log', 'huber_log, lad_log, mse_log, huber or mse.')
  flags.DEFINE_float('huber_delta', 1e-3, 'Where the Huber loss turns linear.')
  flags.DEFINE_string('out', None, 'Where to write the JSON.')
  flags.DEFINE_string('plot', None, 'Where to write the picture (.png, .svg or .pdf).')
  flags.DEFINE_boolean('json', False, 'Print JSON.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  cli.check_output(FLAGS.out)
  cli.check_output(FLAGS.plot, '--plot', ('.png', '.svg', '.pdf'))
  known = schedules_of(FLAGS.schedules)
  rank = {name: schedules.parse(text) for name, text in pairs('--rank', FLAGS.rank).items()}
  if FLAGS.logs is not None:
    fitted, held = _of_logs()
  else:
    fitted, held = (of_files(flag, FLAGS[flag].value or [], known) for flag in ('fit', 'predict'))
  fixed = parameters('--fix', FLAGS.fix)
  if FLAGS.params:
    if fitted and not FLAGS.logs:
      raise InputError('give either --fit (a fit) or --params (no fit); --predict compares')
    found = CurveFit(given(FLAGS.params))
    fitted, held = [], [*fitted, *held]
  elif fitted:
    found = curves.fit(fitted, FLAGS.objective, FLAGS.huber_delta, fixed)
  else:
    raise InputError('nothing to fit: give --fit, --logs or --params')
  refits = curves.leave_one_out(found, fixed) if FLAGS.leave_out else []
  answer = answered(found, fitted, held, rank, refits)
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json(answer) + '\n')
  if FLAGS.plot:
    from analysis.pictures import curves as curve_plots
    curve_plots.save(FLAGS.plot, found, fitted, held)
  print(json.dumps(answer) if FLAGS.json else text(answer))


def schedules_of(given_: str) -> dict[str, str]:
  """--schedules as {name: text}."""
  if not given_.endswith('.json'):
    return pairs('--schedules', given_.split(','))
  try:
    values = files.read_json(given_)
  except (OSError, ValueError, RecursionError) as error:
    raise InputError(f'--schedules: {given_} cannot be read ({type(error).__name__})') from None
  if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
    raise InputError(f'--schedules: {given_} must hold {{"name": "schedule", ...}}')
  return values


def pairs(flag: str, items: list[str]) -> dict[str, str]:
  """['NAME=TEXT', ...] -> {NAME: TEXT}; InputError for anything else."""
  found: dict[str, str] = {}
  for item in items:
    name, equals, value = (part.strip() for part in item.partition('='))
    if not item.strip():
      continue
    if not equals or not name or not value:
      raise InputError(f'{flag}: {item!r} is not of the form NAME=VALUE')
    if name in found:
      raise InputError(f'{flag}: {name} is given twice')
    found[name] = value
  return found


def parameters(flag: str, given_: str) -> dict[str, float]:
  """'L0=3,A=.5' -> values by name."""
  found = {}
  for name, value in pairs(flag, given_.split(',')).items():
    if name not in NAMES:
      raise bad(flag, name, f'the parameters are {", ".join(NAMES)}')
    try:
      found[name] = float(value)
    except ValueError:
      raise bad(f'{flag}: {name}', value, 'it must be a number') from None
    if not np.isfinite(found[name]):
      raise bad(f'{flag}: {name}', value, 'it must be finite')
  return found


def given(text_: str) -> dict[str, float]:
  """The parameters of --params: written out, or of a file that --out wrote."""
  if '=' in text_:
    found = parameters('--params', text_)
  else:
    try:
      found = {str(k): float(v) for k, v in files.read_json(text_)['params'].items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
      raise InputError(f'--params: {text_} is not a file that --out wrote') from None
  missing = [name for name in NAMES if name not in found]
  if missing:
    raise InputError(f'--params: {missing[0]} is missing; it takes {", ".join(NAMES)}')
  return found


def of_files(flag: str, items: list[str], known: dict[str, str]) -> list[Curve]:
  """The curves of --fit or --predict."""
  found = []
  for item in items:
    name, equals, schedule = (part.strip() for part in item.partition('='))
    if not equals:
      stem = os.path.basename(name)
      schedule = known.get(name) or known.get(stem) or known.get(stem.split('.')[0]) or ''
      if not schedule:
        raise InputError(f'--{flag}: {name} has no schedule; write {name}=SCHEDULE, or name it in '
                         '--schedules')
    found.append(curves.of_file(os.path.join(FLAGS.folder, name), schedule, FLAGS.columns,
                                FLAGS.where))
  return found


def _of_logs() -> tuple[list[Curve], list[Curve]]:
  if FLAGS.columns or FLAGS.folder:
    raise InputError('--columns and --folder go with files, not with --logs')
  fitted, held = curves.of_logs(FLAGS.logs, FLAGS.study, FLAGS.domain, FLAGS.where)
  every = {curve.name: curve for curve in [*fitted, *held]}
  for flag in ('fit', 'predict'):
    for name in FLAGS[flag].value or []:
      if name not in every:
        raise bad(f'--{flag}', name, f'the finished runs are {", ".join(list(every)[:20])}')
  if FLAGS.fit:
    fitted = [every[name] for name in FLAGS.fit]
    held = [curve for curve in every.values() if curve not in fitted]
  if FLAGS.predict:
    held = [every[name] for name in FLAGS.predict]
    fitted = [curve for curve in fitted if curve not in held]
  return fitted, held


def answered(found: CurveFit, fitted: list[Curve], held: list[Curve], rank: dict[str, np.ndarray],
             refits: list[CurveFit]) -> dict[str, Any]:
  """All that the command found, as JSON values."""
  def of(curve: Curve) -> dict[str, Any]:
    last = int(np.argmax(curve.step))
    predicted = found.predict(curve.rate, curve.step)
    return {'curve': curve.name, 'schedule': curve.schedule, 'rows': len(curve.step),
            **_known(found.score(curve)),
            'final': {'step': int(curve.step[last]), 'actual': float(curve.loss[last]),
                      'predicted': float(predicted[last]), **moved(curve.rate, curve.step[last])},
            'points': {'step': curve.step.tolist(), 'loss': curve.loss.tolist(),
                       'predicted': predicted.tolist()}}

  def moved(rate: np.ndarray, step: int) -> dict[str, list[float]]:
    finals = [float(f.predict(rate, step)[0]) for f in [found, *refits]]
    return {'refits': [min(finals), max(finals)]} if refits else {}

  scores = [found.score(curve) for curve in held]
  objective = found.objective and {'name': found.objective.name, 'delta': found.objective.delta,
                                   'value': found.value}
  ends = [{'name': name, 'updates': len(rate) - 1, 'loss': float(found.predict(rate)[-1]),
           **moved(rate, len(rate) - 1)} for name, rate in rank.items()]
  return {'law': 'multi_power', 'formula': multi_power.FORMULA, 'source': multi_power.SOURCE,
          'params': found.params, 'objective': objective, 'fitted': [of(c) for c in fitted],
          'predicted': [of(c) for c in held],
          'predicted_mean': _known({k: float(np.mean([s[k] for s in scores])) for k in scores[0]})
          if scores else None,
          'rank': sorted(ends, key=lambda e: e['loss']), 'warnings': list(found.warnings),
          'command': shlex.join(['python', '-m', 'analysis.curves', *sys.argv[1:]]),
          'code_version': fit_command.code_version()}


def _known(values: dict[str, float]) -> dict[str, float | None]:
  """JSON has no nan: it becomes null."""
  return {k: v if np.isfinite(v) else None for k, v in values.items()}


def text(answer: dict[str, Any]) -> str:
  """The answer as short readable tables."""
  lines = [f'multi_power: {multi_power.FORMULA}',
           '   '.join(f'{k} {v:.6g}' for k, v in answer['params'].items())]
  if answer['objective']:
    lines.append(f'{answer["objective"]["name"]} = {answer["objective"]["value"]:.9g}')
  width = max([len(c['curve']) for c in [*answer['fitted'], *answer['predicted']]]
              + [len(e['name']) for e in answer['rank']] + [12])
  for kind in ('fitted', 'predicted'):
    if answer[kind]:
      lines += ['', f'{kind:{width}}  rows       R2      MAE   last step   actual  predicted']
    for c in answer[kind]:
      lines.append(f'{c["curve"]:{width}} {c["rows"]:5d} {_r2(c)} {c["mae"]:8.5f} '
                   f'{c["final"]["step"]:11d} {c["final"]["actual"]:8.4f} '
                   f'{c["final"]["predicted"]:10.4f}{_range(c["final"])}')
  if answer['predicted_mean'] and len(answer['predicted']) > 1:
    m = answer['predicted_mean']
    lines.append(f'{"mean":{width}}       {_r2(m)} {m["mae"]:8.5f}')
  if answer['rank']:
    lines += ['', f'{"lowest first":{width}}     updates   final loss']
    lines += [f'{e["name"]:{width}} {e["updates"]:11d} {e["loss"]:12.4f}{_range(e)}'
              for e in answer['rank']]
  return '\n'.join(lines + [f'warning: {w}' for w in answer['warnings']])


def _r2(scores: dict[str, Any]) -> str:
  return '     n/a' if scores['r2'] is None else f'{scores["r2"]:8.5f}'


def _range(entry: dict[str, Any]) -> str:
  ends = entry.get('refits')
  return f'   refits without a curve [{ends[0]:.4f}, {ends[1]:.4f}]' if ends else ''
