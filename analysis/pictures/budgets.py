"""What a fitted law says about compute: iso-FLOP curves, the optimal inputs of a budget, a table.

Only for laws with an `optimum`. The budgets of the data are C = 6 N D where the law takes N and D;
for other laws they are those whose optimum lies among the data's values of its first quantity.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis.fit import Fit
from analysis.fitting.diagnostics import FAR
from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, FITTED, INK, Key, Picture
from analysis.pictures.labels import label, number, output, plain, power
from analysis.pictures.slices import moved


@dataclasses.dataclass(frozen=True)
class Optimum:
  """The inputs of least loss for one budget, with intervals, and how far it is from the data."""

  flops: float
  values: dict[str, float]
  intervals: dict[str, tuple[float, float]]
  loss: float | None  # where the optimum's inputs are the law's
  loss_interval: tuple[float, float] | None  # of a new run
  factor: float  # how often the budget exceeds the largest of the data, or the least exceeds it


def of_data(found: Fit) -> tuple[float, float] | None:
  """The least and the largest budget of the data; None if the law has no optimum, or none there."""
  if found.law.optimum is None:
    return None
  if {'N', 'D'} <= set(found.law.inputs):
    flops = 6 * found.inputs['N'] * found.inputs['D']
    return float(flops.min()), float(flops.max())
  name = found.law.optimum_of[0]
  if name not in found.inputs:
    return None
  tried = np.logspace(4, 34, 301)
  best = found.law.best(found.params, tried)[name]
  inside = tried[(best >= found.inputs[name].min()) & (best <= found.inputs[name].max())]
  return (float(inside[0]), float(inside[-1])) if len(inside) else None


def optima(found: Fit, most: int = 7) -> list[Optimum]:
  """The optimum at powers of ten from the data's budgets to a thousand times the largest."""
  ends = of_data(found)
  if ends is None:
    return []
  first, last = int(np.ceil(np.log10(ends[0]))), int(np.floor(np.log10(ends[1]))) + 3
  exponents = np.arange(first, last + 1)
  if len(exponents) > most:
    exponents = np.unique(np.round(np.linspace(first, last, most)).astype(int))
  flops = 10.0 ** exponents
  best = found.optimum(flops)
  names = found.law.optimum_of
  usable = np.all([np.isfinite(best[n]) & (best[n] > 0) for n in names], 0)
  inputs = {n: best[n][usable] for n in names}
  loss = low = high = np.full(len(flops), np.nan)
  if set(names) == set(found.law.inputs) and usable.any():
    loss, low, high = (np.full(len(flops), np.nan) for _ in range(3))
    loss[usable] = found.predict(inputs)
    if found.interval_method is not None:
      low[usable], high[usable] = found.interval(inputs)
  return [Optimum(
      float(flops[i]), {n: float(best[n][i]) for n in names},
      {n: (float(best[f'{n}_low'][i]), float(best[f'{n}_high'][i])) for n in names
       if f'{n}_low' in best}, float(loss[i]) if np.isfinite(loss[i]) else None,
      (float(low[i]), float(high[i])) if np.isfinite(low[i] + high[i]) else None,
      float(max(flops[i] / ends[1], ends[0] / flops[i], 1.0))) for i in np.flatnonzero(usable)]


@drawing.styled
def iso_flops(found: Fit) -> Picture | None:
  """Loss against N at fixed compute with the minima, when the law has an optimum."""
  if found.law.optimum is None or set(found.law.inputs) != {'N', 'D'}:
    return None
  n = found.inputs['N']
  budgets = 6 * n * found.inputs['D']
  shown, designed = _shown(budgets)
  key = Key(shown, 10)
  nearest = np.argmin(np.abs(np.subtract.outer(np.log(budgets), np.log(shown))), 1)
  y = moved(found, found.inputs, found.loss, {'D': shown[nearest] / 6 / n})
  held = drawing.held_out(found)
  optimum = found.optimum(shown)
  figure, (axes,) = drawing.panels(1, width=7.4, height=4.4)
  low, high = n.min() / 2, n.max() * 2
  top = max(np.max(y), *(row['actual'] for row in held), -np.inf)
  bottom = np.inf
  for i, flops in enumerate(shown):
    line = np.geomspace(low, high, 120)
    loss = found.predict({'N': line, 'D': flops / 6 / line})
    bottom = min(bottom, np.min(loss))
    axes.plot(line, loss, color=key.colour(flops), lw=1.4, ls=key.line(flops))
    one = nearest == i
    drawing.scatter(axes, n[one], y[one], many=len(y), color=key.colour(flops),
                    marker=key.marker(flops))
    best = optimum['N'][i]
    if low < best < high:
      least = found.predict({'N': best, 'D': optimum['D'][i]})
      if 'N_low' in optimum and np.isfinite(optimum['N_high'][i]):
        axes.plot([max(optimum['N_low'][i], low), min(optimum['N_high'][i], high)],
                  [least, least], color=INK, lw=1.6, zorder=4, solid_capstyle='butt')
      axes.plot(best, least, marker='*', ms=11, color='white', mec=INK, mew=0.9, zorder=5)
  if held:
    drawing.diamonds(axes, [row['N'] for row in held], [row['actual'] for row in held],
                     size=34 if len(held) < 30 else 12)
    low, high = (f(e, *(row['N'] * s for row in held)) for f, e, s in (
        (min, low, 1 / 1.3), (max, high, 1.3)))
  dense = np.geomspace(shown[0] / 3, shown[-1] * 3, 80)
  best = found.law.best(found.params, dense)
  good = np.isfinite(best['N']) & (best['N'] > low) & (best['N'] < high)
  if good.any():
    axes.plot(best['N'][good], found.predict({k: v[good] for k, v in best.items()}), color=INK,
              lw=1.1, zorder=3.5)
  bottom = min(bottom, np.min(y), *(row['actual'] for row in held), np.inf)
  pad = 0.05 * (top - bottom) or 0.1
  axes.set_ylim(bottom - pad, top + pad)
  axes.set_xlim(low, high)
  drawing.log_axis(axes, 'x', [low, high])
  drawing.linear(axes, 'y')
  axes.set_xlabel(label('N'))
  axes.set_ylabel(output(found.law.output))
  handles, names = [], []
  for flops in shown[::-1]:
    handles += axes.plot([], [], color=key.colour(flops), lw=1.4, ls=key.line(flops), ms=5,
                         marker=key.marker(flops))
    names.append(f'C = {power(flops)}')
  handles += axes.plot([], [], color=INK, lw=1.1, marker='*', ms=10, mfc='white', mec=INK)
  names.append('minima')
  if held:
    handles += axes.plot([], [], color=drawing.HELD, ls='', marker='D', ms=5.5, mfc='white')
    names.append('held out')
  figure.legend(handles, names, loc='outside right upper', handlelength=2.8, title='FLOPs')
  bars = f' Bars: {100 * found.level:g} % intervals of the minima.' if 'N_low' in optimum else ''
  where = ('Points are runs of these budgets' if designed else
           'Points are runs, moved along the law at fixed N to the nearest of these budgets')
  return Picture('iso_flops', 'Equal-compute curves', 'The fitted law at fixed C = 6 N D; stars '
                 f'mark the minima, the dark line joins them. {where}.{bars}', figure)


def _shown(budgets: np.ndarray) -> tuple[np.ndarray, bool]:
  """Budgets to draw: those of the data's own design if it has a few, else six of its range."""
  logs = np.sort(np.log(budgets))
  groups = np.split(logs, np.flatnonzero(np.diff(logs) > 0.15) + 1)
  groups = [g for g in groups if len(g) >= 3 and np.ptp(g) < 0.1]
  if 2 <= len(groups) <= 10 and sum(map(len, groups)) == len(logs):
    return np.exp([float(np.mean(g)) for g in groups]), True
  if logs[-1] - logs[0] < 1e-3:
    return np.exp(logs[:1]), False
  return np.geomspace(np.exp(logs[0]), np.exp(logs[-1]), 6), False


@drawing.styled
def frontier(found: Fit) -> Picture | None:
  """The optimal inputs against compute, with bands; dashed beyond ten times the data's budgets."""
  ends = of_data(found)
  if ends is None:
    return None
  names = found.law.optimum_of
  flops = np.geomspace(ends[0] / 3, ends[1] * 1000, 32)
  best = found.optimum(flops)
  if not all(np.any(np.isfinite(best[n]) & (best[n] > 0)) for n in names):
    return None
  far = flops > FAR * ends[1]
  figure, every = drawing.panels(len(names), width=min(4.6 * len(names), 13.8), height=3.7)
  own = found.inputs
  budgets = 6 * own['N'] * own['D'] if {'N', 'D'} <= set(own) else None
  for axes, name in zip(every, names):
    values = best[name]
    good = np.isfinite(values) & (values > 0)
    if f'{name}_low' in best:
      low, high = best[f'{name}_low'], best[f'{name}_high']
      axes.fill_between(flops[good], np.clip(low, values / 1e3, None)[good],
                        np.clip(high, None, values * 1e3)[good], color=FITTED, alpha=0.22, lw=0,
                        label=f'{100 * found.level:g} % interval')
    axes.plot(flops[good & ~far], values[good & ~far], color=FITTED, lw=1.8, label=_slope(
        flops[good], values[good], name))
    axes.plot(flops[good & (flops > 5 * ends[1])], values[good & (flops > 5 * ends[1])],
              color=FITTED, lw=1.8, ls=(0, (4, 2)), label='more than 10x the data')
    if budgets is not None and name in own:
      drawing.scatter(axes, budgets, own[name], color=FAINT, label='runs')
    axes.set_xscale('log')
    drawing.log_axis(axes, 'x', flops, 'C')
    axes.xaxis.set_major_formatter(lambda v, _: power(v))
    drawing.log_axis(axes, 'y', np.append(values[good], own.get(name, [])))
    axes.set_xlabel(label('C'))
    axes.set_ylabel(f'optimal {label(name)}')
    axes.legend(loc='upper left')
  return Picture('frontier', 'Compute-optimal inputs', 'What the law finds best for a budget, and '
                 'the runs it was fitted to.', figure)


def _slope(flops: np.ndarray, values: np.ndarray, name: str) -> str:
  steps = np.diff(np.log(values)) / np.diff(np.log(flops))
  a, b = float(steps.min()), float(steps.max())
  if b - a < 0.002:
    return f'{plain(name)}* ~ C^{np.mean(steps):.3f}'
  return f'{plain(name)}* ~ C^{steps[0]:.2f} to C^{steps[-1]:.2f}'


def table(found: Fit) -> tuple[list[str], list[list[str]]]:
  """Head and rows of the optima; no rows for a law without them."""
  rows = optima(found)
  if not rows:
    return [], []
  level = f'{100 * found.level:g} %'
  names = found.law.optimum_of
  head = ['FLOPs']
  for name in names:
    head += [name, level] if rows[0].intervals else [name]
  ratio = {'N', 'D'} <= set(names)
  head += (['D/N'] if ratio else []) + ([found.law.output] if rows[0].loss is not None else [])
  if rows[0].loss_interval is not None:
    head.append(f'{level}, a new run')
  head.append('beyond the data')
  lines = []
  for row in rows:
    line = [power(row.flops)]
    for name in names:
      line.append(number(row.values[name]))
      if row.intervals:
        line.append(' to '.join(number(v) if np.isfinite(v) else '∞' for v in row.intervals[name]))
    line += [f'{row.values["D"] / row.values["N"]:.3g}'] if ratio else []
    line += [f'{row.loss:.4f}'] if row.loss is not None else []
    if rows[0].loss_interval is not None:
      line.append(' to '.join(f'{v:.4f}' for v in row.loss_interval or ()))
    line.append('' if row.factor <= 1.0001 else f'{row.factor:.3g}x'
                + (': extrapolated' if row.factor > FAR else ''))
    lines.append(line)
  return head, lines
