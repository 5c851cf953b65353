"""A picture of loss curves, their predictions and what is left, a panel a curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.curves import Curve, CurveFit
from analysis.pictures.drawing import FAINT, HELD, INK, LOSS, number, styled

COLUMNS = 3


@styled
def figure(found: CurveFit, fitted: Sequence[Curve], held: Sequence[Curve]) -> Figure:
  """Measured points and the law over the steps, with residuals and the learning rate below."""
  every = [*((c, 'fitted', INK) for c in fitted), *((c, 'predicted', HELD) for c in held)]
  columns = min(COLUMNS, len(every))
  rows = -(-len(every) // columns)
  made = Figure(figsize=(4.2 * columns, 4.3 * rows), layout='constrained')
  outer = made.add_gridspec(rows, columns)
  worst = max(np.max(np.abs(c.loss - found.predict(c.rate, c.step))) for c, _, _ in every)
  for place, (curve, kind, colour) in enumerate(every):
    inner = outer[place // columns, place % columns].subgridspec(3, 1, height_ratios=(5, 2, 1.2),
                                                                 hspace=0.04)
    top = made.add_subplot(inner[0])
    middle, bottom = (made.add_subplot(inner[i], sharex=top) for i in (1, 2))
    order = np.argsort(curve.step)
    step, loss = curve.step[order], curve.loss[order]
    dense = np.unique(np.linspace(step[0], len(curve.rate) - 1, 400).astype(int))
    top.plot(step, loss, '.', color=FAINT, markersize=3.5, label='measured')
    top.plot(dense, found.predict(curve.rate, dense), color=colour, linewidth=1.3, label=kind,
             linestyle='-' if kind == 'fitted' else '--')
    error = found.predict(curve.rate, step) - loss
    middle.axhline(0, color=FAINT, linewidth=0.8)
    middle.plot(step, error, '.', color=colour, markersize=2.5)
    middle.set_ylim(-1.1 * worst, 1.1 * worst)
    bottom.plot(np.arange(len(curve.rate)), curve.rate, color=INK, linewidth=1)
    bottom.set_ylim(0, None)
    top.set_title(f'{curve.name}: {kind}')
    top.annotate(f'mean |error| {found.score(curve)["mae"]:.4f}', (0.97, 0.72), ha='right',
                 xycoords='axes fraction', fontsize=8.5, color=INK)
    top.legend(loc='upper right')
    for axes in (top, middle):
      axes.tick_params(labelbottom=False)
    bottom.set_xlabel('updates')
    bottom.xaxis.set_major_formatter(lambda v, _: number(v))
    bottom.yaxis.set_major_formatter(lambda v, _: f'{v:.0e}' if v else '0')
    if place % columns == 0:
      top.set_ylabel(LOSS)
      middle.set_ylabel('law - loss')
      bottom.set_ylabel('rate')
  made.align_ylabels()
  return made


@styled
def save(path: str, found: CurveFit, fitted: Sequence[Curve], held: Sequence[Curve]) -> None:
  """Writes the picture; the format is the file's ending. InputError for an unknown one."""
  from scaling.errors import bad
  if not (fitted or held):
    raise bad('--plot', path, 'there is no curve to draw')
  try:
    figure(found, fitted, held).savefig(path, dpi=150)
  except ValueError as error:
    raise bad('--plot', path, ' '.join(str(error).split())) from None
