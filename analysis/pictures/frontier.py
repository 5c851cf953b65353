"""The picture of a compute-optimal frontier: the minima it rests on, and the line through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import Akima1DInterpolator

from analysis.frontiers.minima import Curve
from analysis.frontiers.optimum import Optimum
from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, HELD, INK, Key
from analysis.pictures.labels import OUTPUTS, label, number

KINDS = ('.png', '.svg', '.pdf')


@drawing.styled
def frontier(found: Optimum, flops: Sequence[float] = ()) -> Figure:
  """isoFLOP curves with their minima (or training curves with their envelope), and N* against C."""
  if found.approach == 'pairs':
    figure, (right,) = drawing.panels(1, width=6.2, height=4.4)
  else:
    figure, (left, right) = drawing.panels(2, width=13.4, height=4.6)
    (_budgets if found.approach == 'isoflop' else _curves)(left, found)
  _line(right, found, flops)
  return figure


def save(found: Optimum, flops: Sequence[float], path: str) -> None:
  """Draws to a file. Raises OSError if it cannot."""
  drawing.save(frontier(found, flops), path)


def _budgets(axes: Axes, found: Optimum) -> None:
  """Loss against N at every budget, with the fitted parabola or interpolant and its minimum."""
  key = Key([c.flops for c in found.budgets])
  minima = {m.flops: m for m in found.minima}
  for curve in found.budgets:
    m = minima.get(curve.flops)
    colour = FAINT if m is None else key.colour(curve.flops)
    if m is None:
      axes.plot(np.exp(curve.x), curve.loss, color=FAINT, lw=0.7, ls=':', marker='x', ms=4)
      continue
    n = np.exp(curve.x)
    used = (n >= m.window[0] * 0.999) & (n <= m.window[1] * 1.001)
    for these, alpha in ((used, 1.0), (~used, 0.35)):
      axes.plot(n[these], curve.loss[these], ls='none', marker='o', ms=4, color=colour, alpha=alpha,
                zorder=3)
    if m.parabola:
      low, high = m.window
      x = np.linspace(np.log(low), np.log(high), 120)
      axes.plot(np.exp(x), m.parabola[0] + x * (m.parabola[1] + x * m.parabola[2]), color=colour,
                lw=1.5)
    else:
      x = np.linspace(curve.x[0], curve.x[-1], 400)
      axes.plot(np.exp(x), np.exp(Akima1DInterpolator(curve.x, np.log(curve.loss))(x)),
                color=colour, lw=1.2)
    axes.plot(m.n, m.loss, marker='D', ms=6.5, color=HELD, mec='white', mew=0.8, zorder=5)
  sizes = np.exp(np.concatenate([c.x for c in found.budgets]))
  drawing.log_axis(axes, 'x', sizes)
  axes.set_ylim(*_loss_limits(found))
  axes.set_xlabel(label('N'))
  axes.set_ylabel(OUTPUTS['loss'])
  axes.set_title('Loss at equal compute')
  shown = [m.flops for m in found.minima[::-(-len(found.minima) // 6)]]
  handles = [axes.plot([], [], color=key.colour(c), marker='o', ms=4, lw=1.4)[0] for c in shown]
  names = [f'C = {c:.3g}' for c in shown]
  handles.append(axes.plot([], [], ls='none', marker='D', ms=6.5, color=HELD, mec='white')[0])
  names.append('minimum')
  if found.lost:
    handles.append(axes.plot([], [], ls=':', marker='x', ms=4, color=FAINT)[0])
    names.append('left out')
  axes.legend(handles, names, loc='upper left', bbox_to_anchor=(1.01, 1))


def _loss_limits(found: Optimum) -> tuple[float, float]:
  """Around the minima: what diverges far above them would flatten every parabola."""
  least = [m.loss for m in found.minima]

  def reach(curve: Curve) -> float:
    low = int(np.argmin(curve.loss))
    return float(np.max(curve.loss[max(low - 3, 0):low + 4]))

  top = max(reach(c) for c in found.budgets)
  margin = 0.06 * (top - min(least))
  return min(least) - margin, top + margin


def _curves(axes: Axes, found: Optimum) -> None:
  """Training curves by size, and the lowest of them."""
  made = found.envelope
  assert made is not None
  key = Key(np.exp(made.ln_n))
  c = np.exp(made.ln_c)
  for size, loss in zip(made.ln_n, made.ln_loss):
    axes.plot(c, np.exp(np.where(np.isfinite(loss), loss, np.nan)), lw=1.2,
              color=key.colour(float(np.exp(size))))
  whole, lowest = made.steps()
  low = np.exp(made.ln_loss[lowest, np.arange(len(c))])
  axes.plot(c, np.where(whole, low, np.nan), color=HELD, lw=2.6, zorder=5)
  drawing.log_axis(axes, 'x', c)
  axes.xaxis.set_major_formatter(lambda v, _: f'{v:.0e}')
  finite = low[np.isfinite(low)]
  axes.set_ylim(finite.min() - 0.05 * np.ptp(finite), finite.max() + 0.05 * np.ptp(finite))
  axes.set_xlabel(label('C'))
  axes.set_ylabel(OUTPUTS['loss'])
  axes.set_title('Training curves and their envelope')
  handles = [axes.plot([], [], color=key.colour(s), lw=2)[0] for s in key.shown]
  names = [f'N = {number(s)}' for s in key.shown]
  handles.append(axes.plot([], [], color=HELD, lw=2.6)[0])
  axes.legend(handles, [*names, 'lowest, whole steps'], loc='upper left',
              bbox_to_anchor=(1.01, 1))


def _line(axes: Axes, found: Optimum, flops: Sequence[float]) -> None:
  """Optimal N against C: points with their intervals, the line, its band, and predictions."""
  shown = found.to_dict()
  if found.envelope is not None:
    whole, lowest = found.envelope.steps()
    c = np.exp(found.envelope.ln_c)[whole]
    n = np.exp(found.envelope.ln_n[lowest[whole]])
    axes.plot(c, n, ls='none', marker='.', ms=3, color=INK, label='lowest size')
  else:
    c, n = (np.array([m[k] for m in shown['minima']]) for k in ('C', 'N'))
    if found.pairs:
      ends = n * np.exp(np.outer([-1, 1], found.pairs['std']))
      said = 'optimal pairs, one standard deviation'
    else:
      ends = np.array([m['interval_N'] for m in shown['minima']]).T
      said = f'minima, {100 * found.level:g} %'
    away = np.maximum(np.stack([n - ends[0], ends[1] - n]), 0)
    axes.errorbar(c, n, yerr=away, fmt='D', ms=5, color=HELD, mec='white', mew=0.6, ecolor=HELD,
                  elinewidth=1.1, capsize=2, zorder=4, label=said)
  every, sizes = np.append(c, flops), [*n]
  if found.n_line is not None:
    at = np.geomspace(every.min() / 1.6, every.max() * 1.6, 120)
    answers = [found.predict(float(v)) for v in at]
    slope = found.n_line.slope
    axes.plot(at, [a['N'] for a in answers], color=INK, lw=1.6, zorder=3,
              label=f'N = {found.n_line.predict(1.0):.3g} C^{slope:.3f}')
    if 'N' in answers[0]['intervals']:
      low, high = zip(*(a['intervals']['N'] for a in answers))
      axes.fill_between(at, low, high, color=INK, alpha=0.13, lw=0,
                        label=f'{100 * found.level:g} % interval')
      sizes += [min(low), max(high)]
    for k, budget in enumerate(flops):
      a = found.predict(budget)
      axes.plot(budget, a['N'], marker='s', ms=6, color='white', mec=INK, mew=1.3, zorder=6,
                ls='none', label='predicted' if k == 0 else None)
  drawing.log_axis(axes, 'x', every)
  axes.xaxis.set_major_formatter(lambda v, _: f'{v:.0e}')
  drawing.log_axis(axes, 'y', sizes)
  axes.set_xlabel(label('C'))
  axes.set_ylabel('compute-optimal N, parameters')
  axes.set_title('Frontier')
  axes.legend(loc='upper left')
