"""Pictures of what the data say about the parameters: profile likelihoods and bootstrap pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fit import PROFILE, Fit
from analysis.fitting import likelihood
from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, FITTED, HELD, INK, Picture
from analysis.pictures.labels import number, plain

Marks = Mapping[str, Mapping[str, float]]  # what they are called: parameters
MARK_SHAPES = ('s', '^', 'v', 'P', 'X')
MOST_POINTS = 1000  # of a cloud


@drawing.styled
def profiles(found: Fit, marks: Marks) -> Picture | None:
  """How much worse the fit gets when one parameter is held and the others refitted."""
  if found.interval_method is None:
    return None
  known = likelihood.curves(found)
  if known is None:
    return None
  curves, limit = known
  count = len(curves)
  columns = count if count <= 5 else 4 if count <= 8 else 5
  figure, every = drawing.panels(count, width=2.55 * columns, height=2.5, columns=columns)
  for i, (axes, p) in enumerate(zip(every, found.law.parameters)):
    curve, ends = curves[p.name], np.array(found.intervals.get(p.name, []), float)
    near = np.append(curve.values[curve.rise < 3 * limit], found.params[p.name])
    marked = {k: m[p.name] for k, m in enumerate(marks.values()) if p.name in m}
    near = np.append(near, [v for v in marked.values() if _close(v, near)])
    near = np.append(near, [v for v in ends if _close(v, near)])
    if len(ends) == 2:
      axes.axvspan(*np.clip(ends, near.min() - np.ptp(near), near.max() + np.ptp(near)),
                   color=FITTED, alpha=0.13, lw=0)
    axes.axhline(limit, color=FAINT, lw=1, ls=(0, (4, 2)))
    _smooth(axes, curve, p.scale)
    axes.axvline(found.params[p.name], color=INK, lw=1)
    for k, value in marked.items():
      if near.min() <= value <= near.max():
        axes.plot(value, 0.15 * limit, marker=MARK_SHAPES[k % len(MARK_SHAPES)], ms=7, color=HELD,
                  mec='white', clip_on=False, zorder=5)
    axes.set_ylim(0, 3 * limit)
    _parameter_axis(axes, 'x', near, p.scale)
    axes.set_xlabel(plain(p.name))
    drawing.linear(axes, 'y')
    if i % columns == 0:
      axes.set_ylabel('rise of the objective')
      axes.text(0.02, limit, f'{100 * found.level:g} %', fontsize=7.5, color=FAINT, va='bottom',
                transform=axes.get_yaxis_transform())
  level = f'{100 * found.level:g} %'
  said = ('where the shaded intervals end' if found.interval_method == PROFILE else
          f'the shaded {level} intervals are the {found.interval_method}\'s')
  return Picture(
      'profiles', 'Parameter profiles',
      'The least objective with one parameter held and the others refitted, above its minimum, in '
      f'units where the dashed line is the limit of {level} (t² of Student): {said}. Dark lines: '
      'the fit. A curve that stays low says that the data do not bound the parameter.'
      + (' Squares of residuals are profiled, as for the intervals: their least may lie beside the '
         'fit.' if found.interval_method == PROFILE and 'mse' not in found.objective.name else '')
      + _named(marks), figure)


def _smooth(axes: Axes, curve: likelihood.Curve, scale: str) -> None:
  """The curve as pieces of parabolas: its signed root is nearly a line."""
  least = int(np.argmin(curve.rise))
  root = np.sqrt(curve.rise) * np.sign(np.arange(len(curve.rise)) - least)
  x = np.log(curve.values) if scale == 'log' else curve.values
  dense = np.unique(np.append(np.linspace(x[0], x[-1], 200), x))
  y = np.interp(dense, x, root)**2
  axes.plot(np.exp(dense) if scale == 'log' else dense, y, color=FITTED, lw=1.7)


@drawing.styled
def corner(found: Fit, marks: Marks) -> Picture | None:
  """Bootstrap refits, every pair of parameters, with the fit, other minima and published values."""
  if found.samples is None:
    return None
  refits = {n: np.asarray(v)[:MOST_POINTS] for n, v in found.refits().items()}
  names, count = found.law.names, len(found.law.names)
  if count < 2:
    return None
  others = {f'other minimum {i + 1}': row['params'] for i, row in enumerate(
      found.extra.get('minima') or [])}
  side = min(1.75, 11.5 / count)
  figure = Figure(figsize=(side * count + 0.6, side * count + 0.6))
  grid = figure.subplots(count, count, squeeze=False)
  figure.subplots_adjust(0.09, 0.08, 0.99, 0.99, 0.07, 0.07)
  places = {p.name: _range(refits[p.name], [found.params[p.name], *(
      m[p.name] for m in (*others.values(), *marks.values()) if p.name in m)], p.scale)
      for p in found.law.parameters}
  scales = {p.name: p.scale for p in found.law.parameters}
  for i, down in enumerate(names):
    for j, across in enumerate(names):
      axes = grid[i, j]
      if j > i:
        axes.remove()
        continue
      if i == j:
        _histogram(axes, refits[across], places[across], scales[across],
                   found.intervals.get(across), found.params[across])
      else:
        axes.scatter(refits[across], refits[down], s=8 if len(found.samples) < 100 else 5,
                     color=FITTED, alpha=0.35, edgecolors='none', rasterized=True)
        axes.plot(found.params[across], found.params[down], marker='+', ms=12, mew=2, color=INK,
                  zorder=5)
        for m in others.values():
          if {across, down} <= set(m):
            axes.plot(m[across], m[down], marker='o', ms=6, mfc='none', mec=INK, mew=1.3, zorder=4)
        for k, m in enumerate(marks.values()):
          if {across, down} <= set(m):
            axes.plot(m[across], m[down], marker=MARK_SHAPES[k % len(MARK_SHAPES)], ms=6.5,
                      color=HELD, mec='white', mew=0.6, zorder=4.5)
        _parameter_axis(axes, 'y', places[down], scales[down], 3)
        axes.set_ylim(places[down])
      _parameter_axis(axes, 'x', places[across], scales[across], 3)
      axes.set_xlim(places[across])
      axes.tick_params(labelsize=8, labelbottom=i == count - 1, labelleft=j == 0 < i)
      if i == count - 1:
        axes.set_xlabel(plain(across))
        axes.tick_params(axis='x', rotation=30)
      if j == 0 < i:
        axes.set_ylabel(plain(down))
  figure.align_ylabels()
  return Picture(
      'bootstrap', 'Bootstrap pairs',
      f'{len(found.samples)} refits of resampled groups, spread as the intervals are'
      + (f' (the first {MOST_POINTS} drawn)' if len(found.samples) > MOST_POINTS else '')
      + '. Cross: the fit' + ('; circles: other minima nearly as good' if others else '')
      + f'. On the diagonal the {100 * found.level:g} % intervals are shaded.' + _named(marks),
      figure)


def _histogram(axes: Axes, values: np.ndarray, place: tuple[float, float], scale: str,
               ends: Any, fitted: float) -> None:
  low, high = place
  space = np.geomspace if scale == 'log' and low > 0 and high > 3 * low else np.linspace
  values = values[np.isfinite(values)]
  if ends:
    axes.axvspan(max(ends[0], low), min(ends[1], high), color=FITTED, alpha=0.13, lw=0)
  bins = space(low, high, int(np.clip(1.6 * len(values)**0.5, 8, 30)))
  axes.hist(values, bins=list(bins), color=FITTED, histtype='stepfilled', alpha=0.75)
  axes.axvline(fitted, color=INK, lw=1.2)
  axes.set_yticks([])


def _range(values: np.ndarray, marked: list[float], scale: str) -> tuple[float, float]:
  """Where a parameter's axis ends: nearly all samples, and the marks that are not far off."""
  values = values[np.isfinite(values)]
  low, high = np.quantile(values, [0.005, 0.995]) if len(values) else (marked[0], marked[0])
  near = [v for v in marked if _close(v, np.array([low, high, marked[0]]), 3.0)]
  low, high = min(low, *near, marked[0]), max(high, *near, marked[0])
  if scale == 'log' and low > 0 and high > 3 * low:
    pad = (high / low)**0.07
    return float(low / pad), float(high * pad)
  pad = 0.07 * (high - low) or 0.01 * abs(high) or 0.01
  return float(low - pad), float(high + pad)


def _close(value: float, places: np.ndarray, times: float = 1.5) -> bool:
  low, high = np.min(places), np.max(places)
  return bool(low - times * (high - low) <= value <= high + times * (high - low))


def _parameter_axis(axes: Axes, which: str, place: Any, scale: str, ticks: int = 4) -> None:
  low, high = float(np.min(place)), float(np.max(place))
  one = axes.xaxis if which == 'x' else axes.yaxis
  if scale == 'log' and low > 0 and high > 3 * low:
    (axes.set_xscale if which == 'x' else axes.set_yscale)('log')
    decades = np.log10(high / low)
    one.set_major_locator(
        ticker.MaxNLocator(ticks, steps=[1, 2, 5, 10]) if decades < 1 else
        ticker.LogLocator(subs=(1.0,) if decades > 2 else (1.0, 3.0), numticks=ticks + 1))
    one.set_minor_locator(ticker.NullLocator())
    one.set_major_formatter(ticker.FuncFormatter(lambda v, _: number(v)))
    one.set_minor_formatter(ticker.NullFormatter())
  else:
    drawing.linear(axes, which)
    one.set_major_locator(ticker.MaxNLocator(ticks))
  if high > low:
    pad = 0.03 * (high - low) if low <= 0 or scale != 'log' else 0
    (axes.set_xlim if which == 'x' else axes.set_ylim)(low - pad, high + pad)


def _named(marks: Marks) -> str:
  if not marks:
    return ''
  words = {'s': 'squares', '^': 'triangles', 'v': 'triangles down', 'P': 'filled plus', 'X': 'x'}
  return ' Orange ' + ', '.join(f'{words[MARK_SHAPES[k % len(MARK_SHAPES)]]}: {name}'
                                for k, name in enumerate(marks)) + '.'
