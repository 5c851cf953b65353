"""What a call of prepare asks for: which corpora, which tokenizer, where."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from scaling.data import build, corpora, token_store, tokenizers
from scaling.errors import bad


@dataclasses.dataclass(frozen=True)
class Job:
  """What a call asks for, checked."""

  root: str
  corpora: tuple[str, ...]
  tokenizer: str
  vocab_size: int
  trained_on: tuple[str, ...]  # empty unless the tokenizer is bpe
  paths: dict[str, tuple[str, ...]]  # of the corpora that are the user's own
  text_field: str = 'text'
  valid_share: float | None = None
  tokens: int = 8_000_000
  valid_tokens: int = 400_000

  @classmethod
  def of(cls, root: str, names: Sequence[str], tokenizer: str = 'bpe',
         vocab_size: int | None = None, trained_on: Sequence[str] | None = None,
         path: Sequence[str] = (), **more: Any) -> Job:
    """Raises InputError for what cannot be built, before anything is read."""
    if not names or not all(names):
      raise bad('--corpus', ','.join(names), f'give at least one of {", ".join(corpora.names())}')
    for name in [*names, *(trained_on or ())]:
      corpora.check_name(name)
    fixed = {'bytes': 256, 'symbols': len(tokenizers.SYMBOLS)}.get(tokenizer)
    size = vocab_size if vocab_size is not None else fixed or 512
    if fixed and size != fixed:
      raise bad('--vocab_size', size, f'the {tokenizer} tokenizer has exactly {fixed}')
    if size < 1:
      raise bad('--vocab_size', size, 'it must be positive')
    if trained_on and tokenizer != 'bpe':
      raise bad('--tokenizer_corpora', ','.join(trained_on), f'{tokenizer} is not trained')
    if (corpora.MARKOV in names) != (tokenizer == 'symbols') or (
        tokenizer == 'symbols' and len(names) > 1):
      raise bad('--tokenizer', tokenizer,
                f'--corpus={corpora.MARKOV}, alone, goes with symbols, and symbols with it')
    base = tuple(sorted(set(trained_on or names))) if tokenizer == 'bpe' else ()
    if corpora.MARKOV in base:
      raise bad('--tokenizer_corpora', corpora.MARKOV, 'it holds symbols, not text')
    share = more.get('valid_share')
    if share is not None and not 0 < share < 1:
      raise bad('--valid_share', share, 'it must lie between 0 and 1')
    own = sorted({*names, *base} - set(corpora.names()))
    return cls(root, tuple(sorted(set(names))), tokenizer, size, base,
               _paths(path, own), **more)

  @property
  def tokenizer_folder(self) -> str:
    name = token_store.tokenizer_name(self.tokenizer, self.vocab_size, self.trained_on)
    return os.path.join(self.root, name)

  @property
  def ascii_only(self) -> bool:
    """Whether the tokenizer is trained on ASCII text alone, and so needs no bytes."""
    return tokenizers.is_ascii(self.trained_on)

  @property
  def model(self) -> str:
    return os.path.join(self.tokenizer_folder, 'tokenizer.model')

  def target(self, corpus: str) -> str:
    return os.path.join(self.tokenizer_folder, corpus)

  def share(self, corpus: str) -> float:
    return corpora.valid_share(corpus) if self.valid_share is None else self.valid_share

  def source(self, corpus: str) -> dict[str, Any]:
    """What the store of a corpus is made from: its manifest's `source`."""
    if corpus == corpora.MARKOV:
      return build.markov_source(self.tokens, self.valid_tokens)
    found = corpora.source(corpus, self.paths.get(corpus, ()), self.text_field)
    return {**found, 'valid_share': self.share(corpus)}


def _paths(given: Sequence[str], own: list[str]) -> dict[str, tuple[str, ...]]:
  """The globs of each corpus of the user's: `NAME=GLOB`, or all of them where there is one name."""
  found: dict[str, tuple[str, ...]] = {}
  for item in given:
    name, equals, pattern = item.partition('=')
    if not (equals and name in own):
      if len(own) != 1:
        raise bad('--path', item, 'give it as NAME=GLOB, NAME one of ' + ', '.join(own) if own else
                  'built-in corpora have no files: choose another name in --corpus')
      name, pattern = own[0], item
    found[name] = (*found.get(name, ()), pattern)
  return found
