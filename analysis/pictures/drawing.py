"""What every picture shares: style, labels with units, axes with readable numbers, keys, and files.

Colours: one sequential map (viridis, cut before its palest part) for an ordered quantity, Okabe and
Ito's vermilion for what was held out. Shape and line style differ wherever colour does, and the map
gets lighter steadily, so that print in grey and every kind of colour vision read the same.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fit import Fit
from analysis.pictures.labels import LABELS as LABELS
from analysis.pictures.labels import LOSS as LOSS
from analysis.pictures.labels import Plain
from analysis.pictures.labels import number as number
from scaling.errors import InputError, bad

HELD, FITTED, INK, FAINT = '#D55E00', '#0072B2', '#222222', '#8a8a8a'
MARKERS = ('o', 's', '^', 'v', 'P', 'X')  # a diamond is a held-out run
LINES: tuple[Any, ...] = ('-', (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.2)),
                          (0, (9, 2)), (0, (5, 1.5, 1, 1.5, 1, 1.5)))
MAP = matplotlib.colors.LinearSegmentedColormap.from_list(
    'viridis_dark', colormaps['viridis'](np.linspace(0, 0.88, 256)))
MANY = 400  # points beyond which markers get small and pale, and are drawn as pixels
FORMATS = ('png', 'svg', 'pdf')
STYLE: Any = {
    'font.size': 9.5, 'font.family': 'sans-serif', 'axes.edgecolor': '#666666',
    'axes.labelcolor': INK, 'axes.grid': True, 'grid.color': '#e3e3e3', 'grid.linewidth': 0.6,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.axisbelow': True,
    'axes.titlesize': 10.5, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left',
    'legend.frameon': False, 'legend.fontsize': 8.5, 'svg.hashsalt': 'report', 'pdf.fonttype': 42,
    'savefig.dpi': 200}


@dataclasses.dataclass(frozen=True)
class Picture:
  """A figure, what it is called in a file's name and in a heading, and what to say under it."""

  name: str
  title: str
  caption: str
  figure: Figure


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
  """Draws under STYLE without changing anyone's matplotlib settings."""

  @functools.wraps(draw)
  def inner(*args: Any, **kwargs: Any) -> Any:
    with matplotlib.rc_context(STYLE), np.errstate(all='ignore'):
      return draw(*args, **kwargs)

  return inner


def distinct(values: Any) -> np.ndarray:
  """The different finite values, sorted, apart from rounding in the seventh digit."""
  values = np.unique(np.asarray(values, float))
  values = values[np.isfinite(values)]
  return np.unique([float(f'{v:.6e}') for v in values])


class Key:
  """Colour, marker and line style for the values of an ordered quantity.

  `lines` are the values worth a curve: all of them if there are few, else five spread over the
  data; `shown` (at most six of them) go into the key.
  """

  def __init__(self, values: Any, most: int = 6, all_of: int = 12) -> None:
    found = distinct(values)
    if not len(found):
      found = np.array([1.0])
    self._log = bool(found[0] > 0 and found[-1] > 3 * found[0])
    count = len(found)
    few = count <= most
    edge = 0 if count <= all_of else 0.03  # of scattered values the very last are not typical
    at = np.linspace(edge, 1 - edge, min(most, 5)) * (count - 1)
    picked = np.unique(np.round(at).astype(int))
    self.shown = found if few else found[picked]
    self.lines = found if count <= all_of else self.shown
    places = self._place(self.shown)
    self._from = places if len(places) > 1 else np.array([places[0], places[0] + 1])

  def _place(self, values: Any) -> np.ndarray:
    values = np.asarray(values, float)
    return np.log(values) if self._log else values

  def nearest(self, values: Any) -> np.ndarray:
    """Indices into `shown`."""
    gap = np.abs(np.subtract.outer(self._place(values), self._place(self.shown)))
    return np.argmin(np.nan_to_num(gap, nan=np.inf), -1)

  def colour(self, value: float) -> tuple[float, ...]:
    if len(self.shown) == 1:
      return MAP(0.25)
    return MAP(float(np.interp(self._place(value), self._from, np.linspace(0, 1, len(self._from)))))

  def marker(self, value: float) -> str:
    return MARKERS[int(self.nearest(value)) % len(MARKERS)]

  def line(self, value: float) -> Any:
    return LINES[int(self.nearest(value)) % len(LINES)]


def panels(count: int, width: float | None = None, height: float = 3.6, columns: int = 3,
           ) -> tuple[Figure, list[Axes]]:
  """A figure of `count` axes side by side, at most `columns` a row; inches, height a row."""
  columns = min(count, columns)
  rows = -(-count // columns)
  figure = Figure(figsize=(width or 5.2 * columns, height * rows), layout='constrained')
  return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def log_axis(axes: Axes, which: str, values: Any, name: str = '') -> None:
  """A logarithmic axis with plain tick labels (20k, 1M), where that suits the values.

  That is when they are positive and span more than a factor of three; with zeros among values
  that span decades, logarithmic with a linear piece around zero; else linear. A share r is linear.
  """
  values = np.asarray(values, float)
  values = values[np.isfinite(values)]
  set_scale = axes.set_xscale if which == 'x' else axes.set_yscale
  one = axes.xaxis if which == 'x' else axes.yaxis
  positive = values[values > 0]
  ratio = positive.max() / positive.min() if len(positive) else 1.0
  if name == 'r' or not len(values) or values.min() < 0 or ratio <= (
      3 if values.min() > 0 else 30):
    linear(axes, which)
    return
  if values.min() > 0:
    set_scale('log')
    decades = np.log10(ratio)
    subs = ((1.0,) if decades > 3.5 else (1.0, 3.0) if decades > 2 else (1.0, 2.0, 5.0)
            if decades > 1 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    one.set_major_locator(ticker.LogLocator(subs=subs, numticks=20 if decades < 8 else 8))
    one.set_minor_formatter(ticker.NullFormatter())
  else:
    set_scale('symlog', linthresh=positive.min(), linscale=0.5)
  one.set_major_formatter(ticker.FuncFormatter(lambda v, _: number(v)))


def linear(axes: Axes, which: str, ticks: int = 5) -> None:
  """A linear axis with plain tick labels."""
  one = axes.xaxis if which == 'x' else axes.yaxis
  one.set_major_locator(ticker.MaxNLocator(ticks))
  one.set_major_formatter(Plain())


def encoded(figure: Figure) -> str:
  """A picture as a data URI of SVG, the same bytes every time."""
  return f'data:image/svg+xml;base64,{base64.b64encode(_saved(figure, "svg")).decode()}'


def save(figure: Figure, path: str) -> None:
  """Writes a picture as the path's ending says; the same one gives the same file."""
  with open(path, 'wb') as file:
    file.write(_saved(figure, os.path.splitext(path)[1].removeprefix('.')))


def write(figure: Figure, folder: str, name: str, formats: Sequence[str]) -> list[str]:
  """Writes folder/name.FORMAT for every format and returns the paths. InputError if it cannot."""
  paths = []
  for kind in formats:
    if kind not in FORMATS:
      raise bad('format', kind, ', '.join(FORMATS))
    path = os.path.join(folder, f'{name}.{kind}')
    try:
      os.makedirs(folder, exist_ok=True)
      save(figure, path)
    except OSError as error:
      raise InputError(f'{path}: {error.strerror or error}') from None
    paths.append(path)
  return paths


def _saved(figure: Figure, kind: str) -> bytes:
  buffer = io.BytesIO()
  metadata = {'svg': {'Date': None}, 'pdf': {'CreationDate': None}}.get(kind)
  with matplotlib.rc_context(STYLE):  # its hash salt makes the file the same every time
    figure.savefig(buffer, format=kind, bbox_inches='tight', metadata=metadata)
  return buffer.getvalue()


def scatter(axes: Axes, x: Any, y: Any, many: int | None = None, **look: Any) -> None:
  """Points as large as their number allows; very many of them as pixels."""
  crowd = len(y) if many is None else many
  size, alpha = (26, 0.9) if crowd < 150 else (15, 0.75) if crowd < MANY else (8, 0.5)
  axes.scatter(x, y, **{'s': size, 'alpha': alpha, 'zorder': 3, 'edgecolors': 'none',
                        'rasterized': crowd >= MANY, **look})


def diamonds(axes: Axes, x: Any, y: Any, size: float = 34, **look: Any) -> None:
  """Held-out points."""
  axes.scatter(x, y, marker='D', s=size, facecolor='white', edgecolor=HELD, lw=1.5, zorder=4,
               **look)


def held_out(found: Fit) -> list[dict[str, Any]]:
  """The rows that the fit has not seen, as fit.json has them."""
  return found.extra.get('held_out') or []


def ends(values: np.ndarray) -> tuple[float, float]:
  values = values[np.isfinite(values)]
  return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
