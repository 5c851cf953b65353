"""Rows of a table for the vocabulary approaches, approach 3's fit, and the sizes all three predict.

See analysis/vocabularies/sizes.py and analysis/laws/vocabulary.py. Everything counts parameters,
tokens, characters and FLOPs one by one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis import fit, laws
from analysis.laws import vocabulary as law
from analysis.reading import tables
from analysis.reading.expressions import Expression
from analysis.vocabularies import sizes
from analysis.vocabularies.sizes import Rows
from scaling.errors import InputError, bad

PAPER = laws.tie(law.LAW, {'alpha1': 'beta'})
NEEDED, OPTIONAL = ('N_nv', 'V', 'loss_unigram'), ('H', 'D', 'd', 'N_v', 'C')


def rows_of(path: str, table: pd.DataFrame, expressions: Mapping[str, Expression]
            ) -> tuple[Rows, dict[str, int]]:
  """The rows of a table, and how many were dropped, by reason.

  N_nv, V, loss_unigram (or loss, which must be L_u); H or D (the other follows from f; with both, f
  is fitted to them); d or N_v (else the paper's widths); C (else 6 (N_nv + N_v) D). Raises
  InputError for what is missing.
  """
  chosen = {('loss_unigram' if name == 'loss' else name): e for name, e in expressions.items()}
  wrong = sorted(set(chosen) - {*NEEDED, *OPTIONAL})
  if wrong:
    raise bad('--columns', wrong[0], f'these are {", ".join((*NEEDED, *OPTIONAL))}')
  for name in (*NEEDED, *OPTIONAL):
    if name not in chosen and name in table:
      chosen |= tables.columns(f'{name}=`{name}`')
  for name in NEEDED:
    if name not in chosen:
      raise InputError(tables.lacks(path, 'vocabulary', name, table))
  if 'H' not in chosen and 'D' not in chosen:
    raise InputError(tables.lacks(path, 'vocabulary', 'H', table))
  x = {k: np.asarray(v, np.float64) for k, v in tables.values(table, chosen).items()}
  keep, dropped = np.ones(len(table), bool), {}
  for name, values in x.items():
    good = np.isfinite(values) & ((values > 0) | (name == 'loss_unigram'))
    if np.any(keep & ~good):
      dropped[f'{name} missing' + ' or not positive' * (name != 'loss_unigram')] = int(
          np.sum(keep & ~good))
    keep &= good
  if not np.any(keep):
    raise InputError(f'{path}: no row has all of {", ".join(chosen)} (dropped: {dropped})')
  x = {k: v[keep] for k, v in x.items()}
  f = law.COMPRESSION
  if 'H' in x and 'D' in x:
    f = law.compression(x['V'], x['D'] / x['H'])
  H = x['H'] if 'H' in x else law.chars_from_tokens(x['D'], x['V'], f)
  width = _width(x['N_nv'], x['d'] if 'd' in x else x['N_v'] / x['V'] if 'N_v' in x else None)
  rows = Rows(x['N_nv'], x['V'], H, np.zeros_like(H), x['loss_unigram'], f, width)
  C = x['C'] if 'C' in x else rows.flops(rows.N_nv, rows.H, rows.V)
  return dataclasses.replace(rows, C=C), dropped


def approach_3(rows: Rows, mode: str = 'correct', tied: laws.Law = PAPER,
               **options: Any) -> fit.Fit:
  """The law (the paper's, alpha1 = beta, or another tied or fixed one) fitted to the rows.

  Runs are resampled as wholes. Its warnings say when N_v is not identified. options: those of
  `analysis.fit.fit`.
  """
  inputs = {'N_nv': rows.N_nv, 'N_v': rows.V * rows.width(rows.N_nv),
            'D': law.tokens_from_chars(rows.H, rows.V, mode, rows.coefficients)}
  found = fit.fit(tied, inputs, rows.loss, groups=rows.run, **options)
  without = fit.fit(laws.fix(tied, {'A2': 1e-12, 'alpha2': 0.5}), inputs, rows.loss, bootstrap=0)
  rise = without.value / found.value - 1 if found.value > 0 else np.inf
  warnings = list(found.warnings)
  low, high = found.intervals.get('alpha2', (np.nan, np.nan))
  wide = not low > 0 or high / low > 4
  if rise < 0.01 or (wide and found.intervals):
    said = (f', and the {100 * found.level:g} % interval of alpha2 is [{low:.3g}, {high:.3g}]'
            if found.intervals else '')
    warnings.append(f'N_v is not identified: without A2 / N_v^alpha2 the objective is only '
                    f'{100 * rise:.2g} % higher{said}; do not rely on A2, alpha2 or the vocabulary '
                    'that approach 3 predicts')
  if mode == 'official':
    warnings.append('tokens from f(V / 1000), the slip of the official script: these coefficients '
                    'go with such tokens only')
  return dataclasses.replace(found, warnings=warnings,
                             extra=found.extra | {'objective_without_N_v': without.value})


def full(of: laws.Law, params: Mapping[str, Any]) -> dict[str, Any]:
  """Parameters with those that a restricted law leaves out."""
  held = {**params, **dict(of.fixed)}
  return {**held, **{name: held[to] for name, to in of.tied}}


@dataclasses.dataclass(frozen=True)
class Coefficients:
  """What the approaches predict from; None for one that is not used.

  one: K_Nnv, K_Nv, exponent. two: N_nv, N_v of the anchor, gamma. three: the law's parameters.
  """

  one: Mapping[str, Any] | None = None
  two: Mapping[str, Any] | None = None
  three: Mapping[str, Any] | None = None


PUBLISHED = Coefficients(law.APPROACH_1, law.APPROACH_2, law.from_paper(law.APPROACH_3))


def predictions(N_nv: Any, found: Coefficients = PUBLISHED, C: Any = None,
                width: Callable[[Any], Any] = law.width) -> dict[str, np.ndarray]:
  """The best vocabulary of models with N_nv parameters [n] outside it, by each approach.

  C FLOPs [n] that the model gets; default: as many as approach 1 says make N_nv the best size.
  Only approach 3 answers for another C. {'N_nv', 'd', 'C', 'V_1', 'V_2', 'V_3'}.
  """
  n = np.asarray(N_nv, np.float64)
  d = np.asarray(width(n), np.float64)
  answer = {'N_nv': n, 'd': d}
  if found.one is not None:
    matched = (n / np.exp(found.one['K_Nnv']))**2
    answer['V_1'] = np.exp(found.one['K_Nv']) * matched ** found.one['exponent'] / d
    C = matched if C is None else C
  if found.two is not None:
    answer['V_2'] = found.two['N_v'] * (n / found.two['N_nv']) ** found.two['gamma'] / d
  if C is not None:
    answer['C'] = np.broadcast_to(np.asarray(C, np.float64), n.shape)
    if found.three is not None:
      with np.errstate(divide='ignore'):
        answer['V_3'] = np.maximum(law.optimal_size(found.three, n, answer['C']) / d, 1.0)
  return answer


def resampled(rows: Rows, count: int, seed: int, anchor_flops: float | None
              ) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
  """approach_1 and the anchor of approach 2 on `count` resamplings of the runs (N_nv by V).

  A resampling that cannot be interpolated or has no frontier gives none.
  """
  random = np.random.default_rng(seed)
  members = [np.flatnonzero(rows.run == i) for i in range(rows.run.max() + 1)]
  ones, anchors = [], []
  for _ in range(count):
    drawn = rows.take(np.concatenate([members[i] for i in random.integers(len(members),
                                                                          size=len(members))]))
    with contextlib.suppress(InputError, ValueError, RuntimeError):  # Qhull's are RuntimeErrors
      ones.append(sizes.approach_1(drawn))
    if drawn.N_nv.min() == rows.N_nv.min():
      with contextlib.suppress(InputError, ValueError):
        anchors.append(sizes.anchor(drawn, anchor_flops))
  return ones, anchors


def _width(N_nv: np.ndarray, d: np.ndarray | None) -> Callable[[Any], Any]:
  """The paper's widths if the rows have them; else their own, interpolated in logarithms."""
  if d is None or np.allclose(d, law.width(N_nv), rtol=1e-6):
    return law.width
  x, first = np.unique(np.log(N_nv), return_index=True)
  y = np.log(d[first])
  if np.any(np.abs(np.interp(np.log(N_nv), x, y) - np.log(d)) > 1e-6):
    raise InputError('d: runs with one N_nv have several widths; the approaches need one each')
  slope = float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 1 / 3

  def of(size: Any) -> np.ndarray:
    log = np.log(np.asarray(size, np.float64))
    return np.exp(np.interp(log, x, y) + slope * (log - np.clip(log, x[0], x[-1])))

  return of
