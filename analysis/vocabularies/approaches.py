"""The three approaches of Tao et al. 2024 (arXiv 2407.13623) on a study, and what each predicts.

  isoFLOP      ln N_v = k + a ln C + g ln N_nv through the minima at equal compute (slices.py)
  derivative   dC/dV = 0 for the same text gives the exponent of N_v ~ N_nv^gamma from f alone, and
               the minima of the smallest model where it starts. The paper has one such anchor; here
               it is a line in ln C, so that models trained on more or less than their share have
               theirs: N_v(N_nv, C) = N_v0(C (N_0 / N_nv)^2) (N_nv / N_0)^gamma, the anchor's budget
               being that of the same C / N_nv^2. In the form of the first, g = gamma - 2 a.
  parametric   the law of the metric fitted to all rows, and its least loss at N_nv and C:
               laws/vocabulary.py for loss_unigram, laws/vocabulary_bits.py for bits_per_byte, or
               either in V, with fewer effective data for a larger one (laws/vocabulary_rows.py).

Samples for intervals resample groups (lineages): random weights for the first two, as fit.fit's
refits for the third.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from analysis import fit, laws
from analysis.fitting import bootstrap
from analysis.laws import vocabulary as law
from analysis.laws import vocabulary_bits, vocabulary_rows
from analysis.vocabularies import optima, sizes, slices
from analysis.vocabularies.runs import Runs, Scale
from analysis.vocabularies.slices import Minimum
from scaling.errors import InputError

NAMES = ('isoflop', 'derivative', 'parametric')
LAWS = {'paper': {'loss_unigram': law.LAW, 'bits_per_byte': vocabulary_bits.LAW},
        'rows': {'loss_unigram': vocabulary_rows.LAW, 'bits_per_byte': vocabulary_rows.BITS}}
MOST = np.log(1e7)  # the largest V looked at where no formula has the best one
LINEAR = ('k', 'a', 'g')


@dataclasses.dataclass(frozen=True)
class Approach:
  """One approach: its coefficients and their samples {name: [S]} (empty: no intervals)."""

  name: str
  metric: str
  params: Mapping[str, float]
  samples: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  def vocabulary(self, scale: Scale, N_nv: Any, C: Any, d: Any = None) -> np.ndarray:
    """The best V of models of N_nv [n] at C FLOPs [n]; nan where there is none."""
    return self._of({k: np.float64(v) for k, v in self.params.items()}, scale, N_nv, C, d)

  def ends(self, scale: Scale, N_nv: Any, C: Any, level: float, d: Any = None
           ) -> tuple[np.ndarray, np.ndarray] | None:
    """(low, high) of it by the samples, with the estimate between them; None without samples."""
    if not self.samples:
      return None
    drawn = self._of({k: v[:, None] for k, v in self.samples.items()}, scale, N_nv, C, d)
    # A sample without an optimum is one beyond every vocabulary.
    drawn = np.where(np.isfinite(drawn), drawn, np.inf)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0, method='nearest')
    centre = self.vocabulary(scale, N_nv, C, d)
    return np.fmin(low, centre), np.fmax(high, centre)

  def _of(self, p: Mapping[str, Any], scale: Scale, N_nv: Any, C: Any, d: Any) -> np.ndarray:
    n, c = (np.atleast_1d(np.asarray(v, np.float64)) for v in (N_nv, C))
    d = scale.width(n) if d is None else np.asarray(d, np.float64)
    if self.name != 'parametric':
      return np.exp(p['k'] + p['a'] * np.log(c) + p['g'] * np.log(n)) / d
    if self.metric == 'loss_unigram' and 'kappa' not in p:
      with np.errstate(divide='ignore'):
        found = law.optimal_size(p, n, c) / d
      return np.where((found > 1) & (found < 1e12), found, np.nan)
    return _least(p, scale, self.metric, n, d,
                  lambda V: c / (6 * (n + V * d) * scale.tokens_per_char(V)))

  def to_dict(self) -> dict[str, Any]:
    return {'params': dict(self.params),
            'samples': {k: [float(f'{x:.7g}') for x in v] for k, v in self.samples.items()}}

  @classmethod
  def of_dict(cls, name: str, metric: str, values: Mapping[str, Any]) -> Approach:
    needed = ((*LAWS['paper'][metric].names, *({'kappa'} & set(values['params'])))
              if name == 'parametric' else LINEAR)
    return cls(name, metric, {k: float(values['params'][k]) for k in needed},
               {k: np.array(values['samples'][k], np.float64) for k in needed}
               if values['samples'] else {})


def of_text(of: Approach, scale: Scale, N_nv: Any, H: Any, d: Any = None) -> np.ndarray:
  """C FLOPs [n] at which the best vocabulary of N_nv reads H characters: C = C(N_nv, V*(C), H)."""
  n, H = np.asarray(N_nv, np.float64), np.asarray(H, np.float64)
  d = scale.width(n) if d is None else d
  C = scale.flops(n, scale.ranges['V'][0], H, d)
  for _ in range(60):
    V = np.clip(np.nan_to_num(of.vocabulary(scale, n, C, d), nan=np.exp(MOST)), 2, np.exp(MOST))
    C = np.sqrt(C * scale.flops(n, V, H, d))
  return C


def at_any_cost(of: Approach, scale: Scale, N_nv: Any, H: Any, d: Any = None) -> np.ndarray:
  """V [n] of least L_u by the law after H characters, whatever it costs; nan where there is none.

  Bits per byte have none: there a larger vocabulary only helps.
  """
  n, H = (np.atleast_1d(np.asarray(v, np.float64)) for v in (N_nv, H))
  if of.name != 'parametric' or of.metric != 'loss_unigram':
    return np.full(n.shape, np.nan)
  d = scale.width(n) if d is None else np.asarray(d, np.float64)
  return _least(of.params, scale, of.metric, n, d, lambda V: H)


def minima(runs: Runs, metric: str) -> tuple[list[slices.Slice], list[Minimum]]:
  cuts = slices.slices(runs, metric)
  return cuts, [slices.minimum(s) for s in cuts]


def isoflop(runs: Runs, metric: str, cuts: list[slices.Slice], draws: np.ndarray
            ) -> tuple[Approach | None, list[list[Minimum]]]:
  """Approach 1, and the minima of each draw of group weights [S, G] for approach 2."""
  found = [slices.minimum(s) for s in cuts]
  best = slices.power_law(found)
  drawn = [[slices.minimum(s, w) for s, w in zip(cuts, slices.weights_of(runs, cuts, draw))]
           for draw in draws]
  if best is None:
    return None, drawn
  samples = _spread(best, [slices.power_law(m) for m in drawn], draws, found)
  return Approach('isoflop', metric, best, samples), drawn


def derivative(runs: Runs, metric: str, found: list[Minimum], drawn: list[list[Minimum]],
               draws: np.ndarray) -> tuple[Approach | None, dict[str, Any]]:
  """Approach 2, and its roots, gamma and anchor. None if no size has three bracketed minima."""
  scale = runs.scale
  low, high = scale.ranges['N_nv']
  at = np.geomspace(low, high if high > 1.1 * low else 10 * low, 7)
  try:
    roots = sizes.approach_2(at, scale.width(at), scale.compression)
  except InputError as error:
    return None, {'why': str(error)}
  facts = {k: roots[k] for k in ('N_nv', 'd', 'V', 'gamma')}
  for size in scale.sizes:
    own = slices.power_law([m for m in found if m.N_nv == size])
    if own is not None:
      best = _anchored(own, size, roots['gamma'])
      laws_of = [slices.power_law([m for m in one if m.N_nv == size]) for one in drawn]
      samples = _spread(best, [None if o is None else _anchored(o, size, roots['gamma'])
                               for o in laws_of], draws, found)
      return Approach('derivative', metric, best, samples), facts | {'anchor_N_nv': size}
  return None, facts | {'why': 'no size has three bracketed minima to start from'}


def parametric(runs: Runs, metric: str, tied: Mapping[str, str], bootstrap_: int, level: float,
               form: str = 'paper') -> fit.Fit:
  """Approach 3: the metric's law of a form (a key of LAWS) fitted to all rows."""
  chosen = laws.tie(LAWS[form][metric], tied)
  known = {'N_nv': runs.N_nv, 'N_v': runs.V * runs.d, 'V': runs.V, 'D': runs.D, 'H': runs.H}
  return fit.fit(chosen, {k: known[k] for k in chosen.inputs}, runs.losses[metric],
                 groups=runs.group, bootstrap=bootstrap_, level=level, interval='bootstrap')


def of_fit(found: fit.Fit, metric: str) -> Approach:
  """What a fit of approach 3 predicts."""
  draws = optima.full(found.law, found.refits()) if found.samples is not None else {}
  return Approach('parametric', metric, optima.full(found.law, found.params), draws)


def drawn_weights(runs: Runs, count: int, seed: int = 0) -> np.ndarray:
  """Random weights of groups [S, G], of mean one."""
  return bootstrap.draws(runs.group, None, count, seed, False) if count else np.zeros((0, 0))


def _anchored(line: dict[str, float], size: float, gamma: float) -> dict[str, float]:
  """k, a, g of N_v(C) = e^(k + a ln C) of one size, carried to others."""
  g = gamma - 2 * line['a']
  return {'k': line['k'] + line['g'] * np.log(size) - g * np.log(size), 'a': line['a'], 'g': g}


def _spread(best: dict[str, float], draws_of: list[dict[str, float] | None], draws: np.ndarray,
            found: list[Minimum]) -> dict[str, np.ndarray]:
  """Samples of k, a, g around the best; none when a tenth of the draws have no law.

  A parabola through m vocabularies leaves residuals that are smaller than the noise by 1 - 3 / m on
  average, so draws are spread by its inverse and Student's factor, as bootstrap.spread does for
  laws. Without it .52 to .92 of 90 % intervals held on synthetic studies, with it .85 to .95
  (three budgets; 40 studies each with runs .01 and .02 nats off, 9 vocabularies, 3 sizes).
  """
  kept = [f for f in draws_of if f is not None]
  if not kept or len(kept) < 0.9 * len(draws):
    return {}
  m = max(float(np.mean([f.points for f in found if not f.why])), 4.0)
  wider = bootstrap.WIDER / (1 - 3 / m)
  return {name: best[name] + wider * (np.array([f[name] for f in kept]) - best[name])
          for name in LINEAR}


def _least(p: Mapping[str, Any], scale: Scale, metric: str, n: np.ndarray, d: np.ndarray,
           text: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
  """V of least A2 / N_v^alpha2 + B / X^beta after text(V) characters; nan at an end of a grid.

  X: tokens for L_u, characters for bits per byte; with kappa effective ones, and V instead of N_v.
  """
  x = np.linspace(np.log(2), MOST, 600)
  V = np.exp(x)[:, None]  # [X, 1], below [S, X, n]
  q = {k: np.asarray(v)[..., None] if np.ndim(v) else v for k, v in p.items()}
  data = text(V) * (scale.tokens_per_char(V) if metric == 'loss_unigram' else 1.0)
  loss = (q['A2'] * (V if 'kappa' in q else V * d) ** -q['alpha2']
          + q['B'] * (data * (V / 1000) ** -q.get('kappa', 0.0)) ** -q['beta'])
  low = np.clip(np.argmin(loss, -2), 1, len(x) - 2)[..., None, :]
  below, at, above = (np.take_along_axis(loss, low + i, -2)[..., 0, :] for i in (-1, 0, 1))
  with np.errstate(all='ignore'):
    best = x[low[..., 0, :]] + 0.5 * (below - above) / (below - 2 * at + above) * (x[1] - x[0])
  return np.where((at <= below) & (at <= above), np.exp(best), np.nan)
