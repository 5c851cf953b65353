"""The pictures of a vocabulary study: the best vocabulary against compute and size, by the three
approaches; the losses at equal compute that the first is read from; where the two metrics part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures import drawing
from analysis.pictures.drawing import FAINT, FITTED, HELD, INK, Key
from analysis.pictures.labels import label, number, output
from analysis.vocabularies import saved, study
from analysis.vocabularies.approaches import NAMES
from analysis.vocabularies.runs import Scale

LOOKS = {'isoflop': (FITTED, '-'), 'derivative': ('#009E73', (0, (5, 1.5))),
         'parametric': (INK, (0, (1, 1.2)))}
SLICES = 5  # drawn


@drawing.styled
def draw(values: Mapping[str, Any], metric: str) -> Figure:
  """Four panels of fit.json under one metric."""
  figure, panels = drawing.panels(4, height=3.9, columns=2)
  against_compute(panels[0], values, metric)
  against_size(panels[1], values, metric)
  at_equal_compute(panels[2], values, metric)
  parted(panels[3], values)
  figure.suptitle(f'Best vocabulary by {output(metric)}', fontsize=11)
  return figure


def against_compute(axes: Axes, values: Mapping[str, Any], metric: str) -> None:
  """V against C along C = const N_nv^2; the minima of every size at its own budgets."""
  scale = Scale.of_dict(values['scale'])
  _approaches(axes, values, metric, 'C', lambda row, V: V)
  good = [m for m in values['metrics'][metric]['minima'] if not m['why']]
  key = Key([m['N_nv'] for m in good] or scale.sizes)
  for size in sorted({m['N_nv'] for m in good}):
    own = [m for m in good if m['N_nv'] == size]
    axes.plot([m['C'] for m in own], [m['V'] for m in own], key.marker(size), ms=4, mfc='none',
              color=key.colour(size), label=f'minima, N_nv {number(size)}')
  for edge in scale.ranges['V']:
    axes.axhline(edge, color=FAINT, lw=0.8, ls=':')
  axes.set_ylabel(label('V'))
  axes.set_title('against compute (dotted: tried)')
  axes.legend(fontsize=7)


def against_size(axes: Axes, values: Mapping[str, Any], metric: str) -> None:
  """N_v against N_nv along the same budgets."""
  _approaches(axes, values, metric, 'N_nv', lambda row, V: V * row['d'])
  axes.set_ylabel(label('N_v'))
  axes.set_title('against size, along the same budgets')
  axes.legend(fontsize=7)


def at_equal_compute(axes: Axes, values: Mapping[str, Any], metric: str) -> None:
  """Losses against V at several budgets of the size with the most minima, which are marked."""
  one = values['metrics'][metric]
  pairs = list(zip(one['slices'], one['minima']))
  axes.set_ylabel(output(metric))
  axes.set_xlabel(label('V'))
  if not pairs:
    axes.set_title('no budget that four vocabularies reach')
    return
  sizes = sorted({s['N_nv'] for s, _ in pairs})
  size = max(sizes, key=lambda n: sum(s['N_nv'] == n and not m['why'] for s, m in pairs))
  own = [pair for pair in pairs if pair[0]['N_nv'] == size]
  own = [own[i] for i in np.unique(np.linspace(0, len(own) - 1, SLICES).round().astype(int))]
  key = Key([s['C'] for s, _ in own])
  for cut, best in own:
    V = np.unique(cut['V'])
    loss = [np.mean([y for v, y in zip(cut['V'], cut['loss']) if v == at]) for at in V]
    axes.plot(V, loss, marker='o', ms=3, lw=1, color=key.colour(cut['C']),
              label=f'{cut["C"]:.2g} FLOPs')
    if not best['why']:
      axes.plot([best['V']], [best['loss']], '*', ms=9, color=HELD, zorder=4)
  drawing.log_axis(axes, 'x', [v for cut, _ in own for v in cut['V']])
  axes.set_title(f'at equal compute, N_nv {number(size)} (stars: minima)')
  axes.legend(fontsize=7)


def parted(axes: Axes, values: Mapping[str, Any]) -> None:
  """Bits per byte against V, and what they are made of."""
  found = values['parting']
  rows = found['rows']
  V = [row['V'] for row in rows]
  for name, words, colour, style in (
      ('unigram_bits', 'unigram code of the tokens, t H_u / ln 2', FITTED, '--'),
      ('gain_bits', 'gain on it, -t L_u / ln 2', '#009E73', ':'),
      ('bits_per_byte', 'bits per byte, their difference', INK, '-')):
    axes.plot(V, [row[name] for row in rows], marker='o', ms=3, lw=1.4, label=words, color=colour,
              ls=style)
  for metric, colour in (('loss_unigram', HELD), ('bits_per_byte', FAINT)):
    axes.axvline(found['best'][metric], color=colour, lw=1,
                 label=f'least {"L_u" if metric == "loss_unigram" else "bits per byte"}')
  drawing.log_axis(axes, 'x', V)
  axes.set_xlabel(label('V'))
  axes.set_ylabel('bits per byte')
  axes.set_title(f'where they part: N_nv {number(found["N_nv"])}, {found["at"]}')
  axes.legend(fontsize=7)


def _approaches(axes: Axes, values: Mapping[str, Any], metric: str, x: str, y: Any) -> None:
  scale, known = Scale.of_dict(values['scale']), saved.known(values, metric)
  n, C = study.along(scale, 25)
  rows = study.table(known, scale, n, C, values['level'])
  at = np.array([row[x] for row in rows])
  drawn: list[float] = []
  for name in NAMES:
    if name not in known:
      axes.plot([], [], ' ', label=f'{name}: no answer')
      continue
    colour, style = LOOKS[name]
    best = [np.nan if row[name]['V'] is None else y(row, row[name]['V']) for row in rows]
    axes.plot(at, best, color=colour, ls=style, lw=1.6, label=name)
    drawn += best
    if rows[0][name]['interval'] is not None:
      low, high = (np.array([np.nan if row[name]['interval'][i] is None
                             else y(row, row[name]['interval'][i]) for row in rows])
                   for i in (0, 1))
      axes.fill_between(at, low, high, color=colour, alpha=0.13, lw=0)
      drawn += [*low, *high]
  drawing.log_axis(axes, 'x', at)
  drawing.log_axis(axes, 'y', drawn)
  axes.set_xlabel(f'{label(x)}, along C = e^{scale.ln_k:.3g} N_nv^2')
