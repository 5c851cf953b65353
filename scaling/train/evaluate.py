"""Evaluation: from sums of -log p over fixed windows to one line of `curve.jsonl`.

For a domain with validation windows w = 1..W of L targets each, T = W L tokens and b UTF-8 bytes:

  loss           sum_w nll_w / T                       nats per token
  loss_se        std(nll_w / L) / sqrt(W)              its standard error over windows (of L_w
                                                       targets, the last may have fewer)
  bits_per_byte  sum_w nll_w / (ln 2 * b)
  loss_unigram   loss - u / T                          u = sum of -log p(token) under the unigram
                                                       shares of the domain's training split

loss_along, at the end of a run that is evaluated on more windows there, is the loss on those used
before, which its earlier losses can be compared with.

loss_unigram is the unigram-normalised loss of Tao et al. 2024 (arXiv 2407.13623, section 2), which
can be compared across vocabularies; tokens that the training split never holds add nothing to u,
and their share of the windows is `unseen`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling import accounting, pruning
from scaling.data import mixture
from scaling.data.feed import Feed
from scaling.optim import schedules
from scaling.specs import RunSpec
from scaling.stages import NOTHING, Before

# Train losses are summed as integers of 2**-40 nats: such a sum is exact, so it does not depend on
# where a run was cut into pieces.
LOSS_UNIT = 2.0**-40


class Windows:
  """The validation windows of one domain, and what they hold whatever the model says.

  The first `count` of them, or those that cover `characters` of its text. key: names them, so that
  lanes which share them are evaluated at once.
  """

  def __init__(self, feed: Feed, domain: str, count: int, along: int | None = None,
               characters: float | None = None):
    """`along`: how many of them are used during the run, where these are those of its end."""
    store = feed.stores[feed.names.index(domain)]
    self._along = along
    if characters is None:
      self.key = f'{store.fingerprint}/{count}'
      self.tokens_WxL1 = feed.eval_windows(domain, count)
      targets = self.tokens_WxL1[:, 1:]
    else:
      self.key = f'{store.fingerprint}/{characters} characters'
      self.tokens_WxL1 = feed.eval_text(domain, characters)
      targets = self.tokens_WxL1[:, 1:]
      targets = targets[targets >= 0]
    self.tokens = targets.size
    self.bytes = int(store.token_bytes[targets].sum())
    self.unigram = math.fsum(store.unigram_nll[targets].ravel())
    self.unseen = float(1 - store.seen[targets].mean())

  def metrics(self, nll_W: np.ndarray) -> dict[str, float]:
    """The formulas above from the windows' sums of -log p (float32, summed in float64)."""
    nll_W = np.asarray(nll_W, np.float64)
    total = math.fsum(nll_W)
    count, length = len(nll_W), self.tokens_WxL1.shape[1] - 1
    each = length if self.tokens == count * length else (self.tokens_WxL1[:, 1:] >= 0).sum(axis=1)
    spread = float(np.std(nll_W / each, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    found = {} if self._along is None else {
        'loss_along': math.fsum(nll_W[:self._along]) / (self._along * length)}
    return found | {
        'loss': total / self.tokens,
        'loss_se': spread,
        'bits_per_byte': total / (math.log(2) * self.bytes),
        'loss_unigram': (total - self.unigram) / self.tokens,
        'unseen': self.unseen,
    }


def curve_line(spec: RunSpec, feed: Feed, step: int, drawn: tuple[int, ...],
               loss_sum: int, loss_count: int, metrics: Mapping[str, Mapping[str, float]],
               before: Before = NOTHING) -> dict[str, Any]:
  """One evaluation, with every convention of size and compute (docs/formats.md).

  `before`: what the run's ancestors took, which the totals count.
  """
  model, data = spec.model, spec.data
  N, inner = accounting.parameters(model, data.vocab_size), accounting.non_embedding(model)
  counts = pruning.counts(spec.sparsity, model, spec.steps)
  gone: float = 0  # of the weights: the mean over the updates so far of those pruned
  average: float = 1  # and of the density
  if counts.steps:
    mean = counts.total(step) / step
    gone, average = counts.whole - mean, mean / counts.whole
  seen = feed.seen(drawn)
  D = step * data.tokens_per_step
  C = accounting.flops_6n(1) * (N - gone) * D
  shares = dict(zip(feed.names, mixture.weights(data, np.array([step - 1]), spec.steps)[0].tolist(),
                    strict=True))
  return {
      'step': step,
      'lr': float(schedules.of_run(spec, step - 1)),
      'N': N, 'N_nonembedding': inner, 'N_average': N - gone,
      'N_average_nonembedding': inner - gone,
      'N_nonzero': inner - counts.whole + counts.at(step),
      'N_final': inner - counts.whole + counts.final, 'density': counts.at(step) / counts.whole,
      'N_v': accounting.vocabulary(model, data.vocab_size), 'V': data.vocab_size,
      'D': D, 'D_total': D + before.tokens, 'C': C, 'C_total': C + before.flops,
      'C_counted': accounting.counted_flops(model, data.vocab_size, data.length,
                                            density=average) * D,
      'H': sum(s['characters'] for s in seen.values()),
      'U': sum(s['unique'] for s in seen.values()),
      'B': data.tokens_per_step,
      'train_loss': loss_sum * LOSS_UNIT / loss_count if loss_count else None,
      'domains': {
          name: {**metrics[name], 'r': shares[name], 'D': seen[name]['tokens'],
                 'characters': seen[name]['characters'], 'bytes': seen[name]['bytes'],
                 'epochs': seen[name]['epochs']}
          for name in sorted(metrics)},
  }
