"""The pictures of a report, as matplotlib figures without a display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import drawing
from analysis.drawing import FAINT, HELD, INK, LABELS, LOSS, MANY, MAP, Colours, number
from analysis.fit import Fit


@drawing.styled
def loss_curves(table: pd.DataFrame, domain: str) -> Figure:
  """Every run's loss against its tokens, coloured by size; held-out runs dashed."""
  figure, (axes,) = drawing.panels(1, width=7.6, height=4.0)
  fitted = ~table['held_out'].astype(bool)
  colours = Colours(table['N'][fitted if fitted.any() else ~fitted].astype(float))
  ends = []
  for _, run in table.groupby('run_id', sort=False):
    run = run.sort_values('step')
    losses = run[f'loss/{domain}'].astype(float)
    if not losses.notna().any():
      continue
    held = bool(run['held_out'].iloc[0])
    size = float(run['N'].iloc[-1])
    axes.plot(run['D'].astype(float), losses, lw=1.6 if held else 1.2, marker='.', ms=4,
              color=HELD if held else colours(size), ls='--' if held else '-')
    ends.append((held, size))
  drawing.log_axis(axes, 'x', table['D'].astype(float))
  axes.set_xlabel(LABELS['D'])
  axes.set_ylabel(f'{domain}: {LOSS}')
  if ends:
    handles = [axes.plot([], [], color=colours(s), lw=2)[0] for s in colours.some]
    names = [f'N = {number(s)}' for s in colours.some]
    held_sizes = sorted({s for h, s in ends if h})
    handles += [axes.plot([], [], color=HELD, ls='--', lw=2)[0] for _ in held_sizes[:3]]
    names += [f'held out, N = {number(s)}' for s in held_sizes[:3]]
    axes.legend(handles, names, loc='upper left', bbox_to_anchor=(1.01, 1))
  return figure


@drawing.styled
def slices(found: Fit) -> Figure:
  """Loss against each input, data and fitted curves, coloured by the next input."""
  names = found.law.inputs
  figure, panels = drawing.panels(len(names), height=3.7)
  for axes, name in zip(panels, names):
    other = names[(names.index(name) + 1) % len(names)]
    x, by = found.inputs[name], found.inputs[other]
    colours = Colours(by)
    axes.scatter(x, found.loss, c=[colours(v) for v in by], s=_size(found.loss), zorder=3,
                 alpha=_alpha(found.loss), edgecolors='none')
    held = _held(found)
    for row in held:
      axes.scatter(row[name], row['actual'], marker='D', s=34, facecolor='white', lw=1.5,
                   edgecolor=HELD, zorder=4, label='_held out')
    if name != other:
      every = np.append(x, [row[name] for row in held])
      _curves(axes, found, name, other, every, colours)
      axes.legend(loc='best', handlelength=1.2)
    drawing.log_axis(axes, 'x', np.append(x, [row[name] for row in held]), name)
    axes.set_xlabel(LABELS.get(name, name))
    axes.set_ylabel(LOSS)
    axes.set_title(f'Loss against {name}')
  return figure


def _curves(axes: Axes, found: Fit, name: str, other: str, x: np.ndarray, colours: Colours,
            ) -> None:
  line = np.geomspace(np.min(x), np.max(x), 80) if np.min(x) > 0 else np.linspace(0, 1, 80)
  middle = {k: np.full(80, np.median(v)) for k, v in found.inputs.items()}
  for value in colours.some:
    axes.plot(line, found.predict(middle | {name: line, other: np.full(80, value)}),
              color=colours(value), lw=1.3, label=f'{other} = {number(value)}')
  held = _held(found)
  if held:
    value = held[-1][other]
    axes.plot(line, found.predict(middle | {name: line, other: np.full(80, value)}), color=HELD,
              lw=1.3, ls='--', label=f'{other} = {number(value)}, held out')


@drawing.styled
def surface(found: Fit, optimum: Mapping[str, np.ndarray] | None = None) -> Figure | None:
  """Contours of the fitted loss over N and D, with the data, lines of equal FLOPs, the optimum."""
  if not {'N', 'D'} <= set(found.law.inputs):
    return None
  figure, (axes,) = drawing.panels(1, width=7.0, height=4.6)
  held = _held(found)
  n = np.append(found.inputs['N'], [row['N'] for row in held])
  d = np.append(found.inputs['D'], [row['D'] for row in held])
  edges = [np.geomspace(v.min() / 1.5, v.max() * 1.5, 200) for v in (d, n)]
  dd, nn = np.meshgrid(*edges)
  rest = {k: np.full(dd.shape, np.median(v)) for k, v in found.inputs.items()}
  z = found.predict(rest | {'N': nn, 'D': dd})
  low, high = min(found.loss.min(), z.min()), max(np.quantile(z, 0.98), found.loss.max())
  levels = np.unique(np.quantile(z, np.linspace(0.01, 0.99, 15)))
  # Pixels: a vector contour shows hairlines between its bands in most viewers.
  shade = axes.pcolormesh(dd, nn, z, vmin=low, vmax=high, cmap=MAP, shading='gouraud',
                          rasterized=True)
  lines = axes.contour(dd, nn, z, levels=levels, colors='white', linewidths=0.6, alpha=0.8)
  axes.clabel(lines, fmt='%.3g', fontsize=7.5)
  axes.scatter(found.inputs['D'], found.inputs['N'], c=found.loss, cmap=MAP, vmin=low, vmax=high,
               edgecolors='white', linewidths=0.9, s=38 if len(found.loss) < MANY else 12, zorder=3)
  for row in held:
    axes.scatter(row['D'], row['N'], marker='D', s=52, facecolor='white', edgecolor=HELD, lw=1.8,
                 zorder=4)
  if held:
    axes.scatter([], [], marker='D', facecolor='white', edgecolor=HELD, lw=1.8, label='held out')
  _iso_flops(axes, n, d, edges)
  if optimum is not None:
    axes.plot(optimum['D'], optimum['N'], color=INK, lw=2, label='compute optimum')
  axes.set_xlim(edges[0][0], edges[0][-1])
  axes.set_ylim(edges[1][0], edges[1][-1])
  drawing.log_axis(axes, 'x', d)
  drawing.log_axis(axes, 'y', n)
  axes.grid(False)
  axes.set_xlabel(LABELS['D'])
  axes.set_ylabel(LABELS['N'])
  bar = figure.colorbar(shade, ax=axes, pad=0.02, format='%.3g')
  bar.set_label(LOSS)
  bar.ax.grid(False)
  if axes.get_legend_handles_labels()[0]:
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1.0), ncols=2)
  return figure


def _iso_flops(axes: Axes, n: np.ndarray, d: np.ndarray, edges: list[np.ndarray]) -> None:
  pale = '#f4f4f4'
  for flops in 10.0 ** np.arange(np.ceil(np.log10(6 * n.min() * d.min())),
                                 np.floor(np.log10(6 * n.max() * d.max())) + 1):
    axes.plot(edges[0], flops / 6 / edges[0], color=pale, lw=1.1, ls=':')
    top = edges[1][-1] / 1.12  # named where the line leaves the picture: above, or at the left
    spot, at = flops / 6 / top, top
    if spot < edges[0][0] * 1.05:
      spot = edges[0][0] * 1.05
      at = flops / 6 / spot
    if spot < edges[0][-1] and at > edges[1][0]:
      axes.text(spot, at, f' 1e{np.log10(flops):.0f} FLOPs', fontsize=7.5, color=pale, ha='left',
                va='center')


@drawing.styled
def iso_flops(found: Fit) -> Figure | None:
  """Loss against N at fixed compute with the minima, when the law has an optimum."""
  if found.law.optimum is None or set(found.law.inputs) != {'N', 'D'}:
    return None
  figure, (axes,) = drawing.panels(1, width=7.0, height=3.9)
  budgets = 6 * found.inputs['N'] * found.inputs['D']
  shown = np.geomspace(budgets.min(), budgets.max(), 6)
  colours = Colours(shown)
  best = found.law.best(found.params, shown)
  edges = np.append(found.inputs['N'], best['N'][np.isfinite(best['N'])])
  low, high = found.inputs['N'].min() / 3, found.inputs['N'].max() * 3
  low, high = max(low, edges.min() / 3), min(high, edges.max() * 3)
  for i, flops in enumerate(shown):
    line = np.geomspace(low, high, 90)
    loss = found.predict({'N': line, 'D': flops / 6 / line})
    near = loss < loss.min() * 1.35
    axes.plot(line[near], loss[near], color=colours(flops), lw=1.4,
              label=f'C = {flops:.1e} FLOPs')
    if low < best['N'][i] < high:
      axes.plot(best['N'][i], found.predict({k: v[i] for k, v in best.items()}), marker='v', ms=7,
                color=colours(flops), mec=INK, mew=0.6)
  axes.scatter(found.inputs['N'], found.loss, c=[colours(c) for c in budgets],
               s=_size(found.loss), alpha=_alpha(found.loss), zorder=3, edgecolors='none')
  for row in _held(found):
    axes.scatter(row['N'], row['actual'], marker='D', s=34, facecolor='white', edgecolor=HELD,
                 lw=1.5, zorder=4)
  drawing.log_axis(axes, 'x', np.array([low, high]))
  axes.set_xlabel(LABELS['N'])
  axes.set_ylabel(LOSS)
  axes.legend(loc='upper left', bbox_to_anchor=(1.01, 1))
  return figure


@drawing.styled
def agreement(found: Fit) -> Figure:
  """Predicted against actual; held-out runs with their prediction intervals."""
  figure, (axes,) = drawing.panels(1, width=4.8, height=4.2)
  predicted = found.predict(found.inputs)
  axes.scatter(found.loss, predicted, s=_size(found.loss), color='#0072B2', zorder=3,
               alpha=_alpha(found.loss), edgecolors='none', label='fitted')
  every = [found.loss, predicted]
  for i, row in enumerate(_held(found)):
    every.append(np.array([row['actual'], row['predicted']]))
    if 'interval' in row:
      low, high = row['interval']
      axes.errorbar(row['actual'], row['predicted'], capsize=4, color=HELD, lw=1.4, zorder=3,
                    yerr=[[row['predicted'] - low], [high - row['predicted']]])
      every.append(np.array(row['interval']))
    axes.scatter(row['actual'], row['predicted'], marker='D', s=38, facecolor='white',
                 edgecolor=HELD, lw=1.6, zorder=4,
                 label='held out, with its prediction interval' if i == 0 else None)
  low, high = min(v.min() for v in every), max(v.max() for v in every)
  pad = 0.04 * (high - low) or 0.1
  axes.plot([low - pad, high + pad], [low - pad, high + pad], color=FAINT, lw=1, zorder=1)
  axes.set_xlabel(f'measured {LOSS}')
  axes.set_ylabel(f'predicted {LOSS}')
  axes.legend(loc='upper left')
  return figure


@drawing.styled
def residuals(found: Fit) -> Figure:
  """Relative residuals against each input: structure here is what the law misses."""
  names = found.law.inputs
  figure, panels = drawing.panels(len(names), height=3.0)
  percent = 100 * (found.loss / found.predict(found.inputs) - 1)
  for axes, name in zip(panels, names):
    axes.axhline(0, color=FAINT, lw=1)
    axes.scatter(found.inputs[name], percent, s=_size(percent), color='#0072B2', zorder=3,
                 alpha=_alpha(percent), edgecolors='none')
    held = _held(found)
    for row in held:
      axes.scatter(row[name], 100 * (row['actual'] / row['predicted'] - 1), marker='D', s=34,
                   facecolor='white', edgecolor=HELD, lw=1.5, zorder=4)
    drawing.log_axis(axes, 'x', np.append(found.inputs[name], [row[name] for row in held]), name)
    axes.set_xlabel(LABELS.get(name, name))
    axes.set_ylabel('measured over predicted, %')
  return figure


def _held(found: Fit) -> list[dict[str, Any]]:
  return found.extra.get('held_out') or []


def _size(values: np.ndarray) -> float:
  return 26 if len(values) < MANY else 9


def _alpha(values: np.ndarray) -> float:
  return 1.0 if len(values) < MANY else 0.5
