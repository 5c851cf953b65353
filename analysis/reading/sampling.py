"""From rows to runs: evaluation resamples averaged, the best setting kept, replicates found."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis.fitting import noise
from analysis.reading import cells
from analysis.reading.expressions import missing
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
  """Columns by name, '' for none; `log`: noise is of the logarithm of the loss."""

  best_over: str = ''
  seed: str = ''
  resample: str = ''
  log: bool = True
  stratify: str = ''


@dataclasses.dataclass(frozen=True)
class Sample:
  """Rows of a table with what a fit takes of them, [n] each; cells: replicates have one value."""

  table: pd.DataFrame
  inputs: dict[str, np.ndarray]
  loss: np.ndarray
  held: np.ndarray  # bool: not fitted
  weights: np.ndarray | None = None
  cells: np.ndarray | None = None
  components: noise.Components | None = None
  notes: tuple[str, ...] = ()
  left_out: dict[str, int] = dataclasses.field(default_factory=dict)

  def take(self, rows: np.ndarray, **changed: Any) -> Sample:
    """These rows (positions), with some fields changed."""
    return dataclasses.replace(
        self, table=self.table.iloc[rows], inputs={k: v[rows] for k, v in self.inputs.items()},
        loss=self.loss[rows], held=self.held[rows],
        weights=None if self.weights is None else self.weights[rows],
        cells=None if self.cells is None else self.cells[rows], **changed)


def runs(sample: Sample, options: Options, group: str, of_workdir: bool = False) -> Sample:
  """The sample with a row a run that counts: averaged, chosen, and with cells of replicates.

  `of_workdir`: the seed and a study's axes are known; otherwise replicates are rows equal in all
  inputs that options.seed tells apart. Raises InputError for columns that are not there.
  """
  swept = (cells.swept_columns(sample.table, options.best_over, sample.inputs)
           if options.best_over else {})
  seed = 'seed' if of_workdir else options.seed
  if options.resample:
    named = [column(sample.table, f'--{flag}', name)
             for flag, name in (('group', group), ('seed', seed)) if name]
    sample = _averaged(sample, options, named, list(swept.values()), seed)
    swept = cells.swept_columns(sample.table, options.best_over, sample.inputs) if swept else {}
  kept = [v for name, v in sample.inputs.items() if name not in swept]
  kept += cells.settings_of(sample.table, swept) if of_workdir else []
  if not kept:
    kept = [np.zeros(len(sample.loss))]
  seeds = column(sample.table, '--seed', seed) if seed else None
  if swept:
    possible = np.where((sample.loss > 0) | (not options.log), sample.loss, np.nan)
    keep, said_ = cells.best(possible, cells.codes(kept), swept, seeds)
    sample = sample.take(np.flatnonzero(keep), notes=(*sample.notes, *said_), left_out={
        **sample.left_out, f'not the best over {", ".join(swept)}': int(np.sum(~keep))})
  if not seed:
    return sample
  inputs = list(sample.inputs.values())
  if of_workdir:
    # A rate is a setting even where no axis of a study names it.
    inputs += cells.settings_of(sample.table, {}) + [column(sample.table, 'peak_lr', 'peak_lr')]
  code = cells.codes(inputs)
  notes = sample.notes
  both = cells.codes([code, column(sample.table, '--seed', seed)])
  again = len(code) - len(np.unique(both))
  if again and of_workdir:
    # The same seed twice: these runs differ in something that no axis tells, and are no replicates.
    twice = np.isin(code, code[np.bincount(both)[both] > 1])
    code = np.where(twice, code.max() + 1 + np.arange(len(code)), code)
  elif again:
    notes = (*notes, f'--seed={seed}: {again} rows have the inputs and the seed of another; unless '
             'those are replicates too, choose with --where or --best_over')
  return dataclasses.replace(sample, cells=code, notes=notes)


def column(table: pd.DataFrame, flag: str, name: str) -> np.ndarray:
  """A column that a flag names, as texts. InputError if there is none."""
  if name not in table:
    raise InputError(missing(f'{flag}: no column {name!r}', name, table))
  # Not astype(str), which keeps missing values as they are.
  return np.array([str(value) for value in table[name]], object)


def _averaged(sample: Sample, options: Options, named: list[np.ndarray], swept: list[np.ndarray],
              seed: str) -> Sample:
  """One row a run: the mean over its resamples; and the components of variance."""
  resample = column(sample.table, '--resample', options.resample)
  run = cells.codes([*named, *swept, *sample.inputs.values()])
  usable = np.isfinite(sample.loss) & ((sample.loss > 0) | (not options.log))
  y = np.log(np.where(usable, sample.loss, 1.0)) if options.log else sample.loss
  fitted = usable & ~sample.held
  cell = cells.codes([*swept, *sample.inputs.values()]) if seed else run
  found = noise.components(y[fitted], run[fitted], resample[fitted], cell[fitted])
  if not usable.all():
    sample = dataclasses.replace(sample, left_out={
        **sample.left_out, 'evaluations without a loss': int(np.sum(~usable))})
  loss = noise.run_means(np.where(usable, sample.loss, np.nan), run, resample)
  _, first, of = np.unique(run, return_index=True, return_inverse=True)
  for what, values in (('--hold_out', sample.held), ('--weight', sample.weights)):
    if values is not None and np.any(values != values[first][of]):
      raise InputError(f'{what}: it differs between the resamples of one run')
  order = np.argsort(first)
  means = sample.take(first[order], components=found, notes=(*sample.notes, said(found)))
  return dataclasses.replace(means, loss=loss[order])


def said(found: noise.Components) -> str:
  """The components in a sentence."""
  if found.layout == noise.CROSSED:
    shared = (f'shared by all runs: {np.sqrt(max(found.shared, 0)):.2g} a resample, '
              f'{found.shift():.2g} on the mean of {found.resamples}, in confidence intervals')
  else:
    shared = 'each run has its own'
  run = ('not known without replicates (--seed)' if np.isnan(found.run)
         else f'{np.sqrt(max(found.run, 0)):.2g}')
  return (f'evaluation resamples of {found.runs} runs, averaged; {shared}. Standard deviations: '
          f'run {run}, run and resample {np.sqrt(max(found.residual, 0)):.2g}')


def floor(sample: Sample, log: bool) -> float:
  """The noise of a run known apart from the fit: from resamples, else from replicates."""
  if sample.components is not None and not np.isnan(sample.components.run):
    return sample.components.noise
  known = 0.0 if sample.components is None else sample.components.noise
  if sample.cells is None:
    return known
  use = ~sample.held & np.isfinite(sample.loss) & ((sample.loss > 0) | (not log))
  y = np.log(sample.loss[use]) if log else sample.loss[use]
  return max(known, noise.floor(y, sample.cells[use]))
