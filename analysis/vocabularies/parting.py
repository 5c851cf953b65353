"""Where and why unigram-normalised loss and bits per byte choose different vocabularies.

With T tokens on B bytes of validation text, t = T / B, CE the loss and H_u the unigram model's
cross-entropy (both nats per token under that vocabulary),

  L_u = CE - H_u          bits per byte = t CE / ln 2 = t (L_u + H_u) / ln 2

so that bits are what a unigram code of the tokens costs, t H_u / ln 2, less what the model gains on
it, -t L_u / ln 2. A larger vocabulary raises H_u and lowers t, whatever the model does. Where L_u
is least its slope is zero and that of ln bits in ln V is

  H_u' / CE + t' / t

per unit of ln V: the metrics agree where this is zero; while it is negative, bits go on falling.
Per character instead of per byte everything is multiplied by the bytes of a character.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.vocabularies import slices
from analysis.vocabularies.runs import Runs

LN2 = np.log(2)
COLUMNS = ('V', 'loss_unigram', 'unigram', 'loss', 'tokens_per_byte', 'bits_per_byte',
           'unigram_bits', 'gain_bits')


def decomposition(runs: Runs) -> dict[str, Any]:
  """A row a vocabulary of the largest size that has slices at equal compute, at one of them.

  The slice is the middle one of those with the most vocabularies; without any, the longest text of
  the largest size. rows: COLUMNS, means over seeds. best: the V of least L_u and bits among them.
  slope: d ln bits / d ln V around the V of least L_u by its neighbours, from H_u (`unigram`), from
  t (`tokens`) and from what L_u itself changes (`model`); None at an end.
  """
  cuts = slices.slices(runs, 'loss_unigram')
  if cuts:
    own = [s for s in cuts if s.N_nv == max(s.N_nv for s in cuts)]
    own = [s for s in own if len(s.V) == max(len(s.V) for s in own)]
    cut = own[len(own) // 2]
    size, at = cut.N_nv, f'{cut.C:.4g} FLOPs'
    losses = [float(cut.loss[cut.at == i].mean()) for i in range(len(cut.V))]
    known = dict(zip(map(float, cut.V), losses))
  else:
    size = max(runs.scale.sizes)
    text = float(runs.H[runs.N_nv == size].max())
    used = (runs.N_nv == size) & (np.abs(np.log(runs.H / text)) < 0.02)  # a text ends with a step
    at = f'{text:.4g} characters'
    known = {float(V): float(runs.losses['loss_unigram'][used & (runs.V == V)].mean())
             for V in np.unique(runs.V[used])}
  rows = []
  for V, L_u in known.items():
    same = runs.V == V
    H_u, t = float(runs.unigram[same].mean()), float(runs.tokens_per_byte[same].mean())
    rows.append(dict(zip(COLUMNS, map(float, (V, L_u, H_u, L_u + H_u, t, t * (L_u + H_u) / LN2,
                                              t * H_u / LN2, -t * L_u / LN2)))))
  best = {m: rows[int(np.argmin([row[m] for row in rows]))]['V']
          for m in ('loss_unigram', 'bits_per_byte')}
  return {'N_nv': size, 'at': at, 'rows': rows, 'best': best,
          'slope': _slope(rows, best['loss_unigram'])}


def _slope(rows: list[dict[str, float]], V: float) -> dict[str, float] | None:
  i = [row['V'] for row in rows].index(V)
  if i in (0, len(rows) - 1):
    return None
  low, high = rows[i - 1], rows[i + 1]
  step, middle = np.log(high['V'] / low['V']), rows[i]['loss']
  return {'unigram': float((high['unigram'] - low['unigram']) / step / middle),
          'model': float((high['loss_unigram'] - low['loss_unigram']) / step / middle),
          'tokens': float(np.log(high['tokens_per_byte'] / low['tokens_per_byte']) / step)}


def said(found: dict[str, Any]) -> str:
  """The same in a sentence or two."""
  best, slope = found['best'], found['slope']
  text = (f'at N_nv {found["N_nv"]:.4g} and {found["at"]} the runs have their least '
          f'L_u at V {best["loss_unigram"]:g} and their least bits per byte at V '
          f'{best["bits_per_byte"]:g}')
  if slope is None:
    return text + '; the first is an end of those tried'
  total = sum(slope.values())
  return text + (f'; around the first, a step in ln V changes ln bits by {total:+.3f}: '
                 f'{slope["unigram"]:+.3f} since the unigram entropy moves, {slope["tokens"]:+.3f} '
                 f'since the text is fewer tokens, {slope["model"]:+.3f} by L_u itself')
