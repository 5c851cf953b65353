"""The compute-optimal N and D from minima over sizes, without a law of the loss.

  python -m analysis.isoflop --data=runs.csv --columns=N=n,C=flops,loss=loss --out=isoflop.json
  python -m analysis.isoflop --logs=WORKDIR --rows=all --approach=envelope --flops=1e18,1e20

`find` does the same in Python. docs/optimal.md describes the approaches and isoflop.json; the
parametric approach is `analysis.fit --law=chinchilla` with `analysis.predict --flops`.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.frontiers import envelope, frontier, minima
from analysis.frontiers.frontier import Line
from analysis.frontiers.minima import Curve, Minimum
from analysis.frontiers.optimum import Optimum
from analysis.laws.law import Law
from analysis.reading import rows
from scaling.errors import InputError, bad

APPROACHES = ('isoflop', 'envelope', 'pairs')
INTERVALS = ('noise', 'groups')


@np.errstate(over='ignore', invalid='ignore')  # absurd losses; what is not finite is left out
def find(inputs: Mapping[str, Any], loss: Any = None, *, approach: str = 'isoflop',
         minimum: str = 'parabola', window: float = 3.0, tolerance: float = 0.05,
         noise: float | None = None, interval: str = 'noise', draws: int = 1000,
         level: float = 0.9, groups: Any = None, curves: Any = None, seed: int = 0,
         extra: Mapping[str, Any] | None = None) -> Optimum:
  """The frontier from inputs {'N', 'C' or 'D'} [n] and loss [n]; C = 6 N D gives the other.

  approach: 'isoflop', 'envelope', or 'pairs' of inputs {'N', 'C', 'std'}, std of ln N. minimum:
  'parabola' or 'akima' at each budget; window: the parabola sees sizes within this factor of the
  lowest. tolerance: rows whose C differ by less are one budget. noise: standard deviation of ln
  loss of a run; None takes it from what is left over around smooth curves. interval: 'noise' moves
  every group's loss, 'groups' resamples groups. groups [n]: what was drawn independently; curves
  [n]: which training curve a row is on (envelope; default: its group).

  Raises InputError for a missing input, an option out of range, or when no minimum is left.
  """
  _check(approach, minimum, window, tolerance, noise, interval, draws, level)
  names = tuple(k for k in ('N', 'C', 'D', 'std') if k in inputs
                and (k != 'std' or approach == 'pairs'))
  for name in ('N', 'std') if approach == 'pairs' else ('N',):
    if name not in names:
      raise InputError(f'{approach}: input {name} is missing')
  if 'C' not in names and 'D' not in names:
    raise InputError(f'{approach}: give C or D (C = 6 N D)')
  loss = np.ones(np.shape(inputs['N'])) if approach == 'pairs' else loss
  found = rows.usable(declared(names), inputs, loss, np.arange(np.size(inputs['N'])), None, True)
  x, place = found.inputs, found.groups
  if not len(place):
    raise InputError(f'{approach}: no usable row is left ({rows.said(found.dropped)})')
  x['C'] = x['C'] if 'C' in x else 6 * x['N'] * x['D']
  x.setdefault('D', x['C'] / (6 * x['N']))
  for name in ('C', 'D'):
    if not np.all(np.isfinite(x[name]) & (x[name] > 0)):
      raise InputError(f'{approach}: {name} from C = 6 N D is not a positive number in every row')
  group = place if groups is None else np.asarray(groups)[place]
  codes = np.unique(group, return_inverse=True)[1]
  common: dict[str, Any] = {'approach': approach, 'level': level, 'dropped': found.dropped,
                            'extra': {'n_points': len(place), 'n_groups': int(codes.max()) + 1,
                                      **(extra or {})}}
  random = np.random.default_rng(seed)
  if approach == 'pairs':
    return _pairs(x, draws, level, random, common)
  work = _Work(x, found.loss, codes, minimum, window, tolerance, noise, interval, draws, level,
               random)
  if approach == 'envelope':
    return work.envelope(codes if curves is None else np.asarray(curves)[place], common)
  return work.isoflop(common)


def _pairs(x: dict[str, np.ndarray], draws: int, level: float, random: np.random.Generator,
           common: dict[str, Any]) -> Optimum:
  at, std = np.log(x['C']), x['std']
  if len(np.unique(at)) < 2:
    raise InputError('pairs: at least two budgets are needed for a line')
  found = []
  for name in ('N', 'D'):
    y = np.log(x[name])
    spread = frontier.with_scatter(at, y, std, np.tile(y, (draws, 1)), level, random)
    found.append(frontier.line(at, y, std, spread))
  return Optimum(**common, options={'weights': '1 / std^2', 'interval_method': 'scatter'},
                 n_line=found[0], d_line=found[1], reach=(float(x['C'].min()), float(x['C'].max())),
                 pairs={k: x[k] for k in ('C', 'N', 'D', 'std')},
                 warnings=frontier.about(found[0], len(at)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
  """The rows and options of one `find`."""

  x: dict[str, np.ndarray]
  loss: np.ndarray
  codes: np.ndarray  # group of each row
  method: str
  window: float
  tolerance: float
  noise: float | None
  interval: str
  draws: int
  level: float
  random: np.random.Generator

  def isoflop(self, common: dict[str, Any]) -> Optimum:
    lists = minima.budgets(self.x['C'], self.tolerance)
    first = [minima.locate(self._curve(chosen), self.method, self.window) for chosen in lists]
    self.loss[:] = minima.at_equal_c(self.x['C'], self.loss, lists,
                                     [m for m in first if isinstance(m, Minimum)])
    curves = [self._curve(chosen) for chosen in lists]
    noise, source = self._noise(curves)
    moved = noise * self.random.normal(size=(self.draws, self.codes.max() + 1))[:, self.codes]
    tried = [minima.minimum(curve, self.method, self.window, moved[:, chosen])
             for curve, chosen in zip(curves, lists)]
    kept = [k for k, m in enumerate(tried) if isinstance(m, Minimum)]
    found = [m for m in tried if isinstance(m, Minimum)]
    lost = [(c.flops, len(c.x), m) for c, m in zip(curves, tried) if isinstance(m, str)]
    warnings = left_out(lost, len(lists))
    if not found:
      raise InputError(f'isoflop: no budget has a usable minimum: {"; ".join(warnings)}')
    edges = [m.flops for m in found if m.at_edge]
    if edges:
      warnings.append('the lowest run is the smallest or largest size: kept, but the minimum rests '
                      f'on the interpolation (C = {_some(edges)})')
    options = {'minimum': self.method, 'tolerance': self.tolerance,
               'window': self.window if self.method == 'parabola' else None,
               'noise': {'std_ln_loss': noise, 'from': source}, 'interval_method': self.interval}
    lines: tuple[Line | None, Line | None] = (None, None)
    if len(found) < 2:
      warnings.append('too few budgets: one minimum gives no frontier')
    else:
      stars = np.stack([m.draws for m in found], 1)
      if self.interval == 'groups':
        stars = self._resampled([lists[k] for k in kept])
        failed = float(np.mean(np.isfinite(stars).sum(1) < 2))
        warnings += [f'{failed:.0%} of the resamples have no frontier'] if failed > 0.05 else []
      lines = self._lines(found, stars)
      warnings += frontier.about(lines[0], len(found))
    reach = (min(m.flops for m in found), max(m.flops for m in found))
    return Optimum(**common, options=options, n_line=lines[0], d_line=lines[1], reach=reach,
                   minima=found, budgets=curves, lost=lost, warnings=warnings)

  def _lines(self, found: list[Minimum], stars: np.ndarray) -> tuple[Line, Line]:
    at, std = np.array([np.log(m.flops) for m in found]), np.array([m.std for m in found])
    n, d = (np.log([getattr(m, name) for m in found]) for name in ('n', 'd'))
    stars = frontier.with_scatter(at, n, std, stars, self.level, self.random)
    tokens = np.stack([m.curve.tokens(stars[:, k]) for k, m in enumerate(found)], 1)
    return frontier.line(at, n, std, stars), frontier.line(at, d, std, tokens)

  def _curve(self, chosen: np.ndarray, weight: np.ndarray | None = None) -> Curve:
    n, d, c = (self.x[k][chosen] for k in ('N', 'D', 'C'))
    return Curve.of(n, d, c, self.loss[chosen], weight)

  def _resampled(self, lists: list[np.ndarray]) -> np.ndarray:
    """ln N* [S, budgets] of resampled groups; nan where it is lost."""
    counts = self._counts()[:, self.codes]
    stars = np.full((self.draws, len(lists)), np.nan)
    for k, chosen in enumerate(lists):
      for s, weight in enumerate(counts[:, chosen]):
        here = (minima.locate(self._curve(chosen, weight), self.method, self.window)
                if weight.any() else minima.FEW)
        if isinstance(here, Minimum):
          stars[s, k] = np.log(here.n)
    return stars

  def envelope(self, curve: np.ndarray, common: dict[str, Any]) -> Optimum:
    made, names, left = envelope.of(self.x['N'], self.x['D'], self.x['C'], self.loss, curve)
    warnings = [f'{count} left out: {why}' for why, count in left.items()]
    whole, lowest = made.steps() if len(names) else (np.zeros(1, bool), np.zeros(1, int))
    sizes = len(np.unique(np.round(made.ln_n[lowest[whole]], 9))) if whole.any() else 0
    if sizes < 2:
      raise InputError('; '.join([
          f'envelope: too few sizes: of {len(np.unique(made.ln_n))} in {len(names)} curves, '
          f'{sizes} take over from one and give way to another; at least 2 must', *warnings]))
    noise, source = self._noise(made.slices())
    group = np.array([self.codes[np.flatnonzero(curve == name)[0]] for name in names])
    shifts = noise * self.random.normal(size=(self.draws, self.codes.max() + 1))[:, group]
    lines = made.lines(shifts, self._counts()[:, group] if self.interval == 'groups' else None)
    failed = 1 - len(lines[0].slopes) / self.draws
    if failed > 0.2:
      warnings.append(f'no intervals: {failed:.0%} of the draws have no frontier')
      lines = (lines[0].bare(), lines[1].bare())
    warnings += frontier.about(lines[0], sizes, 'sizes on the envelope')
    low, high = np.exp(made.ln_c[whole][[0, -1]])
    return Optimum(**common, n_line=lines[0], d_line=lines[1], envelope=made, warnings=warnings,
                   reach=(float(low), float(high)), options={
                       'sizes': sizes, 'curves': len(names), 'interval_method': self.interval,
                       'noise': {'std_ln_loss': noise, 'from': source}})

  def _noise(self, curves: Sequence[Curve]) -> tuple[float, str]:
    if self.noise is not None:
      return self.noise, 'given'
    return min(minima.scatter(list(curves)), 1.0), 'residuals of smooth curves'

  def _counts(self) -> np.ndarray:
    """How often each group is drawn, [S, groups]."""
    size = int(self.codes.max()) + 1
    return self.random.multinomial(size, np.full(size, 1 / size), size=self.draws).astype(float)


def declared(inputs: tuple[str, ...], output: str = 'loss') -> Law:
  """The inputs as a law's, for the readers of tables and workdirs."""
  return Law(name='isoflop', formula='', source='', inputs=inputs, parameters=(),
             equation=lambda p, x: 0.0, output=output)


def left_out(lost: Sequence[tuple[float, int, str]], budgets: int) -> list[str]:
  """One sentence per reason."""
  found = []
  for reason, count in Counter(reason for _, _, reason in lost).items():
    at = _some([c for c, _, why in lost if why == reason])
    found.append(f'{count} of {budgets} budgets left out: {reason} (C = {at})')
  return found


def _some(values: Sequence[float]) -> str:
  shown = ', '.join(f'{v:.3g}' for v in values[:5])
  return shown + (f' and {len(values) - 5} more' if len(values) > 5 else '')


def _check(approach: str, minimum: str, window: float, tolerance: float, noise: float | None,
           interval: str, draws: int, level: float) -> None:
  for name, value, allowed in (('approach', approach, APPROACHES),
                               ('minimum', minimum, minima.METHODS),
                               ('interval', interval, INTERVALS)):
    if value not in allowed:
      raise bad(name, value, f'it is one of {", ".join(allowed)}')
  if not (math.isfinite(window) and window > 1):
    raise bad('window', window, 'it must be a factor above 1')
  if not 0 <= tolerance < 1:
    raise bad('tolerance', tolerance, 'it must be in [0, 1)')
  if noise is not None and not 0 <= noise < 1:
    raise bad('noise', noise, 'it must be in [0, 1), the standard deviation of ln loss')
  if not 20 <= draws <= 100_000:
    raise bad('draws', draws, 'it must be in [20, 100000]')
  if not 0 < level < 1:
    raise bad('level', level, 'it must lie between 0 and 1')


if __name__ == '__main__':
  from analysis.commands import isoflop as isoflop_command
  isoflop_command.start()
