"""The picture of a choice of mixture: each loss against the domain's share, the choice marked."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fit import BOOTSTRAP, Fit
from analysis.mixture import Choice
from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, HELD, INK, LABELS, LOSS, number

POINTS = 161
NEAR = {'N': 0.05, 'D': 0.15}  # in ln: which measured rows belong in the picture


@drawing.styled
def draw(found: Choice, domain: Fit, general: Fit | None) -> Figure:
  """Domain and general loss against r, or for an allocation the loss along the budget."""
  fits = {'domain': domain} | ({} if general is None else {'general': general})
  figure, panels = drawing.panels(len(fits), height=3.9)
  for axes, (name, fit) in zip(panels, fits.items()):
    if found.usage == 'allocation':
      _budget(axes, found, fit)
    else:
      _ratio(axes, found, name, fit)
    place = found.inputs['N' if found.usage == 'allocation' else 'r']
    loss = found.losses[name]['loss']
    axes.plot([place], [loss], 'o', color=HELD, ms=7, zorder=5)
    ends = found.intervals.get('N' if found.usage == 'allocation' else 'r')
    if ends:
      axes.plot(ends, [loss, loss], color=HELD, lw=2, alpha=0.7, zorder=4,
                solid_capstyle='butt')
    shown = number(place) if found.usage == 'allocation' else f'{place:.3f}'
    symbol = 'N' if found.usage == 'allocation' else 'r'
    rises = name == 'general'  # the words go where the curve does not
    axes.annotate(f'{symbol} = {shown}\nloss {loss:.3f}', (place, loss), (-6 if rises else 0, 14),
                  textcoords='offset points', ha='right' if rises else 'center', va='bottom',
                  color=HELD, fontsize=8.5, zorder=6,
                  bbox={'fc': 'white', 'ec': 'none', 'alpha': 0.8, 'pad': 1.0})
    axes.set_ylabel(LOSS)
    axes.set_title(f'{name} loss')
    axes.margins(y=0.18)
  return figure


def _ratio(axes: Axes, found: Choice, name: str, fit: Fit) -> None:
  seen = fit.inputs['r'] if name == 'domain' else 1 - fit.inputs['r']
  low, high = float(seen.min()), float(seen.max())
  if found.usage == 'limited_domain_data':  # D = D_d / r has no end as r goes to zero
    low = max(low, 0.02)
  r = np.linspace(low, high, POINTS)
  limited = found.usage == 'limited_domain_data'
  tokens = found.inputs['D'] * (found.inputs['r'] / r if limited else np.ones_like(r))
  x = {'N': np.full_like(r, found.inputs['N']), 'D': tokens, 'r': r if name == 'domain' else 1 - r}
  x = {k: x[k] for k in fit.law.inputs}
  _curve(axes, r, x, fit)
  if not limited:
    near = np.ones(len(fit.loss), bool)
    for k, width in NEAR.items():
      if k in fit.inputs:
        near &= np.abs(np.log(fit.inputs[k] / found.inputs[k])) <= width
    if near.any():
      axes.plot(seen[near], fit.loss[near], 's', color=INK, ms=4, mfc='none', zorder=3,
                label='runs near this N and D')
  if found.limit is not None and name == 'general':
    axes.axhline(found.limit, color=HELD, lw=1.2, ls='--', label='limit')
  of = f', D = {number(found.inputs["D"] * found.inputs["r"])} / r' if limited else ''
  axes.set_xlabel(f"domain's share of the mixture r{of}")
  axes.legend(loc='best')


def _budget(axes: Axes, found: Choice, fit: Fit) -> None:
  product = found.inputs['N'] * found.inputs['D']
  n = np.geomspace(found.inputs['N'] / 8, found.inputs['N'] * 8, POINTS)
  x = {'N': n, 'D': product / n, 'r': np.full_like(n, found.inputs['r'])}
  _curve(axes, n, {k: x[k] for k in fit.law.inputs}, fit)
  drawing.log_axis(axes, 'x', n)
  axes.set_xlabel(f'{LABELS["N"]}, at 6 N D = {6 * product:.3g} and r = {found.inputs["r"]:g}')
  axes.legend(loc='best')


def _curve(axes: Axes, place: np.ndarray, x: dict[str, np.ndarray], fit: Fit) -> None:
  axes.plot(place, fit.predict(x), color=INK, lw=1.6, label='law')
  if fit.interval_method is None:
    return
  few = slice(None) if fit.interval_method == BOOTSTRAP else slice(None, None, 8)  # profiles cost
  low, high = fit.interval({k: v[few] for k, v in x.items()}, 'confidence')
  axes.fill_between(place[few], low, high, color=FAINT, alpha=0.3, lw=0,
                    label=f'{100 * fit.level:g} % of the law')
