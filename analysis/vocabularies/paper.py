"""The three approaches of Tao et al. 2024 (arXiv 2407.13623) as the paper does them, on any table.

Rows are evaluations of runs that differ in N_nv and V, with the unigram-normalised loss. Studies of
one's own are fitted by `vocabularies/study.py`, which does with fewer sizes and budgets.
docs/vocabulary.md describes the output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import fit, laws, metrics
from analysis.laws import vocabulary as law
from analysis.vocabularies import optima, sizes
from analysis.vocabularies.sizes import Rows
from scaling.errors import InputError, bad

BOTH = 'both'
COLUMNS = ('N_nv=Non_vocab_parameters,V=vocab_size,d=embed_dim,H=num_characters,C=FLOPs,'
           'loss_unigram=Lossu')
MIN_FLOPS, ANCHOR_FLOPS = 2.18e17, 2.7e17
PARAMS = (2.87e9, 3e9, 7e9, 13e9, 30e9, 70e9, 130e9, 300e9)  # of the paper's table of optima


def study(rows: Rows, approach: str = 'all', mode: str = 'correct', params: Any = (),
          flops: Any = None, *, min_flops: float = 0.0, anchor_flops: float | None = None,
          roots_at: Any = sizes.SIZES, tied: laws.Law = optima.PAPER, bootstrap: int = 200,
          level: float = 0.9, seed: int = 0) -> dict[str, Any]:
  """vocabulary.json as Python values: the approaches, and the vocabularies of models `params`.

  mode: the tokens of approach 3; 'both' fits it with the correct ones and, as `approach_3_official`
  and V_3_official, with the script's.
  """
  used = ('1', '2', '3') if approach == 'all' else (approach,)
  if len(params) and flops is None and approach == '3':
    raise InputError('--flops: approach 3 alone needs the budgets of --params (approach 1 would '
                     'say them)')
  answer: dict[str, Any] = {
      'n_rows': len(rows), 'n_runs': int(rows.run.max()) + 1, 'level': level, 'warnings': [],
      'units': 'parameters, tokens, characters and FLOPs one by one; natural logarithms',
      'compression': dict(zip('abc', rows.coefficients))}
  ones, anchors = optima.resampled(rows, bootstrap, seed, anchor_flops) if bootstrap and set(
      used) & {'1', '2'} else ([], [])
  found: dict[str, Any] = {}
  if '1' in used:
    found['one'] = answer['approach_1'] = _approach_1(rows, ones, level, answer['warnings'])
  if '2' in used:
    found['two'] = _approach_2(rows, roots_at, anchors, anchor_flops, level, answer)
  third = None
  if '3' in used:
    kept = rows.take(np.flatnonzero(min_flops <= rows.C))
    if not len(kept):
      raise bad('min_flops', min_flops, f'the rows have at most {rows.C.max():.4g} FLOPs')
    first = law.MODES[0] if mode == BOTH else mode
    third = optima.approach_3(kept, first, tied, bootstrap=bootstrap, level=level)
    found['three'] = optima.full(third.law, third.params)
    answer['approach_3'] = _approach_3(third, kept, first)
    answer['warnings'] += [f'approach 3: {w}' for w in third.warnings]
    if mode == BOTH:
      other = optima.approach_3(kept, law.MODES[1], tied, bootstrap=bootstrap, level=level)
      answer['approach_3_official'] = _approach_3(other, kept, law.MODES[1])
      answer['warnings'] += [f'approach 3, official tokens: {w}' for w in other.warnings]
      theirs = optima.full(other.law, other.params)
  if len(params):
    answer['predictions'] = _predictions(rows, np.asarray(params), flops, found, ones, anchors,
                                         third, level)
    if 'approach_3_official' in answer:
      n, d = np.asarray(params), rows.width(np.asarray(params))
      for row, V in zip(answer['predictions'], law.optimal_size(
          theirs, n, [r['C'] for r in answer['predictions']]) / d):
        row['V_3_official'] = float(V)
    answer['published_predictions'] = _rows(optima.predictions(params, C=flops))
  return answer


def _approach_1(rows: Rows, ones: list[dict], level: float, warnings: list[str]) -> dict[str, Any]:
  best = sizes.approach_1(rows)
  published = sizes.approach_1_published(rows)
  intervals = {name: _interval([o[name] for o in ones], best[name], level)
               for name in ('K_Nnv', 'K_Nv', 'exponent', 'K_H')} if ones else {}
  higher = published['objective']['Nv'] / published['lowest_objective']['Nv'] - 1
  if higher > 1e-3:
    warnings.append(
        f'approach 1: the optimiser of the paper stops {100 * higher:.2g} % above the optimum, at '
        f'K_Nv {published["K_Nv"]:.6g}, exponent {published["exponent"]:.5g} (paper_optimiser); '
        'K_Nv and the exponent are hardly identified apart')
  for name, values in (('N_nv', rows.N_nv), ('V', rows.V)):
    if len(np.unique(values)) < 3:
      warnings.append(f'approach 1: only {len(np.unique(values))} values of {name}; its power laws '
                      'need three or more')
  if best['at_edge'] > 0.5:
    warnings.append(f'approach 1: minimum not bracketed, {100 * best["at_edge"]:.0f} % of the '
                    'frontier has the smallest or the largest V')
  return best | {'intervals': intervals, 'paper_optimiser': published}


def _approach_2(rows: Rows, roots_at: Any, anchors: list[dict], anchor_flops: float | None,
                level: float, answer: dict[str, Any]) -> dict[str, Any]:
  """Fills answer['approach_2']; returns what predictions need."""
  found = sizes.approach_2(roots_at, rows.width(np.asarray(roots_at)), rows.coefficients)
  best = sizes.anchor(rows, anchor_flops)
  answer['approach_2'] = found | {
      'anchor': best, 'paper_optimiser': sizes.approach_2_published(roots_at),
      'intervals': {'anchor_N_v': _interval([a['N_v'] for a in anchors], best['N_v'], level)}
      if anchors else {}}
  smallest, largest = (float(f(rows.V[rows.N_nv == rows.N_nv.min()])) for f in (np.min, np.max))
  if best['extrapolated']:
    answer['warnings'].append(f'approach 2: the loss of {best["extrapolated"]} of the smallest '
                              f'models at {best["C"]:.3g} FLOPs is extrapolated')
  if best['V'] in (smallest, largest):
    answer['warnings'].append(f'approach 2: the best vocabulary of the smallest model, '
                              f'{best["V"]:g}, is the edge of those tried')
  return {'N_nv': best['N_nv'], 'N_v': best['N_v'], 'gamma': found['gamma']}


def _approach_3(found: fit.Fit, rows: Rows, mode: str) -> dict[str, Any]:
  params = optima.full(found.law, found.params)
  published = law.from_paper(law.APPROACH_3)
  residual = law.LAW.predict(published, found.inputs) - found.loss
  return {'mode': mode, 'n_rows': len(rows), 'params': params,
          'params_in_paper_units': law.to_paper(params),
          'paper_units': 'N_nv and N_v in millions, D in billions',
          'intervals': found.intervals | {name: found.intervals[to] for name, to in found.law.tied
                                          if to in found.intervals},
          'tied': dict(found.law.tied), 'objective': found.value,
          'objective_without_N_v': found.extra['objective_without_N_v'], 'metrics': found.metrics,
          'published': {'params_in_paper_units': law.APPROACH_3, 'params': published,
                        'objective': found.objective.value(residual, np.ones(len(residual))),
                        'metrics': metrics.all_of(found.loss, residual + found.loss)}}


def _predictions(rows: Rows, params: np.ndarray, flops: Any, found: dict[str, Any],
                 ones: list[dict], anchors: list[dict], third: fit.Fit | None, level: float,
                 ) -> list[dict[str, Any]]:
  """The predicted vocabularies with intervals, a row a model."""
  best = optima.predictions(params, optima.Coefficients(**found), flops, rows.width)
  at = best.get('C', flops)
  samples: dict[str, list[np.ndarray]] = {
      'V_1': [optima.predictions(params, optima.Coefficients(one=o), None, rows.width)['V_1']
              for o in ones if 'one' in found],
      'V_2': [optima.predictions(params, optima.Coefficients(two={**found['two'], **a}), None,
                                 rows.width)['V_2'] for a in anchors if 'two' in found]}
  if third is not None and third.samples is not None:
    draws = optima.full(third.law, third.refits())
    samples['V_3'] = [optima.predictions(
        params, optima.Coefficients(three={k: np.broadcast_to(v, third.samples.shape[:1])[i]
                                           for k, v in draws.items()}), at, rows.width)['V_3']
        for i in range(len(third.samples))]
  answer = _rows(best)
  for i, row in enumerate(answer):
    row['intervals'] = {name: _interval([v[i] for v in values], row[name], level)
                        for name, values in samples.items() if values}
  return answer


def _interval(values: list[float], centre: float, level: float) -> list[float]:
  """The middle `level` of the resampled values, and the estimate itself."""
  low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
  return [float(min(low, centre)), float(max(high, centre))]


def _rows(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
  return [{k: float(v[i]) for k, v in columns.items()} for i in range(len(columns['N_nv']))]
