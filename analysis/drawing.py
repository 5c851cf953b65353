"""What every picture shares: style, colours, axes with readable numbers, and how it is embedded.

Colours: one sequential map (viridis, cut before its palest part) for an ordered quantity, Okabe and
Ito's vermilion for what was held out; shape differs wherever colour does, so that print in grey
and every kind of colour vision read the same.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

HELD, INK, FAINT = '#D55E00', '#222222', '#8a8a8a'
LABELS = {
    'N': 'parameters N', 'N_nonembedding': 'non-embedding parameters', 'D': 'training tokens D',
    'N_average': 'average parameters', 'N_v': 'vocabulary parameters', 'C': 'training FLOPs C',
    'r': 'mixture ratio r', 'V': 'vocabulary size V', 'H': 'training characters H',
    'U': 'unique tokens U', 'S': 'steps S', 'B': 'batch, tokens'}
LOSS = 'loss, nats per token'
STYLE: Any = {
    'font.size': 9.5, 'font.family': 'sans-serif', 'axes.edgecolor': '#666666',
    'axes.labelcolor': INK, 'axes.grid': True, 'grid.color': '#e3e3e3', 'grid.linewidth': 0.6,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.axisbelow': True,
    'axes.titlesize': 10.5, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left',
    'legend.frameon': False, 'legend.fontsize': 8.5, 'svg.hashsalt': 'report'}
MANY = 400  # points beyond which markers get small and pale, and pictures are pixels


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
  """Draws under STYLE without changing anyone's matplotlib settings."""

  @functools.wraps(draw)
  def inner(*args: Any, **kwargs: Any) -> Any:
    with matplotlib.rc_context(STYLE):
      return draw(*args, **kwargs)

  return inner


def number(value: float) -> str:
  """1.2k, 36.9k, 1.64M, 7B: at most three digits that matter."""
  if not np.isfinite(value):
    return 'n/a'
  for size, unit in ((1e12, 'T'), (1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
    if abs(value) >= 0.9995 * size:
      return f'{value / size:.3g}{unit}' if abs(value) < 1e15 else f'{value:.2e}'
  return f'{value:.3g}'


def encoded(figure: Figure) -> str:
  """A picture as a data URI: SVG, or pixels when there are very many points."""
  buffer = io.BytesIO()
  points = sum(np.shape(c.get_offsets())[0] for a in figure.axes for c in a.collections)
  kind = 'png' if points > 3000 else 'svg'
  with matplotlib.rc_context(STYLE):  # its hash salt makes the file the same every time
    figure.savefig(buffer, format=kind, dpi=150, bbox_inches='tight',
                   metadata={'Date': None} if kind == 'svg' else None)
  name = 'svg+xml' if kind == 'svg' else 'png'
  return f'data:image/{name};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def save(figure: Figure, path: str) -> None:
  """Writes a picture as the path's ending says; the same one gives the same file."""
  with matplotlib.rc_context(STYLE):
    figure.savefig(path, dpi=150, bbox_inches='tight',
                   metadata={'Date': None} if path.endswith('.svg') else None)


class Colours:
  """A colour for each value of an ordered positive quantity, and a few values to put in a key."""

  def __init__(self, values: Any) -> None:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    if len(distinct) > 6:
      positive = distinct.min() > 0
      spread = np.geomspace if positive else np.linspace
      distinct = spread(distinct.min(), distinct.max(), 5)
    self.some = distinct
    low, high = (distinct[0], distinct[-1]) if len(distinct) else (1.0, 1.0)
    self._scale = (LogNorm(low, high) if 0 < low < high
                   else (lambda v: (v - low) / (high - low) if high > low else 0.5))

  def __call__(self, value: float) -> tuple[float, ...]:
    return MAP(float(np.clip(self._scale(value), 0, 1)))


MAP = matplotlib.colors.LinearSegmentedColormap.from_list(
    'viridis_dark', colormaps['viridis'](np.linspace(0, 0.88, 256)))


def panels(count: int, width: float | None = None, height: float = 3.6,
           ) -> tuple[Figure, list[Axes]]:
  """A figure of `count` axes side by side, at most three a row; inches, height a row."""
  columns = min(count, 3)
  rows = -(-count // columns)
  figure = Figure(figsize=(width or 5.2 * columns, height * rows), layout='constrained')
  return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def log_axis(axes: Axes, which: str, values: Any, name: str = '') -> None:
  """A logarithmic axis with plain labels (20k, 1M), where the values are positive."""
  values = np.asarray(values, float)
  values = values[np.isfinite(values)]
  if not len(values) or values.min() <= 0 or name == 'r':
    return
  (axes.set_xscale if which == 'x' else axes.set_yscale)('log')
  axis = axes.xaxis if which == 'x' else axes.yaxis
  decades = np.log10(values.max() / values.min())
  subs = (1.0,) if decades > 3.5 else (1.0, 3.0) if decades > 2 else (1.0, 2.0, 5.0)
  axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=20))
  axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: number(v)))
  axis.set_minor_formatter(ticker.NullFormatter())


