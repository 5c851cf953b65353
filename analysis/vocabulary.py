"""The vocabulary a model should have: the three approaches of Tao et al. 2024 (arXiv 2407.13623).

  python -m analysis.vocabulary --data=runs.csv --approach=all --params=3e9,7e9 --out=out.json
      --columns=N_nv=params,V=vocab_size,d=width,H=characters,C=flops,loss_unigram=loss_u

Rows are evaluations of runs that differ in N_nv and V. docs/vocabulary.md describes the output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags

from analysis import fit, laws, metrics
from analysis.commands import fit as fit_command
from analysis.commands.options import check_intervals, check_positive
from analysis.laws import vocabulary as law
from analysis.reading import tables
from analysis.vocabularies import optima, sizes
from analysis.vocabularies.sizes import Rows
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('data', None, 'The table of runs: a row an evaluation.')
  flags.DEFINE_string('columns', '', 'N_nv, V, loss_unigram, H or D, and d, C, as name=expression.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_enum('approach', 'all', ['1', '2', '3', 'all'], 'Which approach.')
  flags.DEFINE_enum('tokens_from_chars_mode', 'correct', list(law.MODES), 'Tokens of approach 3: '
                    'H f(V), or H f(V / 1000) as the published coefficients need.')
  flags.DEFINE_list('params', [], 'N_nv of models to predict the vocabulary of.')
  flags.DEFINE_list('flops', [], 'Their budgets, for approach 3 (default: those of approach 1).')
  flags.DEFINE_float('min_flops', 0.0, 'Approach 3 leaves out cheaper rows (the paper: 2.18e17).')
  flags.DEFINE_float('anchor_flops', None, 'Where approach 2 compares the smallest models '
                     '(the paper: 2.7e17; default: the most that all of them reach).')
  flags.DEFINE_list('sizes', [f'{n:g}' for n in sizes.SIZES], 'N_nv at which approach 2 solves '
                    'dC/dV = 0.')
  flags.DEFINE_string('tie', 'alpha1=beta', 'Parameters of approach 3 that are equal; empty: none.')
  flags.DEFINE_integer('bootstrap', 200, 'Resamplings of runs for the intervals; 0: none.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_string('out', None, 'Where to write vocabulary.json.')
  cli.run(main, need=('data',))


def main(argv: list[str]) -> None:
  del argv
  cli.check_output(FLAGS.out)
  check_intervals(FLAGS.bootstrap, FLAGS.level)
  check_positive('anchor_flops', FLAGS.anchor_flops)
  if not 0 <= FLAGS.min_flops < np.inf:
    raise bad('--min_flops', FLAGS.min_flops, 'it must be >= 0 and finite')
  expressions = tables.columns(FLAGS.columns)
  whole = tables.read(FLAGS.data)
  table = tables.select(whole, FLAGS.where, expressions)
  rows, dropped = optima.rows_of(FLAGS.data, table, expressions)
  if len(table) < len(whole):
    dropped = {'not chosen by --where': len(whole) - len(table)} | dropped
  params, flops = _numbers('params', FLAGS.params), _numbers('flops', FLAGS.flops)
  if len(flops) and len(flops) not in (1, len(params)):
    raise bad('--flops', FLAGS.flops, 'give one budget, or one for each of --params')
  answer = study(
      rows, FLAGS.approach, FLAGS.tokens_from_chars_mode, params, flops if len(flops) else None,
      min_flops=FLAGS.min_flops, anchor_flops=FLAGS.anchor_flops,
      roots_at=_numbers('sizes', FLAGS.sizes), tied=fit_command.restricted(law.LAW, '', FLAGS.tie),
      bootstrap=FLAGS.bootstrap, level=FLAGS.level)
  answer['warnings'] = tables.notes(table, expressions.values()) + answer['warnings']
  answer |= {'dropped': dropped, 'command': fit_command.command('analysis.vocabulary'),
             'code_version': fit_command.code_version(),
             'data': {'source': FLAGS.data, 'sha256': tables.sha256(FLAGS.data),
                      'where': FLAGS.where or None}}
  print(text(answer))
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json(answer) + '\n')
    print(f'\nwritten to {FLAGS.out}')


def study(rows: Rows, approach: str = 'all', mode: str = 'correct', params: Any = (),
          flops: Any = None, *, min_flops: float = 0.0, anchor_flops: float | None = None,
          roots_at: Any = sizes.SIZES, tied: laws.Law = optima.PAPER, bootstrap: int = 200,
          level: float = 0.9, seed: int = 0) -> dict[str, Any]:
  """vocabulary.json as Python values: the approaches, and the vocabularies of models `params`."""
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
    third = optima.approach_3(kept, mode, tied, bootstrap=bootstrap, level=level)
    found['three'] = optima.full(third.law, third.params)
    answer['approach_3'] = _approach_3(third, kept, mode)
    answer['warnings'] += [f'approach 3: {w}' for w in third.warnings]
  if len(params):
    answer['predictions'] = _predictions(rows, np.asarray(params), flops, found, ones, anchors,
                                         third, level)
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


def _numbers(flag: str, texts: list[str]) -> np.ndarray:
  try:
    found = np.array([float(t) for t in texts])
  except ValueError:
    raise bad(f'--{flag}', ','.join(texts), 'they must be numbers') from None
  if not np.all(np.isfinite(found) & (found > 0)):
    raise bad(f'--{flag}', ','.join(texts), 'they must be positive')
  return found


def text(answer: dict[str, Any]) -> str:
  """The answer in a few lines."""
  percent = f'{100 * answer["level"]:g} %'

  def ends(part: dict[str, Any], name: str) -> str:
    pair = part['intervals'].get(name)
    return f'  {percent} [{pair[0]:.6g}, {pair[1]:.6g}]' if pair else ''

  dropped = answer.get('dropped', {})
  lines = [f'{answer["n_rows"]} rows of {answer["n_runs"]} runs'
           + ''.join(f', {count} dropped ({why})' for why, count in dropped.items()), '']
  if 'approach_1' in answer:
    one = answer['approach_1']
    lines.append(f'approach 1: N_nv = e^K_Nnv C^.5, N_v = e^K_Nv C^exponent, H = e^K_H C^.5, by '
                 f'{one["n_frontier"]} rows of the frontier')
    theirs = one['paper_optimiser']
    lines += [f'  {name:9}{one[name]:13.9g}{ends(one, name)}   by the paper\'s optimiser '
              f'{theirs[name]:.9g}' for name in ('K_Nnv', 'K_Nv', 'exponent', 'K_H')]
  if 'approach_2' in answer:
    two = answer['approach_2']
    lines += [f'approach 2: gamma {two["gamma"]:.7g}   by the paper\'s optimiser '
              f'{two["paper_optimiser"]["gamma"]:.7g}',
              '  dC/dV = 0 at V = ' + ', '.join(f'{int(v)}' for v in two['V']),
              f'  anchor N_nv {two["anchor"]["N_nv"]:.4g}, V {two["anchor"]["V"]:g} at '
              f'{two["anchor"]["C"]:.3g} FLOPs, N_v {two["anchor"]["N_v"]:.6g}'
              f'{ends(two, "anchor_N_v")}']
  if 'approach_3' in answer:
    three = answer['approach_3']
    lines += [f'approach 3: {law.LAW.formula}, {three["n_rows"]} rows, tokens {three["mode"]}',
              f'  {"":8}{"ours":>13}{"paper units":>13}{"published":>13}']
    for name, value in three['params'].items():
      lines.append(f'  {name:8}{value:13.6g}{three["params_in_paper_units"][name]:13.6g}'
                   f'{law.APPROACH_3[name]:13.6g}{ends(three, name)}')
    for name, part in (('ours', three), ('published', three['published'])):
      lines.append(f'  {name}: objective {part["objective"]:.7g}, r2 {part["metrics"]["r2"]:.5f}')
  for title in ('predictions', 'published_predictions'):
    if title in answer:
      lines += ['', f'{title.replace("_", " ")}: the best V by approach 1, 2, 3']
      for row in answer[title]:
        cost = f', C {row["C"]:.4g}' if 'C' in row else ''
        lines.append(f'  N_nv {row["N_nv"]:.4g}, d {row["d"]:g}{cost}: '
                     + ', '.join(f'{row[v]:.0f}' + (ends(row, v) if 'intervals' in row else '')
                                 for v in ('V_1', 'V_2', 'V_3') if v in row))
  lines += [f'warning: {w}' for w in answer['warnings']]
  return '\n'.join(lines)


if __name__ == '__main__':
  start()
