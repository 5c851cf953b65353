"""One lane's data: a run's specs and its token stores made into batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from scaling.data import mixture, sampler, token_store
from scaling.data.token_store import TokenStore
from scaling.errors import bad
from scaling.specs import RunSpec


class Feed:
  """The training batches and evaluation windows of one run; it holds no state of its own.

  Raises InputError where a store cannot give what the spec asks: a domain without a store, another
  vocabulary, another fingerprint, more unique tokens than there are, no whole window.
  """

  def __init__(self, spec: RunSpec, stores: Mapping[str, TokenStore],
               inherited: Mapping[str, int] | None = None):
    """`inherited`: sequences that the run's ancestors drew, by domain; it reads on after them."""
    self.spec = spec
    self.names = mixture.names(spec.data)
    missing = [name for name in self.names if name not in stores]
    if missing:
      raise bad('data.domains', missing[0], f'there is no token store of it, only {sorted(stores)}')
    self.stores = [stores[name] for name in self.names]
    self._start = tuple((inherited or {}).get(name, 0) for name in self.names)
    self.windows = tuple(self._windows(name, stores[name]) for name in self.names)
    size = spec.data.block_characters
    self._blocks = None if size is None else [
        block_ends(store, size, spec.data.length, count)
        for store, count in zip(self.stores, self.windows)]

  def _windows(self, name: str, store: TokenStore) -> int:
    data, field = self.spec.data, f'data.domains.{name}'
    domain = data.domains[name]
    if store.vocab_size != data.vocab_size:
      raise bad('data.vocab_size', data.vocab_size,
                f'the token store of {name} has {store.vocab_size} ({store.tokenizer})')
    if domain.fingerprint and domain.fingerprint != store.fingerprint:
      raise bad(f'{field}.fingerprint', domain.fingerprint,
                f'the token store in {store.path} has {store.fingerprint}')
    if domain.unique_tokens is not None and domain.unique_tokens > store.count('train'):
      raise bad(f'{field}.unique_tokens', domain.unique_tokens,
                f'its training split has {store.count("train")} tokens')
    count = store.windows('train', data.length, domain.unique_tokens)
    if (domain.weight > 0 or domain.late_weight) and count < 1:
      tokens = min(domain.unique_tokens or store.count('train'), store.count('train'))
      raise bad('data.length', data.length,
                f'the {tokens} training tokens of {name} hold no window of length + 1')
    return max(count, 0)

  def start(self) -> tuple[int, ...]:
    """`drawn` before the first step: zeros, or what was inherited."""
    return self._start

  def after(self, start: Sequence[int]) -> Feed:
    """The same feed for a run whose ancestors drew `start`, in the order of `names`; (): none."""
    if not start:
      return self
    found = copy.copy(self)
    found._start = tuple(start)
    return found

  def take(self, first_step: int, count: int, drawn: Sequence[int],
           rows: slice = slice(None)) -> tuple[np.ndarray, tuple[int, ...]]:
    """The batches of steps first_step, ..., first_step + count - 1.

    Args:
      first_step: 0-based.
      count: K.
      drawn: sequences taken so far of each domain, in the order of `names`.
      rows: the part of every batch to read, so that a host reads its share only.

    Returns:
      tokens int32 [K, B, L + 1] (inputs and targets overlap), and `drawn` after these steps.
    """
    domain, start, after = self.indices(first_step, count, drawn)
    domain, start = domain[:, rows], start[:, rows]
    length = self.spec.data.length
    tokens = np.empty((*domain.shape, length + 1), np.int32)
    for m, store in enumerate(self.stores):
      chosen = domain == m
      if chosen.any():
        tokens[chosen] = store.read_at('train', start[chosen], length)
    return tokens, after

  def indices(self, first_step: int, count: int, drawn: Sequence[int],
              ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Where `take` reads: int32 [K, B] which of `stores`, int64 [K, B] the first token in its
    training split, and `drawn` after these steps."""
    data = self.spec.data
    steps = np.arange(first_step, first_step + count)
    domain, window, after = sampler.draw(
        self.spec.seed, mixture.weights(data, steps, self.spec.steps), data.batch, drawn,
        self.windows, self.names, self._start,
        data.batch * mixture.sums(data, steps, self.spec.steps), self._blocks)
    return domain, token_store.start(window, data.length), after

  def eval_text(self, domain: str, characters: float) -> np.ndarray:
    """int32 [W, L + 1]: the first documents of `valid` that hold so many characters, every token a
    target once; -1 where the last window has no more."""
    store = self.stores[self.names.index(domain)]
    if characters > store.characters('valid'):
      raise bad('evaluation.characters', characters,
                f'the valid split of {domain} has {store.characters("valid"):,} characters')
    return store.text_windows('valid', store.first_documents('valid', characters)[1],
                              self.spec.data.length)

  def eval_windows(self, domain: str, wanted: int) -> np.ndarray:
    """int32 [W, L + 1]: the first `wanted` windows of the domain's `valid` split."""
    store, length = self.stores[self.names.index(domain)], self.spec.data.length
    there = store.windows('valid', length)
    if there < wanted:
      raise bad('evaluation.windows', wanted,
                f'the valid split of {domain} has {there} windows of {length} tokens')
    return store.read('valid', np.arange(wanted), length)

  def seen(self, drawn: Sequence[int]) -> dict[str, dict[str, float]]:
    """What a run with these counts has been trained on, by domain.

    tokens: D, predicted tokens; unique: U, those of distinct windows; epochs: passes over the
    domain; characters and bytes: D times the training split's mean per token; characters read block
    by block are counted by the store's index. What its ancestors drew is not counted.
    """
    length, found = self.spec.data.length, {}
    own = [d - start for d, start in zip(drawn, self._start, strict=True)]
    for name, store, taken, windows in zip(self.names, self.stores, own, self.windows):
      tokens = taken * length
      found[name] = {
          'tokens': tokens,
          'unique': min(taken, windows) * length,
          'characters': tokens * store.characters('train') / store.count('train'),
          'bytes': tokens * store.bytes('train') / store.count('train'),
          'epochs': taken / windows if windows else 0.0,
      }
    if self._blocks is not None:
      for name, store, start, end, windows in zip(self.names, self.stores, self._start, drawn,
                                                  self.windows):
        if end > start:
          found[name]['characters'] = (_characters(store, end, windows, length)
                                       - _characters(store, start, windows, length))
    return found


def block_ends(store: TokenStore, characters: float, length: int, windows: int) -> np.ndarray:
  """int64, increasing to `windows`: the window that each block of so many characters ends before.

  A block's end in characters falls within half a window of its end in windows.
  """
  count = int(store.characters('train') // characters)
  ends = [round(store.tokens_for_characters('train', i * characters) / length)
          for i in range(1, count + 1)]
  return np.unique([*(end for end in ends if 0 < end < windows), windows]).astype(np.int64)


def _characters(store: TokenStore, drawn: int, windows: int, length: int) -> float:
  """Characters in the first `drawn` windows of a domain that is read in order, block by block."""
  epochs, rest = divmod(drawn, windows)
  return (epochs * store.characters_before('train', windows * length)
          + store.characters_before('train', rest * length))
