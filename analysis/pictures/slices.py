"""Pictures of data and fitted curves: the output against each input in turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fit import Fit
from analysis.pictures import drawing
from analysis.pictures.drawing import FITTED, HELD, INK, Key, Picture, diamonds, held_out, scatter
from analysis.pictures.labels import label, number, numbers, output, plain

GRID = 15  # values of an input up to which it is a grid: its panels show the rows that lie there
POINTS = 120  # of a curve


def slices(found: Fit) -> Iterator[Picture]:
  """The output against each input: data, and fitted curves at values of the next input.

  A third input makes panels. Rows that are not exactly at a panel's value of it (or at the median
  of any further input) are drawn where the law would move them, residual and all.
  """
  for name in found.law.inputs:
    figure, said = _slice(found, name)
    yield Picture(f'data_{name}', f'Data and fitted curves: {name}',
                  'Points are runs, lines the law.' + said, figure)


@drawing.styled
def _slice(found: Fit, name: str) -> tuple[Figure, str]:
  others = [n for n in found.law.inputs if n != name]
  by, split, rest = (others + ['', ''])[0], (others + ['', ''])[1], others[2:]
  levels = Key(found.inputs[split], 3, 3).shown if split else np.array([np.nan])
  figure, axes = drawing.panels(len(levels), width=None if split else 6.2, height=3.5)
  key = Key(found.inputs[by]) if by else None
  x, loss, held = found.inputs, found.loss, held_out(found)
  here = [np.ones(len(loss), bool)]
  fixed = {n: np.quantile(x[n], 0.5, method='nearest') for n in rest}
  shifted = bool(fixed)
  if split:
    choice = Key(levels, 3, 3)
    part = choice.nearest(x[split])
    exact = np.isclose(x[split], levels[part], rtol=1e-5, atol=0)
    grid = len(drawing.distinct(x[split])) <= GRID
    shifted = shifted or not (grid or exact.all())
    here = [(part == i) & (exact | (not grid)) for i in range(len(levels))]
  held_by = drawing.distinct([row[by] for row in held]) if by and held else np.array([])
  held_by = held_by if len(held_by) <= 3 else held_by[:0]  # curves for a few held-out values
  every_x = np.append(x[name], [row[name] for row in held])
  for i, one in enumerate(axes):
    at = fixed | ({split: float(levels[i])} if split else {})
    ys = [_points(one, name, {n: v[here[i]] for n, v in x.items()},
                  moved(found, x, loss, at)[here[i]], key, by)]
    for row in held:
      if split and int(choice.nearest(row[split])) != i:
        continue
      y = moved(found, {n: np.array([row[n]]) for n in x}, np.array([row['actual']]), at)
      diamonds(one, [row[name]], y, size=34 if len(held) < 30 else 12)
      ys.append(y)
    _curves(one, found, name, by, key, every_x, at, held_by)
    values = np.concatenate(ys)
    values = values[np.isfinite(values)]
    _limits(one, values if len(values) else loss)
    drawing.log_axis(one, 'x', every_x, name)
    one.set_xlabel(label(name))
    if i == 0:
      one.set_ylabel(output(found.law.output))
    if split:
      one.set_title(f'{plain(split)} = {numbers(levels)[i]}')
  legend(figure, key, by, held_by, bool(held))
  said = ('' if key is None or len(key.lines) > len(key.shown) or _exact(key, x[by]) else
          f' Markers tell the nearest {by} in the key; colours lie in between as {by} does.')
  if split:
    said += f' A panel for each of {len(levels)} values of {split}.'
  if shifted:
    said += (' Rows that lie elsewhere in ' + ', '.join(
        ([split] if split and not (grid or exact.all()) else []) + rest)
        + ' were moved along the law to the value shown, keeping their residuals'
        + (f' ({", ".join(f"{n} = {number(v)}" for n, v in fixed.items())}).' if fixed else '.'))
  return figure, said


def _exact(key: Key, values: np.ndarray) -> bool:
  return bool(np.isclose(values, key.shown[key.nearest(values)], rtol=1e-5, atol=0).all())


def _points(axes: Axes, name: str, x: dict[str, np.ndarray], y: np.ndarray, key: Key | None,
            by: str) -> np.ndarray:
  if key is None:
    scatter(axes, x[name], y, color=FITTED)
    return y
  nearest = key.nearest(x[by])
  for i, level in enumerate(key.shown):
    one = nearest == i
    if np.any(one):
      scatter(axes, x[name][one], y[one], many=len(y), marker=key.marker(level),
              c=[key.colour(v) for v in x[by][one]])
  return y


def _curves(axes: Axes, found: Fit, name: str, by: str, key: Key | None, every: np.ndarray,
            at: dict[str, float], held_by: np.ndarray) -> None:
  line = _line(every)
  rest = {n: np.full(POINTS, v) for n, v in at.items()} | {name: line}
  if key is None:
    if found.interval_method is not None and np.ptp(line) > 0:
      low, high = found.interval(rest, 'confidence')
      axes.fill_between(line, low, high, color=FITTED, alpha=0.2, lw=0,
                        label=f'{100 * found.level:g} % interval of the law')
    axes.plot(line, found.predict(rest), color=INK, lw=1.4, label='fitted law')
    return
  for value in key.lines:
    axes.plot(line, found.predict(rest | {by: np.full(POINTS, value)}), color=key.colour(value),
              lw=1.3, ls=key.line(value), zorder=2)
  for value in held_by:
    axes.plot(line, found.predict(rest | {by: np.full(POINTS, value)}), color=HELD, lw=1.3,
              ls=(0, (4, 2)), zorder=2)


def legend(figure: Figure, key: Key | None, by: str, held_by: np.ndarray, held: bool) -> None:
  """The key of a figure, at its right: the levels of `by`, held-out values of it, what has a label.
  """
  axes = figure.axes[0]
  handles, names = axes.get_legend_handles_labels()
  if key is not None:
    for value, said in zip(key.shown[::-1], numbers(key.shown[::-1])):
      handles += axes.plot([], [], color=key.colour(value), marker=key.marker(value), ms=5, lw=1.3,
                           ls=key.line(value))
      names.append(f'{by} = {said}')
  for said in numbers(held_by[::-1]):
    handles += axes.plot([], [], color=HELD, ls=(0, (4, 2)), lw=1.3, marker='D', ms=5.5,
                         mfc='white')
    names.append(f'{by} = {said}, held out')
  if held and not len(held_by):
    handles += axes.plot([], [], color=HELD, ls='', marker='D', ms=5.5, mfc='white')
    names.append('held out')
  if handles:
    figure.legend(handles, [plain(n) for n in names], loc='outside right upper',
                  handlelength=2.8)


def moved(found: Fit, x: dict[str, np.ndarray], y: np.ndarray, at: dict[str, Any]) -> np.ndarray:
  """What rows [n] would have measured at other values (one or [n]) of some inputs, by the law.

  Each keeps its residual: a factor for a logarithmic objective, a difference for others.
  """
  if not at:
    return y
  there = found.predict(x | {n: np.broadcast_to(v, y.shape) for n, v in at.items()})
  same = np.all([np.isclose(x[n], v, rtol=1e-5, atol=0) for n, v in at.items()], 0)
  here = found.predict(x)
  return np.where(same, y, y * there / here if found.objective.log else y + there - here)


def _line(values: np.ndarray) -> np.ndarray:
  low, high = np.min(values), np.max(values)
  if low <= 0 or high / low < 3:
    return np.linspace(low, high, POINTS)
  return np.geomspace(low, high, POINTS)


def _limits(axes: Axes, values: np.ndarray) -> None:
  """Room for the points; curves may leave the picture."""
  low, high = drawing.ends(values)
  pad = 0.07 * (high - low) or 0.05 * abs(high) or 0.1
  axes.set_ylim(low - pad, high + pad)
  drawing.linear(axes, 'y')
