"""Evaluation: from sums of -log p over fixed windows to one line of `curve.jsonl`.

For a domain with validation windows w = 1..W of L targets each, T = W L tokens and b UTF-8 bytes:

  loss           sum_w nll_w / T                       nats per token
  loss_se        std(nll_w / L) / sqrt(W)              its standard error over windows
  bits_per_byte  sum_w nll_w / (ln 2 * b)
  loss_unigram   loss - u / T                          u = sum of -log p(token) under the unigram
                                                       shares of the domain's training split

loss_unigram is the unigram-normalised loss of Tao et al. 2024 (arXiv 2407.13623, section 2), which
can be compared across vocabularies; tokens that the training split never holds add nothing to u,
and their share of the windows is `unseen`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling import accounting
from scaling.data.feed import Feed
from scaling.optim import schedules
from scaling.specs import RunSpec

# Train losses are summed as integers of 2**-40 nats: such a sum is exact, so it does not depend on
# where a run was cut into pieces.
LOSS_UNIT = 2.0**-40


class Windows:
  """The validation windows of one domain, and what they hold whatever the model says."""

  def __init__(self, feed: Feed, domain: str):
    store = feed.stores[feed.names.index(domain)]
    self.tokens_WxL1 = feed.eval_windows(domain)
    targets = self.tokens_WxL1[:, 1:]
    self.tokens = targets.size
    self.bytes = int(store.token_bytes[targets].sum())
    self.unigram = math.fsum(store.unigram_nll[targets].ravel())
    self.unseen = float(1 - store.seen[targets].mean())

  def metrics(self, nll_W: np.ndarray) -> dict[str, float]:
    """The formulas above from the windows' sums of -log p (float32, summed in float64)."""
    nll_W = np.asarray(nll_W, np.float64)
    total = math.fsum(nll_W)
    count, length = len(nll_W), self.tokens // len(nll_W)
    spread = float(np.std(nll_W / length, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return {
        'loss': total / self.tokens,
        'loss_se': spread,
        'bits_per_byte': total / (math.log(2) * self.bytes),
        'loss_unigram': (total - self.unigram) / self.tokens,
        'unseen': self.unseen,
    }


def curve_line(spec: RunSpec, feed: Feed, step: int, drawn: tuple[int, ...],
               loss_sum: int, loss_count: int, metrics: Mapping[str, Mapping[str, float]]
               ) -> dict[str, Any]:
  """One evaluation, with every convention of size and compute (docs/formats.md)."""
  model, data = spec.model, spec.data
  N = accounting.parameters(model, data.vocab_size)
  seen = feed.seen(drawn)
  D = step * data.tokens_per_step
  C = accounting.flops_6n(N) * D
  return {
      'step': step,
      'lr': float(schedules.learning_rate(spec.optim, spec.steps, step - 1)),
      'N': N, 'N_nonembedding': accounting.non_embedding(model), 'N_average': N,
      'N_v': accounting.vocabulary(model, data.vocab_size), 'V': data.vocab_size,
      'D': D, 'D_total': D, 'C': C, 'C_total': C,
      'C_counted': accounting.counted_flops(model, data.vocab_size, data.length) * D,
      'H': sum(s['characters'] for s in seen.values()),
      'U': sum(s['unique'] for s in seen.values()),
      'B': data.tokens_per_step,
      'train_loss': loss_sum * LOSS_UNIT / loss_count if loss_count else None,
      'domains': {
          name: {**metrics[name], 'r': spec.data.domains[name].weight, 'D': seen[name]['tokens'],
                 'characters': seen[name]['characters'], 'bytes': seen[name]['bytes'],
                 'epochs': seen[name]['epochs']}
          for name in sorted(metrics)},
  }
