"""A vocabulary study fitted by all three approaches under both metrics: what fit.json holds.

Tables compare the approaches where the runs are: along C = e^ln_k N_nv^2 inside the sizes and
budgets trained, and at every size. A vocabulary counts as found when it lies between the smallest
and the largest that were tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis import fit
from analysis.vocabularies import approaches, parting, slices
from analysis.vocabularies.approaches import NAMES, Approach
from analysis.vocabularies.runs import METRICS, Runs, Scale

TIE = {'alpha1': 'beta'}  # as the paper does
POINTS = 6  # of a table along compute
R2, FACTOR = 0.97, 2.0  # what the checks ask for
FORMS = ('auto', *approaches.LAWS)


def of(runs: Runs, *, tied: Mapping[str, str] | None = None, bootstrap: int = 200,
       level: float = 0.9, metrics: tuple[str, ...] = METRICS, form: str = 'auto',
       ) -> dict[str, Any]:
  """Both metrics, and where they part, as values that JSON can hold.

  form: of approach 3's law, 'paper', 'rows' (laws/vocabulary_rows.py) or 'auto': see best_form.
  """
  return {'kind': 'vocabulary', 'scale': runs.scale.to_dict(), 'level': level,
          'n_rows': len(runs), 'n_groups': int(runs.group.max()) + 1,
          'untied': 'C = 6 (N_nv + V d) D counts one matrix; an untied model costs the same FLOPs '
                    'and holds V d parameters more',
          'compression_error': float(np.max(np.abs(
              runs.scale.tokens_per_char(runs.V) * runs.H / runs.D - 1))),
          'metrics': {m: of_metric(runs, m, TIE if tied is None else tied, bootstrap, level,
                                        form)
                      for m in metrics},
          'parting': parting.decomposition(runs)}


def of_metric(runs: Runs, metric: str, tied: Mapping[str, str], bootstrap: int, level: float,
              form: str = 'auto') -> dict[str, Any]:
  """The three approaches under one metric, their tables and checks."""
  cuts, minima = approaches.minima(runs, metric)
  draws = approaches.drawn_weights(runs, bootstrap)
  one, drawn = approaches.isoflop(runs, metric, cuts, draws)
  two, roots = approaches.derivative(runs, metric, minima, drawn, draws)
  tried = {name: approaches.parametric(runs, metric, tied, 0, level, name)
           for name in approaches.LAWS}
  r2 = {name: float(f.metrics['r2'] or 0) for name, f in tried.items()}
  chosen = best_form(r2) if form == 'auto' else form
  found = approaches.parametric(runs, metric, tied, bootstrap, level, chosen)
  known = {a.name: a for a in (one, two, approaches.of_fit(found, metric)) if a is not None}
  answer: dict[str, Any] = {
      'approaches': {name: a.to_dict() for name, a in known.items()},
      'minima': [{'N_nv': m.N_nv, 'C': m.C, 'V': m.V, 'N_v': m.N_v, 'loss': m.loss, 'why': m.why}
                 for m in minima],
      'slices': [{'N_nv': s.N_nv, 'C': s.C, 'V': s.V[s.at].tolist(), 'loss': s.loss.tolist()}
                 for s in cuts],
      'refused': slices.refused(minima), 'derivative': roots,
      'parametric': _of_fit(found) | {'form': chosen, 'r2_of_forms': r2},
      'against_compute': table(known, runs.scale, *along(runs.scale), level),
      'against_size': table(known, runs.scale, *_by_size(runs), level)}
  return answer | {'checks': checks(answer), 'warnings': _warnings(answer, runs)}


def best_form(r2: Mapping[str, float]) -> str:
  """The paper's form where it reaches R2, else the one with the higher R^2."""
  return 'paper' if r2['paper'] >= min(R2, r2['rows']) else 'rows'


def table(known: Mapping[str, Approach], scale: Scale, N_nv: Any, C: Any, level: float,
          d: Any = None) -> list[dict[str, Any]]:
  """A row a model of N_nv [n] at C [n]: V of each approach, its interval, whether it was tried."""
  n, c = np.broadcast_arrays(np.atleast_1d(np.asarray(N_nv, float)), np.asarray(C, float))
  width = np.broadcast_to(scale.width(n) if d is None else d, n.shape)
  rows: list[dict[str, Any]] = [{'N_nv': float(a), 'C': float(b), 'd': float(w)}
                                for a, b, w in zip(n, c, width)]
  low, high = scale.ranges['V']
  for name, one in known.items():
    V, ends = one.vocabulary(scale, n, c, width), one.ends(scale, n, c, level, width)
    for i, row in enumerate(rows):
      row[name] = {'V': float(V[i]) if np.isfinite(V[i]) else None,
                   'tried': bool(low < V[i] < high),
                   'interval': None if ends is None else [
                       float(e[i]) if np.isfinite(e[i]) else None for e in ends]}
  return rows


def checks(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
  """[{'name', 'value', 'wanted', 'met'}]; met is None where nothing can be said."""
  r2 = answer['parametric']['metrics']['r2']
  rows = answer['against_compute']
  missing = [n for n in NAMES if n not in answer['approaches']]
  V = {n: [row[n]['V'] for row in rows if n in row] for n in NAMES if n not in missing}
  whole = not missing and all(v is not None for values in V.values() for v in values)
  apart, growing = None, None
  if whole:
    apart = max(max(v) / min(v) for v in zip(*V.values()))
    growing = all(np.all(np.diff(values) > 0) for values in V.values())
  why = f'no optimum by {", ".join(missing)}' if missing else 'an approach has no optimum somewhere'
  return [
      {'name': 'parametric R2', 'value': f'{r2:.4f}', 'wanted': f'at least {R2}',
       'met': bool(r2 >= R2)},
      {'name': 'the three approaches apart by a factor of',
       'value': f'{apart:.2f} at most over {len(rows)} budgets' if apart else why,
       'wanted': f'at most {FACTOR:g}', 'met': None if apart is None else bool(apart <= FACTOR)},
      {'name': 'optimal vocabulary grows with compute',
       'value': ', '.join(f'{n} {v[0]:.0f} to {v[-1]:.0f}' for n, v in V.items()) if whole else why,
       'wanted': 'by every approach', 'met': None if growing is None else bool(growing)}]


def along(scale: Scale, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
  """(N_nv, C) along C = e^ln_k N_nv^2 inside the sizes and the budgets."""
  low, high = (float(np.sqrt(scale.ranges['C'][i] / scale.budget(1.0))) for i in (0, 1))
  n = np.exp(np.linspace(np.log(max(scale.ranges['N_nv'][0], low)),
                         np.log(min(scale.ranges['N_nv'][1], high)), points))
  return n, scale.budget(n)


def _by_size(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
  """Every size at the lower, middle and upper part of its own budgets (in ln C)."""
  found = []
  for size in runs.scale.sizes:
    low, high = (float(f(np.log(runs.C[runs.N_nv == size]))) for f in (np.min, np.max))
    found += [(size, float(np.exp(low + part * (high - low)))) for part in (0.25, 0.5, 0.75)]
  return np.array([n for n, _ in found]), np.array([c for _, c in found])


def _of_fit(found: fit.Fit) -> dict[str, Any]:
  return {'law': found.law.name, 'formula': found.law.formula, 'tied': dict(found.law.tied),
          'params': found.params, 'intervals': found.intervals, 'metrics': found.metrics,
          'objective': {'name': found.objective.name, 'delta': found.objective.delta,
                        'value': found.value}, 'warnings': found.warnings,
          'residuals': {'loss': found.loss.tolist(), 'residual': found.residual.tolist()}}


def _warnings(answer: Mapping[str, Any], runs: Runs) -> list[str]:
  said = []
  total, refused = len(answer['minima']), answer['refused']
  for why, count in refused.items():
    said.append(f'{count} of {total} minima at equal compute not bracketed: {why}')
  if not total:
    said.append('no budget is reached by four vocabularies of one size: no minima at equal compute '
                '(more budgets a size, or --rows=all)')
  for name in ('isoflop', 'derivative'):
    if name not in answer['approaches']:
      said.append(f'{name}: no answer, for there are fewer than three bracketed minima')
    elif not answer['approaches'][name]['samples']:
      said.append(f'{name}: no interval, for resampled runs often have no bracketed minimum')
  low, high = runs.scale.ranges['V']
  for name in NAMES:
    out = [row for row in answer['against_compute'] if name in row and not row[name]['tried']]
    if out:
      said.append(f'{name}: {len(out)} of {len(answer["against_compute"])} optima lie outside the '
                  f'vocabularies tried, {low:g} to {high:g}: no confident number')
  return said + [f'parametric: {w}' for w in answer['parametric']['warnings']]
