"""The picture of a comparison: errors by law and split, and where the extrapolations go wrong."""

from __future__ import annotations

import numpy as np

from analysis.comparison import EXTRAPOLATIONS, Comparison
from analysis.pictures import drawing

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
MARKERS = 'osD^vPX'


@drawing.styled
def draw(found: Comparison, path: str) -> None:
  """Writes it, as the path's ending says."""
  names = list(found.entries)
  kinds = list(dict.fromkeys(k for e in found.entries.values() for k in e.validations))
  figure, (left, right) = drawing.panels(2, width=11.0, height=max(3.4, 1.6 + 0.42 * len(names)))
  rows = np.arange(len(names))[::-1]
  shown: list[float] = []
  for i, kind in enumerate(['in sample', *kinds]):
    values = []
    for entry in found.entries.values():
      measured = entry.fit.metrics if i == 0 else (
          entry.validations[kind].metrics if kind in entry.validations else {})
      value = measured.get('mean_relative_error')
      values.append(np.nan if value is None else 100 * value)
    marker, colour = ('|', drawing.FAINT) if i == 0 else (MARKERS[(i - 1) % 7],
                                                          COLOURS[(i - 1) % 7])
    shown += values
    left.plot(values, rows, linestyle='none', marker=marker, color=colour,
              markersize=12 - 5 * (i > 0), label=kind.replace('_', ' '))
  drawing.log_axis(left, 'x', shown)
  left.set_yticks(rows, names)
  left.set_ylim(-0.6, len(names) - 0.4)
  left.set_xlabel('mean relative error, %')
  left.set_title('Errors, best extrapolation on top')
  left.legend(loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=5)
  spread: list[np.ndarray] = []
  for i, (name, entry) in enumerate(found.entries.items()):
    parts = [(v.rows, 100 * (v.predicted / v.actual - 1)) for k, v in entry.validations.items()
             if k in EXTRAPOLATIONS and len(v.rows)]
    if not parts or i >= len(MARKERS):
      continue
    at = np.concatenate([rows for rows, _ in parts])
    error = np.concatenate([e for _, e in parts])
    spread.append(error)
    right.plot(found.compute[at], error, linestyle='none', marker=MARKERS[i], color=COLOURS[i],
               markersize=5, alpha=0.75, label=name)
  right.axhline(0, color=drawing.INK, linewidth=0.8)
  if spread:
    drawing.log_axis(right, 'x', found.compute)
    size = np.quantile(np.abs(np.concatenate(spread)), 0.97) * 1.3 or 1.0
    right.set_ylim(-size, size)
    right.legend(loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=4)
  right.set_xlabel('what a row cost (6 N D FLOPs, or the one scale there is)')
  right.set_ylabel('predicted / actual - 1, %')
  right.set_title('Extrapolations')
  drawing.save(figure, path)
