"""Pictures of a fit against its data: curves, surface, agreement, residuals; and of loss curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.fit import Fit
from analysis.pictures import drawing
from analysis.pictures.drawing import (
  FAINT,
  FITTED,
  HELD,
  INK,
  MANY,
  MAP,
  Key,
  Picture,
  diamonds,
  held_out,
  scatter,
)
from analysis.pictures.labels import label, number, output, plain
from analysis.pictures.slices import legend, moved


@drawing.styled
def surface(found: Fit) -> Picture | None:
  """Contours of the fitted output over N and D, with data, lines of equal FLOPs, the optimum."""
  if not {'N', 'D'} <= set(found.law.inputs):
    return None
  held = held_out(found)
  n = np.append(found.inputs['N'], [row['N'] for row in held])
  d = np.append(found.inputs['D'], [row['D'] for row in held])
  figure, (axes,) = drawing.panels(1, width=7.0, height=4.6)
  edges = [np.geomspace(v.min() / 1.5, v.max() * 1.5, 200) for v in (d, n)]
  dd, nn = np.meshgrid(*edges)
  at = {k: float(np.quantile(v, 0.5, method='nearest')) for k, v in found.inputs.items()
        if k not in ('N', 'D')}
  z = found.predict({k: np.full(dd.shape, v) for k, v in at.items()} | {'N': nn, 'D': dd})
  loss = moved(found, found.inputs, found.loss, at)
  low, high = min(loss.min(), np.nanmin(z)), max(np.nanquantile(z, 0.98), loss.max())
  if not low < high:
    low, high = low - 1e-3, low + 1e-3
  # Pixels: a vector contour shows hairlines between its bands in most viewers.
  shade = axes.pcolormesh(dd, nn, z, vmin=low, vmax=high, cmap=MAP, shading='gouraud',
                          rasterized=True)
  digits = int(np.clip(np.ceil(2 - np.log10(np.ptp(z) or 1.0)), 0, 12))
  levels = np.unique(np.round(np.nanquantile(z, np.linspace(0.01, 0.99, 15)), digits))
  if len(levels) > 1 and np.ptp(z) > 0:
    lines = axes.contour(dd, nn, z, levels=levels, colors='white', linewidths=0.6, alpha=0.8)
    axes.clabel(lines, fmt='%.5g', fontsize=7.5)
  axes.scatter(found.inputs['D'], found.inputs['N'], c=loss, cmap=MAP, vmin=low, vmax=high,
               edgecolors='white', linewidths=0.9 if len(loss) < MANY else 0.25,
               s=38 if len(loss) < MANY else 14, zorder=3, rasterized=len(loss) >= MANY)
  if held:
    diamonds(axes, d[len(loss):], n[len(loss):], size=52 if len(held) < 30 else 20,
             label='held out')
  _iso_flops(axes, n, d, edges)
  if found.law.optimum is not None and set(found.law.inputs) == {'N', 'D'}:
    budgets = 6 * found.inputs['N'] * found.inputs['D']
    best = found.law.best(found.params, np.geomspace(budgets.min() / 10, budgets.max() * 10, 60))
    axes.plot(best['D'], best['N'], color='white', lw=3.2)
    axes.plot(best['D'], best['N'], color=INK, lw=1.8, label='compute optimum')
  axes.set_xlim(edges[0][0], edges[0][-1])
  axes.set_ylim(edges[1][0], edges[1][-1])
  drawing.log_axis(axes, 'x', edges[0])
  drawing.log_axis(axes, 'y', edges[1])
  axes.grid(False)
  axes.set_xlabel(label('D'))
  axes.set_ylabel(label('N'))
  bar = figure.colorbar(shade, ax=axes, pad=0.02, format='%.4g')
  bar.set_label(output(found.law.output))
  bar.ax.grid(False)
  if axes.get_legend_handles_labels()[0]:
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1.0), ncols=2)
  where = (' at ' + ', '.join(f'{k} = {number(v)}' for k, v in at.items())
           + '; rows that lie elsewhere were moved there along the law' if at else '')
  return Picture(
      'surface', 'Fitted surface',
      f'Contours of the fitted law{where}. Every point is filled with the colour of its '
      'measurement, so that one that stands out is one that the law misses. Dotted: equal training '
      'FLOPs, C = 6 N D.', figure)


def _iso_flops(axes: Axes, n: np.ndarray, d: np.ndarray, edges: list[np.ndarray]) -> None:
  pale = '#f4f4f4'
  first, last = (int(f(np.log10(6 * v))) for f, v in (
      (np.ceil, edges[1][0] * edges[0][0]), (np.floor, edges[1][-1] * edges[0][-1])))
  for exponent in range(first, last + 1, max(1, (last - first) // 8)):
    flops = 10.0 ** exponent
    axes.plot(edges[0], flops / 6 / edges[0], color=pale, lw=1.1, ls=':')
    top = edges[1][-1] / 1.12  # named where the line leaves the picture: above, or at the left
    spot, at = flops / 6 / top, top
    if spot < edges[0][0] * 1.05:
      spot = edges[0][0] * 1.05
      at = flops / 6 / spot
    if edges[0][0] < spot < edges[0][-1] / 1.5 and edges[1][0] * 1.2 < at < edges[1][-1]:
      axes.text(spot, at, f' 1e{exponent} FLOPs', fontsize=7.5, color=pale, ha='left', va='center',
                clip_on=True)


@drawing.styled
def agreement(found: Fit) -> Picture:
  """Predicted against measured; held-out runs with their prediction intervals."""
  figure, (axes,) = drawing.panels(1, width=4.8, height=4.4)
  predicted = found.predict(found.inputs)
  scatter(axes, found.loss, predicted, color=FITTED, label='fitted')
  every = [found.loss, predicted]
  held = held_out(found)
  for i, row in enumerate(held):
    every.append(np.array([row['actual'], row['predicted']]))
    bar = np.array([np.nan if v is None else v for v in row.get('interval') or ()], float)
    if len(bar) == 2 and np.all(np.isfinite(bar)):
      gaps = np.maximum([[row['predicted'] - bar[0]], [bar[1] - row['predicted']]], 0)
      axes.errorbar(row['actual'], row['predicted'], capsize=3 if len(held) < 30 else 0, color=HELD,
                    lw=1.3 if len(held) < 30 else 0.6, zorder=3.5, yerr=gaps)
      if len(held) < 30:
        every.append(bar)
    diamonds(axes, [row['actual']], [row['predicted']], size=38 if len(held) < 30 else 14,
             label='held out, with prediction interval' if i == 0 else None)
  low, high = drawing.ends(np.concatenate(every))
  pad = 0.04 * (high - low) or 0.05 * abs(high) or 0.1
  line = np.array([low - pad, high + pad])
  axes.plot(line, line, color=FAINT, lw=1, zorder=1)
  axes.set(xlim=line, ylim=line)
  axes.set_box_aspect(1)
  unit = output(found.law.output)
  axes.set_xlabel(f'measured {unit}')
  axes.set_ylabel(f'predicted {unit}')
  for which in 'xy':
    drawing.linear(axes, which)
  axes.legend(loc='upper left')
  return Picture('agreement', 'Predicted against measured', 'On the grey line the law is exact.'
                 + (' Open diamonds were held out of the fit.' if held else ''), figure)


@drawing.styled
def residuals(found: Fit) -> Picture:
  """Residuals against each input and the prediction: structure here is what the law misses."""
  log, held = found.objective.log, held_out(found)
  predicted = found.predict(found.inputs)

  def of(actual: Any, said: Any) -> np.ndarray:
    a, s = np.asarray(actual, float), np.asarray(said, float)
    y = 100 * (a / s - 1) if log else a - s
    return np.where(np.abs(y) < 1e-9, 0.0, y)  # of an exact fit: not the rounding

  columns = [(name, label(name), found.inputs[name], [row[name] for row in held])
             for name in found.law.inputs]
  unit = output(found.law.output)
  columns.append(('', f'predicted {unit}', predicted, [row['predicted'] for row in held]))
  count = len(columns)
  figure, every = drawing.panels(count, width=4.0 * min(count, 3), height=2.9)
  y = of(found.loss, predicted)
  for i, (axes, (name, text, x, far)) in enumerate(zip(every, columns)):
    axes.axhline(0, color=FAINT, lw=1)
    scatter(axes, x, y, color=FITTED)
    if held:
      diamonds(axes, far, of([row['actual'] for row in held], [row['predicted'] for row in held]),
               size=34 if len(held) < 30 else 12)
    _medians(axes, x, y)
    if name:
      drawing.log_axis(axes, 'x', np.append(x, far), name)
    else:
      drawing.linear(axes, 'x')
    axes.set_xlabel(text)
    if i % 3 == 0:
      axes.set_ylabel('measured over predicted, %' if log else
                      f'measured - predicted\n{unit}'.replace('-', '\u2212', 1))
    drawing.linear(axes, 'y')
  said = 'Structure here, a bend or a trend, is what the law does not say.'
  return Picture('residuals', 'Residuals', said + (
      ' Black: medians of at least eight rows.' if len(y) >= 40 else ''), figure)


def _medians(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
  """Medians of the residuals in up to ten groups of neighbours, where there are rows enough."""
  if len(y) < 40:
    return
  places = drawing.distinct(x)
  if len(places) <= 12:
    groups = [np.isclose(x, v, rtol=1e-5) for v in places]
  else:
    count = min(10, len(y) // 8)
    order = np.argsort(np.argsort(x, kind='stable'), kind='stable')
    groups = [order * count // len(x) == i for i in range(count)]
  chosen = [g for g in groups if np.sum(g) >= 8]
  axes.plot([np.median(x[g]) for g in chosen], [np.median(y[g]) for g in chosen], color=INK, lw=1.1,
            marker='_', ms=9, mew=2, zorder=5)


@drawing.styled
def loss_curves(table: pd.DataFrame, domain: str) -> Picture:
  """Every run's loss against its tokens, coloured by size; held-out runs dashed."""
  figure, (axes,) = drawing.panels(1, width=7.6, height=4.0)
  fitted = ~table['held_out'].astype(bool)
  key = Key(table['N'][fitted if fitted.any() else ~fitted].astype(float))
  held_sizes, drawn = set(), False
  for _, run in table.groupby('run_id', sort=False):
    run = run.sort_values('step')
    losses = run[f'loss/{domain}'].astype(float)
    if not losses.notna().any():
      continue
    size, drawn = float(run['N'].iloc[-1]), True
    look: dict[str, Any] = dict(color=key.colour(size), lw=1.2, ls=key.line(size),
                                marker=key.marker(size), ms=3)
    if run['held_out'].iloc[0]:
      held_sizes.add(size)
      look = dict(color=HELD, lw=1.6, ls=(0, (4, 2)), marker='D', ms=4, mfc='white')
    axes.plot(run['D'].astype(float), losses, **look)
  drawing.log_axis(axes, 'x', table['D'].astype(float))
  axes.set_xlabel(label('D'))
  axes.set_ylabel(f'{plain(domain)}: {output("loss")}')
  if drawn:
    legend(figure, key, 'N', np.array(sorted(held_sizes)[:3]), bool(held_sizes))
  return Picture(f'loss_curves_{domain}', f'Loss curves: {domain}',
                 'One line a run, a point an evaluation.', figure)


