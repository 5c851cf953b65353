"""What the token stores of a study can give: fingerprints, windows, unique tokens, epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scaling.data import mixture, token_store
from scaling.data.token_store import TokenStore
from scaling.errors import InputError, bad
from scaling.specs import DataSpec, DomainSpec, RunSpec

Stores = Callable[[RunSpec], Mapping[str, TokenStore]]

# The share of a vocabulary that the training text may never hold; a BPE's own text, with enough of
# it, leaves below 1 % (merges whose every occurrence is part of a longer one).
UNUSED = 0.1


def _tokenizer(data: DataSpec) -> str:
  return token_store.tokenizer_name(data.tokenizer, data.vocab_size, data.trained_on)


class Supply:
  """The token stores of a study, each opened once."""

  def __init__(self, stores: Stores, max_epochs: float):
    """`stores` opens the token stores of a run; no domain may be read more than `max_epochs`."""
    self._open, self._max_epochs = stores, max_epochs
    self._stores: dict[Any, Mapping[str, TokenStore]] = {}
    self._windows: dict[Any, int] = {}
    self._filled: dict[int, tuple[DataSpec, DataSpec]] = {}  # by id; holds on to what has it

  def fill(self, spec: RunSpec, inherited: Mapping[str, float] | None = None) -> RunSpec:
    """`spec` with the fingerprints of its stores. Raises InputError for what they cannot give.

    `inherited`: sequences of each domain that its parents took, after which it reads on.
    """
    data, stores = spec.data, self._of(spec)
    for name, domain in data.domains.items():
      self._check_domain(spec, name, domain, stores[name], (inherited or {}).get(name, 0.0))
    if id(data) not in self._filled:  # Specs of one study share the parts that are alike.
      domains = {name: dataclasses.replace(domain, fingerprint=stores[name].fingerprint)
                 for name, domain in data.domains.items()}
      self._filled[id(data)] = data, dataclasses.replace(data, domains=domains)
    return dataclasses.replace(spec, data=self._filled[id(data)][1])

  def steps(self, data: DataSpec, characters: float) -> int:
    """The updates that read the first `characters` of the training text once.

    Raises InputError where there is no such text, or it is not read in whole blocks.
    """
    name, store = self._alone(data, 'characters')
    if characters > store.characters('train'):
      raise bad('config.characters', characters, f'the training text of {name} has '
                f'{store.characters("train"):,} characters, and each is read once')
    block = data.block_characters
    if block is None or abs(characters / block - round(characters / block)) > 1e-9:
      raise bad('config.base.data.block_characters', block, f'the first {characters:g} characters '
                'are a prefix of the text if they are whole blocks: give what divides them')
    tokens = store.tokens_for_characters('train', characters)
    steps = min(round(tokens / data.tokens_per_step),
                store.windows('train', data.length) // data.batch)
    if steps < 1:
      raise bad('config.characters', characters, f'they are {tokens} tokens, and a step takes '
                f'{data.tokens_per_step}')
    return steps

  def batch(self, data: DataSpec, characters: float) -> int:
    """The sequences that hold so many characters, by the training text's mean per token."""
    name, store = self._alone(data, 'batch_characters')
    tokens = characters * store.count('train') / store.characters('train')
    if tokens < data.length / 2:
      raise bad('config.batch_characters', characters, f'they are {tokens:.0f} tokens of {name}, '
                f'less than half a sequence of {data.length}')
    return max(1, round(tokens / data.length))

  def _alone(self, data: DataSpec, field: str) -> tuple[str, TokenStore]:
    """The one domain that is trained on, which characters are counted in."""
    trained = [name for name, d in data.domains.items() if d.weight or d.late_weight]
    if len(trained) != 1 or data.domains[trained[0]].unique_tokens is not None:
      raise InputError(f'config.{field}: characters are counted in one domain, all of whose text '
                       f'may be read; the training domains are {", ".join(sorted(trained))}')
    return trained[0], self._of(RunSpec(data=data))[trained[0]]

  def _of(self, spec: RunSpec) -> Mapping[str, TokenStore]:
    key = (_tokenizer(spec.data), tuple(spec.data.domains))
    if key not in self._stores:
      self._stores[key] = self._open(spec)
      self._check_stores(spec, self._stores[key])
    return self._stores[key]

  def _check_stores(self, spec: RunSpec, stores: Mapping[str, TokenStore]) -> None:
    wanted = _tokenizer(spec.data)
    for name in spec.data.domains:
      if name not in stores:
        raise InputError(f'config.base.data.domains.{name}: there is no token store of it')
      store = stores[name]
      if store.tokenizer != wanted:
        raise bad('config.base.data.tokenizer', wanted,
                  f'the token store of {name} was built with {store.tokenizer}')
      if store.vocab_size != spec.data.vocab_size:
        raise bad('config.base.data.vocab_size', spec.data.vocab_size,
                  f'the token store of {name} has {store.vocab_size}')
    if spec.data.tokenizer == 'bpe':
      _check_used(spec.data, stores)

  def _check_domain(self, spec: RunSpec, name: str, domain: DomainSpec, store: TokenStore,
                    inherited: float) -> None:
    path, length = f'config.base.data.domains.{name}', spec.data.length
    if domain.fingerprint not in ('', store.fingerprint):
      raise bad(f'{path}.fingerprint', domain.fingerprint,
                f'the token store has {store.fingerprint}')
    text = spec.evaluation.characters
    if text is not None and text > store.characters('valid'):
      raise bad('config.base.evaluation.characters', text, f'the validation text of {name} has '
                f'{store.characters("valid"):,} characters')
    if text is not None and store.manifest.get('end_of_document') is None:
      raise bad('config.base.evaluation.characters', text, f'the tokenizer {store.tokenizer} marks '
                'no ends of documents, from which a first token could be predicted')
    block = spec.data.block_characters
    if block is not None and block > store.characters('train'):
      raise bad('config.base.data.block_characters', block, f'the training text of {name} has '
                f'{store.characters("train"):,} characters')
    windows = self._count(store, name, 'valid', length, None)
    field = 'windows' if spec.evaluation.final_windows is None else 'final_windows'
    wanted = getattr(spec.evaluation, field)
    if text is None and wanted > windows:
      raise bad(f'config.base.evaluation.{field}', wanted,
                f'the validation text of {name} has {windows} of {length} tokens')
    if store.count('train') < 1:
      raise InputError(f'{path}: its training text is empty')
    if domain.weight == 0 and not domain.late_weight:
      return
    unique = domain.unique_tokens
    if unique is not None and unique > store.count('train'):
      raise bad(f'{path}.unique_tokens', unique,
                f'the training text of {name} has {store.count("train")} tokens')
    windows = self._count(store, name, 'train', length, unique)
    if windows < 1:
      field, value = (('config.base.data.length', length) if unique is None
                      else (f'{path}.unique_tokens', unique))
      raise bad(field, value, f'one window takes {length + 1} tokens')
    steps = spec.steps * domain.weight  # in which it would be alone
    if mixture.moves(spec.data):
      column = mixture.names(spec.data).index(name)
      steps = float(mixture.sums(spec.data, np.array([spec.steps]), spec.steps)[0, column])
    wanted = inherited + spec.data.batch * steps  # windows
    if wanted > windows * self._max_epochs:
      epochs = wanted / windows
      and_before = ", its parents' among them," if inherited else ''
      raise bad('config.base.steps', spec.steps,
                f'its {wanted * length:,.0f} tokens of {name}{and_before} are {epochs:.3g} epochs '
                f'of {windows * length:,} tokens, and config.max_epochs is {self._max_epochs:g}')

  def _count(self, store: TokenStore, name: str, split: str, length: int,
             unique: int | None) -> int:
    key = (store.tokenizer, name, split, length, unique)
    if key not in self._windows:
      self._windows[key] = store.windows(split, length, unique_tokens=unique)
    return self._windows[key]


def _check_used(data: DataSpec, stores: Mapping[str, TokenStore]) -> None:
  """Raises InputError where many pieces occur in no training text of the run: their embeddings
  would be counted and never trained. Single bytes make a tokenizer lossless and do not count."""
  name = next(iter(data.domains))
  unused = ~np.logical_or.reduce([store.seen for store in stores.values()])
  count = int((unused & (stores[name].token_bytes > 1)).sum())
  if count > UNUSED * data.vocab_size:
    raise bad('config.base.data.vocab_size', data.vocab_size,
              f'{count} of its pieces never occur in the training text of '
              f'{", ".join(sorted(data.domains))}, so nothing would train their embeddings: give '
              'fewer pieces or more text')
