"""Pictures of sparse pre-training: counts, errors, durations, pairs, windows, other techniques."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.laws import average_parameters
from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, FITTED, HELD, INK, LOSS, MAP, Picture
from analysis.pictures.labels import label, number
from analysis.sparsities.counts import NAMES, Joint, inputs_of

TITLES = {'average': 'average', 'final': 'final', 'initial': 'initial', 'fitted': 'fitted'}
MARKS = {'average': 'o', 'final': 'v', 'initial': '^', 'fitted': 's'}
COLOURS = {'average': FITTED, 'final': HELD, 'initial': '#009E73', 'fitted': INK}
MOST = 6  # panels of windows, durations with a curve


def all_of(answer: dict[str, Any], found: Joint, runs: pd.DataFrame) -> list[Picture]:
  """The pictures that these runs have."""
  drawn = [counts(answer, found), errors(answer), durations(answer), pairs(answer),
           windows(answer), techniques(answer, runs)]
  return [picture for picture in drawn if picture is not None]


@drawing.styled
def counts(answer: dict[str, Any], found: Joint) -> Picture:
  """Loss against each count, dense and sparse runs, with the law fitted jointly."""
  figure, panels = drawing.panels(4, width=14.5, height=3.4, columns=4)
  tokens, sparse = found.runs['D'].to_numpy(float), found.sparse
  key = drawing.Key(tokens, most=MOST)
  for axes, name in zip(panels, NAMES, strict=True):
    fitted = found.fits[name]
    x = inputs_of(name, found.runs)
    size = x['N'] if name != 'fitted' else np.asarray(average_parameters.weighted(
        fitted.params['w'], x['N_initial'], x['N_average'], x['N_final']))
    grid = np.geomspace(size.min() / 1.1, size.max() * 1.1, 100)
    for D in key.lines:
      at = {k: grid for k in x if k != 'D'} | {'D': np.full_like(grid, D)}
      axes.plot(grid, fitted.predict(at), color=key.colour(D), lw=1.1, alpha=0.8)
    colours: list[Any] = [key.colour(D) for D in tokens]
    for kind, marker in ((~sparse, 'o'), (sparse, 'D')):
      shade = [c for c, chosen in zip(colours, kind) if chosen]
      axes.scatter(size[kind], found.loss[kind], marker=marker, s=22 if marker == 'D' else 30,
                   edgecolors=shade, facecolors='none' if marker == 'D' else shade, lw=1.1,
                   zorder=3)
    w = f', w = {fitted.params["w"]:.2f}' if name == 'fitted' else ''
    axes.set_title(f'{TITLES[name]} N{w}: R² {answer["counts"][name]["r2"]:.4f}')
    drawing.log_axis(axes, 'x', size)
    axes.set_xlabel(f'{TITLES[name]} parameters')
  panels[0].set_ylabel(LOSS)
  for D in key.shown:
    panels[0].plot([], [], color=key.colour(D), label=f'D = {number(D)}')
  panels[0].plot([], [], 'o', color=FAINT, label='dense')
  panels[0].plot([], [], 'D', color=FAINT, mfc='none', label='sparse')
  panels[-1].legend(*panels[0].get_legend_handles_labels(), loc='upper left',
                    bbox_to_anchor=(1.0, 1.0))
  return Picture('counts', 'Loss against each count of parameters',
                 'Dense runs filled, sparse runs open; lines: the law fitted to both.', figure)


@drawing.styled
def errors(answer: dict[str, Any]) -> Picture:
  """Held-out and in-sample errors of sparse runs by count, with intervals."""
  figure, (size, bias) = drawing.panels(2, width=9.5, height=2.8, columns=2)
  for i, name in enumerate(NAMES):
    for shift, question, colour in ((-0.12, 'joint', FAINT), (0.12, 'held_out', HELD)):
      row = answer['counts'][name][question]
      for axes, metric in ((size, 'mean_relative_error'), (bias, 'bias')):
        _bar(axes, row[metric], row['intervals'].get(metric), i + shift, colour,
             {'joint': 'in-sample', 'held_out': 'held out'}[question] if i == 0 else None)
  for axes, text in ((size, 'mean |predicted / measured - 1|, sparse runs'),
                     (bias, 'mean predicted / measured - 1')):
    axes.set_yticks(range(len(NAMES)), [f'{TITLES[n]} N' for n in NAMES])
    axes.invert_yaxis()
    axes.set_xlabel(text)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
  size.set_xlim(left=0)
  bias.axvline(0, color=FAINT, lw=1, zorder=1)
  size.legend(loc='best', fontsize=8)
  return Picture('errors', 'Errors on sparse runs by count', 'Bars: intervals over lineages.',
                 figure)


@drawing.styled
def durations(answer: dict[str, Any]) -> Picture | None:
  """Difference from the dense law, and w, against tokens a parameter."""
  rows = answer['by_duration']
  if not rows:
    return None
  figure, (axes, place) = drawing.panels(2, width=10, height=3.5, columns=2)
  x = np.array([row['tokens_per_parameter'] for row in rows])
  for shift, name in ((0.97, 'initial'), (1.0, 'average'), (1.03, 'final')):
    y = [row[name]['difference'] for row in rows]
    axes.plot(x * shift, y, color=COLOURS[name], marker=MARKS[name], ms=5,
              label=f'{TITLES[name]} N')
    _whiskers(axes, x * shift, y, [row[name]['interval'] for row in rows], COLOURS[name])
  axes.axhspan(-0.01, 0.01, color=FAINT, alpha=0.2, lw=0, label='within 1 %')
  axes.set_ylabel('sparse loss / dense law - 1')
  axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
  axes.legend(loc='lower left', bbox_to_anchor=(0, 1.0), ncols=4, fontsize=8, columnspacing=1)
  w = [row['w'] for row in rows]
  place.plot(x, w, 's-', color=INK, ms=5)
  _whiskers(place, x, w, [row['w_interval'] for row in rows], INK)
  for level, name in ((0, 'initial N'), (0.5, 'average N'), (1, 'final N')):
    place.axhline(level, color=FAINT, lw=1, ls=':', zorder=1)
    place.annotate(name, (1.01, level), xycoords=('axes fraction', 'data'), ha='left', va='center',
                   fontsize=8, color=FAINT)
  place.set_ylim(-0.05, 1.1)
  place.set_ylabel('fitted weighting w')
  for one in (axes, place):
    drawing.log_axis(one, 'x', x)
    one.set_xlabel('tokens per average parameter')
  return Picture('durations', 'Where the law begins to hold', 'Against the law of the dense runs '
                 'alone; below zero the sparse runs are better.', figure)


@drawing.styled
def pairs(answer: dict[str, Any]) -> Picture | None:
  """Difference of every matched pair against tokens a parameter, coloured by sparsity."""
  rows = answer['pairs']
  if not rows:
    return None
  figure, (axes,) = drawing.panels(1, width=6.5, height=3.8)
  key = drawing.Key([row['sparsity'] for row in rows])
  for row in rows:
    colour = key.colour(row['sparsity'])
    axes.plot(row['tokens_per_parameter'], row['difference'], 'o' if row['exact'] else 'D', ms=4.5,
              color=colour, mfc=colour if row['exact'] else 'none', zorder=3)
    _whiskers(axes, [row['tokens_per_parameter']], [row['difference']], [row['interval']], colour)
  axes.axhspan(-0.01, 0.01, color=FAINT, alpha=0.2, lw=0)
  for value in key.shown:
    axes.plot([], [], 'o', color=key.colour(value), label=f'sparsity {value:.2f}')
  axes.plot([], [], 'o', color=FAINT, label='dense run')
  axes.plot([], [], 'D', color=FAINT, mfc='none', label='dense law')
  drawing.log_axis(axes, 'x', [row['tokens_per_parameter'] for row in rows])
  axes.set_xlabel('tokens per average parameter')
  axes.set_ylabel('sparse / dense - 1 at equal N_average, D')
  axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
  axes.legend(loc='upper left', bbox_to_anchor=(1.0, 1.0), fontsize=8)
  return Picture('pairs', 'Matched pairs', 'Grey: within 1 %.', figure)


@drawing.styled
def windows(answer: dict[str, Any]) -> Picture | None:
  """Heat maps of the loss and of its difference from the dense law over start and end."""
  table = pd.DataFrame(answer['windows'])
  if not len(table):
    return None
  groups = [g for _, g in table.groupby(['N_initial', 'D', 'sparsity'])]
  groups = sorted(groups, key=lambda g: -len(g))[:MOST]
  groups.sort(key=lambda g: (g['N_initial'].iloc[0], g['D'].iloc[0], g['sparsity'].iloc[0]))
  figure, panels = drawing.panels(2 * len(groups), width=3.1 * len(groups) + 0.6, height=2.9,
                                  columns=len(groups))
  starts, ends = (np.unique(np.round(table[n], 4)) for n in ('start', 'end'))
  largest = max(table['difference'].abs().max(), 1e-4)
  for i, group in enumerate(groups):
    first = group.iloc[0]
    said = (f'N {number(first["N_initial"])}, D {number(first["D"])}, '
            f's {first["sparsity"]:.2g}')
    _map(panels[i], group, 'loss', starts, ends, said, '{:.3f}', MAP, None)
    _map(panels[len(groups) + i], group, 'difference', starts, ends, 'from the dense law',
         '{:+.1%}', 'RdBu_r', (-largest, largest))
  return Picture('windows', 'Loss by pruning window', 'Above: loss. Below: its difference from the '
                 'law of the dense runs at the average count.', figure)


def _map(axes: Axes, group: pd.DataFrame, column: str, starts: np.ndarray, ends: np.ndarray,
         title: str, form: str, colours: Any, limits: tuple[float, float] | None) -> None:
  values = np.full((len(starts), len(ends)), np.nan)
  for row in group.to_dict('records'):
    at = np.argmin(np.abs(starts - row['start'])), np.argmin(np.abs(ends - row['end']))
    values[at] = row[column]
  low, high = limits or (np.nanmin(values), np.nanmax(values))
  axes.imshow(values, cmap=colours, vmin=low, vmax=high, origin='lower', aspect='auto')
  for i, j in np.argwhere(np.isfinite(values)):
    value = values[i, j]
    dark = value < (low + high) / 2 if limits is None else abs(value) > 0.6 * high
    axes.text(j, i, form.format(values[i, j]), ha='center', va='center', fontsize=7.5,
              color='white' if dark else INK)
  axes.set_xticks(range(len(ends)), [f'{v:g}' for v in ends])
  axes.set_yticks(range(len(starts)), [f'{v:g}' for v in starts])
  axes.set_xlabel('end of pruning')
  axes.set_ylabel('start, share of compute')
  axes.set_title(title, fontsize=9)
  axes.grid(False)


@drawing.styled
def techniques(answer: dict[str, Any], runs: pd.DataFrame) -> Picture | None:
  """SPDF: loss against FLOPs; SLTrain: loss against parameters, low rank beside it."""
  which = [name for name in ('spdf', 'low_rank') if answer[name]]
  if not which:
    return None
  figure, panels = drawing.panels(len(which), width=5.4 * len(which), height=3.6)
  kinds = {'spdf': ('C', (('dense', 'o', INK, 'dense'), ('static', 'v', FITTED, 'static sparse'),
                          ('dense_after', 's', HELD, 'sparse, then dense'))),
           'low_rank': ('N_final', (('dense', 'o', INK, 'dense'),
                                    ('low_rank', 'v', FITTED, 'low rank'),
                                    ('sltrain', 's', HELD, 'sparse plus low rank')))}
  for axes, name in zip(panels, which, strict=True):
    column, shown = kinds[name]
    mine = runs
    if name == 'spdf':
      mine = runs[runs['N_initial'].isin(runs['N_initial'][runs['kind'] == 'dense_after'])]
    else:
      mine = runs[runs['D'].isin(runs['D'][runs['kind'] == 'sltrain'])]
    for kind, marker, colour, said in shown:
      rows = mine[mine['kind'] == kind]
      axes.plot(rows[column], rows['loss'], marker, color=colour, mfc='none', ms=5, label=said)
      others = 'N_initial' if name == 'spdf' else 'D'
      for _, line in rows.groupby(others):
        means = line.groupby(np.round(np.log(line[column].to_numpy(float)), 2))[
            [column, 'loss']].mean()
        axes.plot(means[column], means['loss'], color=colour, lw=1, alpha=0.6)
    drawing.log_axis(axes, 'x', mine[column])
    axes.set_xlabel(label('C') if name == 'spdf' else 'parameters')
    axes.set_ylabel(LOSS)
    axes.set_title('Sparse, then dense' if name == 'spdf' else 'Sparse plus low rank')
    axes.legend(fontsize=8)
  return Picture('techniques', 'Other sparse ways to train', 'A point a run, lines over means.',
                 figure)


def _bar(axes: Axes, x: float, ends: Any, y: float, colour: str, said: str | None) -> None:
  axes.plot([x], [y], 'o', color=colour, ms=5, label=said, zorder=3)
  if ends is not None:
    axes.plot(ends, [y, y], color=colour, lw=1.6)


def _whiskers(axes: Axes, x: Any, y: Any, intervals: Any, colour: Any) -> None:
  for at, ends in zip(x, intervals, strict=True):
    if ends is not None:
      axes.plot([at, at], ends, color=colour, lw=1.2, alpha=0.7)
