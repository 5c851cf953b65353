"""A vocabulary study's fit.json, read back, and the vocabularies it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.vocabularies import approaches, study
from analysis.vocabularies.approaches import NAMES, Approach
from analysis.vocabularies.runs import Scale
from scaling import files
from scaling.errors import InputError, bad

FAR = 10.0  # times beyond a range of the runs: said as a warning


def load(path: str) -> dict[str, Any]:
  """The values of a study's fit.json. InputError for a file that is none."""
  try:
    values = files.read_json(path)
  except OSError as error:
    raise InputError(f'{path}: {error.strerror or error}') from None
  except (ValueError, RecursionError):
    raise InputError(f'{path}: not a fit of a vocabulary study (it is not JSON)') from None
  if not isinstance(values, dict) or values.get('kind') != 'vocabulary':
    raise InputError(f'{path}: not a fit of a vocabulary study (analysis.vocabulary --logs --out '
                     'writes one)')
  try:
    Scale.of_dict(values['scale'])
    for metric in values['metrics']:
      known(values, metric)
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    if isinstance(error, InputError):
      raise
    raise InputError(f'{path}: not a fit of a vocabulary study ({type(error).__name__}: {error})'
                     ) from None
  return values


def is_one(path: str) -> bool:
  """Whether a file is the fit of a vocabulary study, rather than of a law or nothing."""
  try:
    values = files.read_json(path)
  except (OSError, ValueError, RecursionError):
    return False
  return isinstance(values, dict) and values.get('kind') == 'vocabulary'


def known(values: Mapping[str, Any], metric: str) -> dict[str, Approach]:
  """The approaches of one metric. InputError when the fit does not have it."""
  if metric not in values['metrics']:
    raise bad('--metric', metric, f'the fit has {", ".join(values["metrics"]) or "none"}')
  held = values['metrics'][metric]['approaches']
  return {name: Approach.of_dict(name, metric, held[name]) for name in NAMES if name in held}


def predict(values: Mapping[str, Any], metric: str, params: Any, flops: Any = (),
            characters: Any = (), widths: Any = ()) -> dict[str, Any]:
  """The best vocabularies of models of `params` non-vocabulary parameters, with intervals.

  flops or characters: the budget of each (or one for all): as many FLOPs, or a text of so many
  characters, read by the very vocabulary that is best for the FLOPs this takes. Neither: C =
  e^ln_k N_nv^2, the middle of the study's runs. widths: d of each, else the study's trend. {'rows',
  'warnings'}; a row has N_nv, C (by approach where characters are given), d and the approaches;
  with characters text_V, the V of least loss by the law on that text whatever it costs; else
  proof, the characters that these FLOPs are at the best V, half and double of it.
  """
  scale, found = Scale.of_dict(values['scale']), known(values, metric)
  if len(flops) and len(characters):
    raise InputError('give --flops or --characters, not both')
  n = np.asarray(params, np.float64)
  budgets = {}
  for flag, given in (('flops', flops), ('characters', characters), ('d', widths)):
    if len(given) not in (0, 1, len(n)):
      raise bad(f'--{flag}', ','.join(f'{v:g}' for v in given),
                'give one, or one for each of --params')
    budgets[flag] = np.broadcast_to(np.asarray(given, np.float64), n.shape) if len(given) else None
  d = budgets['d'] if budgets['d'] is not None else scale.width(n)
  C = budgets['flops'] if budgets['flops'] is not None else scale.budget(n)
  if budgets['characters'] is None:
    rows = study.table(found, scale, n, C, values['level'], d)
    for row in rows:
      row['proof'] = _proof(row, scale)
  else:
    rows = [{'N_nv': float(a), 'd': float(w), 'H': float(h)}
            for a, w, h in zip(n, d, budgets['characters'])]
    for name, one in found.items():
      C = approaches.of_text(one, scale, n, budgets['characters'], d)
      for row, own in zip(rows, study.table({name: one}, scale, n, C, values['level'], d)):
        row |= {name: own[name] | {'C': own['C']}, 'C': own['C']}
    whatever = approaches.at_any_cost(found['parametric'], scale, n, budgets['characters'], d)
    for row, V in zip(rows, whatever):
      row['text_V'] = float(V) if np.isfinite(V) else None
  return {'metric': metric, 'rows': rows, 'warnings': _warnings(rows, scale, found)}


def _proof(row: Mapping[str, Any], scale: Scale) -> dict[int, float]:
  """{V: characters} of runs with the row's FLOPs at the best V, half and double of it.

  The best: the geometric mean of the approaches' inside the vocabularies tried; {} without any.
  Runs of one text would not do to try it: the larger vocabulary then has more FLOPs.
  """
  known = [row[name]['V'] for name in NAMES if name in row and row[name]['tried']]
  if not known:
    return {}
  best = float(np.exp(np.mean(np.log(known))))
  return {round(V): float(row['C'] / scale.flops(row['N_nv'], V, 1.0, row['d']))
          for V in (best / 2, best, 2 * best)}


def _warnings(rows: list[dict[str, Any]], scale: Scale, found: Mapping[str, Approach]
              ) -> list[str]:
  said = []
  for row in rows:
    for name, what in (('N_nv', 'size'), ('C', 'budget')):
      low, high = scale.ranges[name]
      times = max(row[name] / high, low / row[name])
      if times > 1:
        said.append(f'N_nv {row["N_nv"]:.4g}: the {what} {name} = {row[name]:.4g} lies '
                    + (f'{times:.3g} times ' if times > FAR else '') + 'beyond those trained, '
                    f'{low:.3g} to {high:.3g}')
    low, high = scale.ranges['V']
    out = [name for name in found if row[name]['V'] is None or not row[name]['tried']]
    if out:
      said.append(f'N_nv {row["N_nv"]:.4g}: {", ".join(out)} outside the vocabularies tried, '
                  f'{low:g} to {high:g}: no confident number')
  return said + [f'{name}: this fit has no answer by it' for name in NAMES if name not in found]
