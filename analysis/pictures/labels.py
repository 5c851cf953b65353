"""Words and numbers on pictures and in tables: what an input is called, 1.64M, 3.2e21."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib import ticker

LABELS = {
    'N': 'parameters N', 'N_nonembedding': 'non-embedding parameters', 'D': 'training tokens D',
    'N_average': 'average parameters', 'N_v': 'vocabulary parameters', 'N_e': 'encoder parameters',
    'N_nv': 'non-vocabulary parameters', 'N_d': 'decoder parameters', 'C': 'training FLOPs C',
    'r': 'share of the domain r', 'V': 'vocabulary size V', 'H': 'training characters H',
    'U': 'unique tokens U', 'S': 'steps S', 'B': 'batch B, tokens', 'experts': 'experts',
    'step': 'step', 'k1': 'domain coefficient K1', 'k2': 'domain coefficient K2',
    'k3': 'domain coefficient K3', 'p': 'sampling share p', 'M': 'tokens per parameter M',
    'n': 'training set size n', 'lr': 'learning rate', 'loss': 'loss, nats per token',
    'L': 'loss L, nats per token', 'task_loss': 'task loss, nats per token',
    'S_min': 'least steps S_min', 'B_crit': 'critical batch, tokens', 'x': 'size x'}
LOSS = 'loss, nats per token'
OUTPUTS = {
    'loss': LOSS, 'loss_unigram': 'unigram-normalised loss, nats per token',
    'bits_per_byte': 'bits per byte', 'bleu': 'BLEU'}


def label(name: str) -> str:
  """What an input is called on an axis."""
  return LABELS.get(name, plain(name))


def output(name: str) -> str:
  """What a law's output is called on an axis, with its unit if it has one."""
  return OUTPUTS.get(name) or LABELS.get(name) or plain(name.replace('_', ' '))


def plain(text: str) -> str:
  """A name as text that matplotlib neither parses nor lacks the letters of."""
  return text.encode('ascii', 'replace').decode().replace('$', r'\$')


def number(value: float, digits: int = 3) -> str:
  """1.2k, 36.9k, 1.64M, 7B: at most three digits that matter, or as many as asked for."""
  if not np.isfinite(value):
    return 'n/a'
  for size, unit in ((1e12, 'T'), (1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
    if abs(value) >= 0.9995 * size:
      return f'{value / size:.{digits}g}{unit}' if abs(value) < 1e15 else power(value)
  return f'{value:.{digits}g}'


def numbers(values: Iterable[float]) -> list[str]:
  """The same for several values, with as many digits as tell them apart."""
  values = [float(v) for v in values]
  for digits in range(3, 13):
    said = [number(v, digits) for v in values]
    if len(set(said)) == len(set(values)):
      break
  return said


def power(value: float) -> str:
  """1e20, 3.2e21: short scientific notation."""
  mantissa, exponent = f'{value:.2e}'.split('e')
  return f'{float(mantissa):g}e{int(exponent)}'


class Plain(ticker.Formatter):
  """Ticks of a linear axis in one unit, with as many digits as tell them apart."""

  def format_ticks(self, values: Any) -> list[str]:
    values = np.asarray(values, float)
    if not len(values):
      return []
    top = np.max(np.abs(values))
    step = np.min(np.diff(np.unique(values))) if len(np.unique(values)) > 1 else top or 1.0
    if top >= 1e15 or 0 < top < 1e-3:
      digits = int(np.clip(np.floor(np.log10(top)) - np.floor(np.log10(step)), 0, 8))
      return [f'{v:.{digits}e}' if v else '0' for v in values]
    unit, name = next(((u, n) for u, n in ((1e12, 'T'), (1e9, 'B'), (1e6, 'M'), (1e3, 'k'))
                       if top >= u), (1.0, ''))
    digits = int(np.clip(np.ceil(-np.log10(step / unit) - 1e-6), 0, 9))
    while digits < 9 and np.any(np.abs(np.round(values / unit, digits) * unit - values)
                                > 0.02 * step):
      digits += 1
    said = [f'{v / unit:.{digits}f}{name}' if v or not name else '0' for v in values]
    if max(map(len, said)) > 7:  # long ones would touch
      said[1::2] = [''] * len(said[1::2])
    return said

  def __call__(self, x: float, pos: int | None = None) -> str:
    return number(x)
