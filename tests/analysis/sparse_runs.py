"""Tidy tables of sparse pre-training whose truth is known, without training anything."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.laws import average_parameters, chinchilla
from scaling.sparsity import Ramp

TRUTH = {'E': 1.9, 'A': 20.0, 'B': 900.0, 'alpha': 0.35, 'beta': 0.5}
SIZES = (20e3, 40e3, 80e3, 160e3)
STARTS = SIZES[2:]
TOKENS = (0.8e6, 2.4e6, 7.2e6)
EMBEDDING = 10e3
WINDOWS = ((0.25, 0.75), (0.0, 0.5), (0.5, 1.0), (0.1, 0.4))


def table(w: float, seeds: int = 3, noise: float = 0.002, seed: int = 0, windows=WINDOWS,
          sparsities=(0.2, 0.4, 0.6, 0.8), extra: bool = False) -> pd.DataFrame:
  """Runs whose loss is the law of N_w; with `extra` also static, dense after it, and low rank."""
  random = np.random.default_rng(seed)
  rows: list[dict] = []

  def add(kind: str, start: float, average: float, final: float, tokens: float, run: int,
          factor: float = 1.0, **also) -> None:
    size = float(average_parameters.weighted(w, start, average, final))
    loss = float(chinchilla.equation(TRUTH, {'N': size, 'D': tokens}))
    rows.append({
        'study': 'sparse', 'run_id': f'{len(rows)}', 'stage': 0, 'parent': None, 'seed': run,
        'state': 'done', 'final': True, 'lineage': f'{start:g}-{tokens:g}-{run}', 'kind': kind,
        'N': start + EMBEDDING, 'N_nonembedding': start, 'N_average': average + EMBEDDING,
        'N_average_nonembedding': average, 'N_nonzero': final, 'D': tokens, 'D_total': tokens,
        'C': 6 * (average + EMBEDDING) * tokens, 'C_total': 6 * (average + EMBEDDING) * tokens,
        'sparsity': 1 - final / start, 'schedule': 'geometric' if kind == 'sparse' else 'constant',
        'loss/python_docs': loss * factor * np.exp(noise * random.normal()), **also})

  for run in range(seeds):
    for tokens in TOKENS:
      for size in SIZES:
        add('dense', size, size, size, tokens, run)
      for start in STARTS:
        for s in sparsities:
          for a, b in windows if s == sparsities[-1] else windows[:1]:
            average = start * Ramp.of_compute(1.0, a, b, s).average()
            add('sparse', start, average, start * (1 - s), tokens, run, prune_start=a, prune_end=b)
      if extra:
        size = 0.25 * SIZES[3]
        add('static', SIZES[3], size, size, tokens, run, 1.01)
        add('dense', SIZES[3], SIZES[3], SIZES[3], tokens / 4, run, 1.03,
            parent=rows[-1]['run_id'], D_total=1.25 * tokens,
            C_total=6 * (size + SIZES[3] / 4 + 1.25 * EMBEDDING) * tokens)
        for kind, factor in (('lowrank', 1.05), ('sltrain', 1.02)):
          add(kind, size, size, size, tokens, run, factor)
  return pd.DataFrame(rows)
