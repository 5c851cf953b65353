"""The runs of a vocabulary study, and what their sizes, texts and budgets mean.

N_nv parameters outside the vocabulary, N_v = V d those of one embedding matrix, H characters and
D = H f(V) tokens read, C = 6 (N_nv + V d) D FLOPs. One matrix is counted: with a tied head it is
the only one; with an untied one the lookup costs nothing and the head 6 V d a token, so C is the
same and the model holds V d parameters more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.laws import vocabulary as law
from analysis.vocabularies.compression import OF_RUNS, Compression, of_runs
from scaling.errors import InputError

METRICS = ('loss_unigram', 'bits_per_byte')
FEWEST = 4  # vocabularies that a study needs: three are a parabola, without a fourth to doubt it
LARGEST = 1e9


@dataclasses.dataclass(frozen=True)
class Scale:
  """What a study spans, and the translation between V, N_v, H, D and C at its sizes.

  compression: a, b, c of f. sizes, widths [K]: N_nv and d that were trained. ranges: (least, most)
  of V, N_nv, H and C. ln_k: the middle of ln C - 2 ln N_nv; the budget C = e^ln_k N_nv^2 that
  predictions take where none is given (N_nv and H grow alike). measured: what f is from.
  """

  compression: tuple[float, float, float]
  sizes: tuple[float, ...]
  widths: tuple[float, ...]
  ranges: Mapping[str, tuple[float, float]]
  ln_k: float
  measured: str = OF_RUNS

  def width(self, N_nv: Any) -> np.ndarray:
    """d at any size: interpolated in logarithms, beyond the sizes by their trend."""
    log, x, y = np.log(np.asarray(N_nv, np.float64)), np.log(self.sizes), np.log(self.widths)
    slope = float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 1 / 3
    return np.exp(np.interp(log, x, y) + slope * (log - np.clip(log, x[0], x[-1])))

  def tokens_per_char(self, V: Any) -> np.ndarray:
    """f(V); flat beyond its lowest point: a larger vocabulary makes no more tokens of a text."""
    a, b, c = self.compression
    log = np.log(np.asarray(V, np.float64))
    lowest = -b / (2 * a) if a > 0 else np.log(LARGEST)
    log = np.minimum(log, lowest)
    return a * log**2 + b * log + c

  def flops(self, N_nv: Any, V: Any, H: Any, d: Any = None) -> np.ndarray:
    """C = 6 (N_nv + V d) H f(V)."""
    d = self.width(N_nv) if d is None else d
    return law.flops(N_nv, V * d, H * self.tokens_per_char(V))

  def budget(self, N_nv: Any) -> np.ndarray:
    """C = e^ln_k N_nv^2."""
    return np.exp(self.ln_k) * np.asarray(N_nv, np.float64)**2

  def to_dict(self) -> dict[str, Any]:
    return {'compression': dict(zip('abc', self.compression)) | {'measured': self.measured},
            'sizes': list(self.sizes), 'widths': list(self.widths),
            'ranges': {k: list(v) for k, v in self.ranges.items()}, 'ln_k': self.ln_k}

  @classmethod
  def of_dict(cls, values: Mapping[str, Any]) -> Scale:
    f = values['compression']
    return cls((float(f['a']), float(f['b']), float(f['c'])), tuple(map(float, values['sizes'])),
               tuple(map(float, values['widths'])),
               {k: (float(low), float(high)) for k, (low, high) in values['ranges'].items()},
               float(values['ln_k']), str(f.get('measured', OF_RUNS)))


@dataclasses.dataclass(frozen=True)
class Runs:
  """Evaluations, arrays [n]. losses: {metric: [n]}; unigram: nats per token of the unigram model on
  the validation text; tokens_per_byte of that text; group: numbers of what was trained apart;
  curve: numbers of runs that are one model at several budgets (N_nv, V and seed)."""

  N_nv: np.ndarray
  V: np.ndarray
  d: np.ndarray
  H: np.ndarray
  D: np.ndarray
  C: np.ndarray
  group: np.ndarray
  curve: np.ndarray
  losses: Mapping[str, np.ndarray]
  unigram: np.ndarray
  tokens_per_byte: np.ndarray
  scale: Scale

  def __len__(self) -> int:
    return len(self.N_nv)


def is_study(table: pd.DataFrame) -> bool:
  """Whether the finished runs of a table have four vocabularies or more at some size."""
  done = table[(table['state'] == 'done') & (table['V'] > 0)]
  return bool(len(done) and done.groupby('N_nonembedding')['V'].nunique().max() >= FEWEST)


def of_table(table: pd.DataFrame, domain: str, rows: str = 'final', group: str = 'lineage',
             source: str = 'the table', f: Compression | None = None) -> Runs:
  """The done runs of a table of logs (analysis/logs.py), those of the study's own stage.

  rows: 'final', the last evaluation of each run, or 'all' of the longest run of each size,
  vocabulary and seed. Held-out runs are left out. f: as prepare measured it; else it is fitted to
  D / H of the rows. Raises InputError for a table without characters, with several widths at one
  size, with fewer than four vocabularies at every size, or of other tokenizers than f.
  """
  used = table[(table['state'] == 'done') & (table['stage'] == 0)] if 'state' in table else table
  if 'held_out' in used:
    used = used[~used['held_out'].astype(bool)]
  used = used[used['final'].astype(bool)] if rows == 'final' else used[used['step'] > 0]
  needed = ['N_nonembedding', 'V', 'N_v', 'H', 'D', group, 'seed', f'loss/{domain}',
            *(f'{m}/{domain}' for m in METRICS)]
  missing = [name for name in needed if name not in used]
  if missing:
    raise InputError(f'{source}: a vocabulary study needs {missing[0]}, and there is no such '
                     'column')
  positive = [n for n in needed if n not in (group, 'seed', f'loss_unigram/{domain}')]
  good = np.isfinite(used[[*positive, f'loss_unigram/{domain}']].to_numpy(float)).all(1)
  good &= (used[positive].to_numpy(float) > 0).all(1)
  if not good.any():
    raise InputError(f'{source}: no finished run has V, N_v, H, D and losses of {domain} '
                     f'({len(used)} rows looked at)')
  used = used[good] if rows == 'final' else _longest(used[good])
  n, V, N_v, H, D, loss = (used[name].to_numpy(float) for name in (
      'N_nonembedding', 'V', 'N_v', 'H', 'D', f'loss/{domain}'))
  unigram = loss - used[f'loss_unigram/{domain}'].to_numpy(float)
  bits = used[f'bits_per_byte/{domain}'].to_numpy(float)
  most = max(len(np.unique(V[n == size])) for size in np.unique(n))
  if most < FEWEST:
    raise InputError(f'{source}: no size has runs at {FEWEST} vocabularies (the most is {most}); '
                     'a best one needs some on either side')
  curve = np.unique(np.stack([n, V, _codes(used['seed'])]), axis=1, return_inverse=True)[1].ravel()
  coefficients, measured = of_runs(f, V, D / H)
  sizes, first = np.unique(n, return_index=True)
  widths = (N_v / V)[first]
  if np.any(np.abs(widths[np.searchsorted(sizes, n)] * V / N_v - 1) > 1e-6):
    raise InputError(f'{source}: runs with one N_nonembedding have several widths; a vocabulary '
                     'study needs one each')
  C = law.flops(n, N_v, D)
  scale = Scale(coefficients, tuple(sizes), tuple(widths), {
      name: (float(x.min()), float(x.max())) for name, x in
      (('V', V), ('N_nv', n), ('H', H), ('C', C))}, float(np.mean(np.log(C) - 2 * np.log(n))),
                measured)
  return Runs(n, V, N_v / V, H, D, C, _codes(used[group]), curve,
              {m: used[f'{m}/{domain}'].to_numpy(float) for m in METRICS}, unigram,
              bits * np.log(2) / loss, scale)


def _longest(table: pd.DataFrame) -> pd.DataFrame:
  most = table.groupby('run_id')['D'].max()
  keys = ['N_nonembedding', 'V', 'seed']
  runs = table.drop_duplicates('run_id').assign(D=lambda t: t['run_id'].map(most))
  kept = runs.sort_values('D', kind='stable').drop_duplicates(keys, keep='last')['run_id']
  return table[table['run_id'].isin(kept)]


def _codes(values: pd.Series) -> np.ndarray:
  return np.unique(values.astype(str).to_numpy(), return_inverse=True)[1]
