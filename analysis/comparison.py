"""Several laws on the same rows: in-sample, cross-validated and extrapolated errors, and a ranking.

Laws are ranked by the mean relative error of their extrapolations (the splits `largest`, `rolling`
and `held_out`), over rows that every ranked law has predicted: a law with more parameters needs
more rows and cannot fit the earliest folds, which should not count for or against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis import fit, validation
from analysis.laws.law import Law
from analysis.reading.points import Points
from analysis.validation import Validation
from scaling.errors import InputError

HELD_OUT = 'held_out'
EXTRAPOLATIONS = ('largest', 'rolling', HELD_OUT)


@dataclasses.dataclass(frozen=True)
class Entry:
  """One law: its fit to all rows, and what it predicts of rows left out, by split."""

  fit: fit.Fit
  validations: dict[str, Validation]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """entries, best first; extrapolation {law: error, or None where nothing was predicted}.

  common: extrapolated rows that all ranked laws have predicted. failed: {law: why}. rows: used.
  """

  entries: dict[str, Entry]
  extrapolation: dict[str, float | None]
  common: int
  failed: dict[str, str]
  rows: int
  dropped: int
  compute: np.ndarray  # of the rows, then of those held out

  def to_dict(self) -> dict[str, Any]:
    return {
        'ranked': list(self.entries), 'rows': self.rows, 'dropped': self.dropped,
        'extrapolated_rows': self.common, 'failed': self.failed,
        'laws': {name: {
            'formula': e.fit.law.formula, 'parameters': len(e.fit.params), 'params': e.fit.params,
            'extrapolation_error': self.extrapolation[name],
            'objective': {'name': e.fit.objective.name, 'delta': e.fit.objective.delta,
                          'value': e.fit.value},
            'in_sample': e.fit.metrics, 'warnings': e.fit.warnings,
            'splits': {k: v.to_dict() for k, v in e.validations.items()}}
            for name, e in self.entries.items()}}


def compare(law_of: Mapping[str, Law], points: Mapping[str, Points], kinds: Sequence[str], *,
            bootstrap: int = 0, folds: int = 5, **options: Any) -> Comparison:
  """Fits every law to the rows that all of them can use, and predicts what `kinds` leave out.

  points: the same rows for every law, each with its own inputs; held-out rows are one more split.
  A law that cannot be fitted is in `failed`. Raises InputError when none can, or no row is left.
  """
  names = list(points)
  failed: dict[str, str] = {}
  output = law_of[names[0]].output
  for name in names:
    if law_of[name].output != output:
      failed[name] = f'it predicts {law_of[name].output}, {names[0]} {output}'
  names = [name for name in names if name not in failed]
  log = any(law_of[name].objective[0].endswith('_log') for name in names)
  keep = usable([(law_of[name], points[name]) for name in names], log)
  if not keep.any():
    raise InputError('no row has inputs and a loss that all of these laws can take')
  first = points[names[0]]
  y, groups = first.loss[keep], first.groups[keep]
  weights = None if first.weights is None else first.weights[keep]
  every: dict[str, np.ndarray] = {}
  for name in names:
    every = {k: v[keep] for k, v in points[name].inputs.items()} | every
  splits = {kind: validation.split(kind, every, groups, folds) for kind in kinds}
  entries: dict[str, Entry] = {}
  cost = [validation.compute(every)]
  held = _held(law_of, points, names, log)
  if held is not None:
    cost.append(validation.compute(held[0]))
  for name in names:
    law, x = law_of[name], {k: v[keep] for k, v in points[name].inputs.items()}
    try:
      whole = fit.fit(law, x, y, groups=groups, weights=weights, bootstrap=0, **options)
    except InputError as error:
      failed[name] = str(error)
      continue
    found = {kind: validation.validate(law, x, y, kind, split, groups=groups, weights=weights,
                                       bootstrap=bootstrap, **options)
             for kind, split in splits.items()}
    if held is not None:
      also = {k: np.append(v, points[name].held_out.inputs[k][held[2]])  # type: ignore[union-attr]
              for k, v in x.items()}
      count = len(held[1])
      found[HELD_OUT] = validation.validate(
          law, also, np.append(y, held[1]), HELD_OUT,
          [(np.arange(len(y)), len(y) + np.arange(count))], bootstrap=bootstrap,
          groups=np.append(groups.astype(object), [f'held {i}' for i in range(count)]),
          weights=None if weights is None else np.append(weights, np.ones(count)), **options)
    entries[name] = Entry(whole, found)
  if not entries:
    raise InputError('no law could be fitted: ' + '; '.join(f'{k}: {v}' for k, v in failed.items()))
  errors, common = extrapolation(entries)
  order = sorted(entries, key=lambda n: (errors[n] is None, errors[n] or 0.0))
  return Comparison({n: entries[n] for n in order}, errors, common, failed, int(keep.sum()),
                    int((~keep).sum()), np.concatenate(cost))


def usable(laws: Iterable[tuple[Law, Points]], log: bool) -> np.ndarray:
  """The rows that every law can take, bool [n]."""
  keep = np.array(True)
  for law, rows in laws:
    keep = keep & np.isfinite(rows.loss) & ((rows.loss > 0) | (not log))
    for name, values in rows.inputs.items():
      keep = keep & law.allows(name, values)
  return keep


def extrapolation(entries: Mapping[str, Entry]) -> tuple[dict[str, float | None], int]:
  """The mean relative error of every law where all that extrapolated did, and how many rows."""
  errors: dict[str, list[np.ndarray]] = {name: [] for name in entries}
  count = 0
  for kind in EXTRAPOLATIONS:
    done = {n: e.validations[kind] for n, e in entries.items()
            if kind in e.validations and len(e.validations[kind].rows)}
    if not done:
      continue
    shared = set.intersection(*(set(v.rows.tolist()) for v in done.values()))
    count += len(shared)
    for name, found in done.items():
      chosen = np.isin(found.rows, list(shared))
      errors[name].append(np.abs(found.predicted[chosen] / found.actual[chosen] - 1))
  most = max((len(v) for v in errors.values()), default=0)
  return {name: float(np.mean(np.concatenate(parts)))
          if parts and len(parts) == most and sum(map(len, parts)) else None
          for name, parts in errors.items()}, count


def _held(law_of: Mapping[str, Law], points: Mapping[str, Points], names: Sequence[str], log: bool,
          ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray] | None:
  """Inputs, loss and row numbers of held-out rows that all laws can take; None without any."""
  parts = [(law_of[name], p) for name in names if (p := points[name].held_out) is not None]
  if len(parts) < len(names):
    return None
  rows = np.flatnonzero(usable(parts, log))
  if not len(rows):
    return None
  every: dict[str, np.ndarray] = {}
  for _, part in parts:
    every = {k: v[rows] for k, v in part.inputs.items()} | every
  return every, parts[0][1].loss[rows], rows
