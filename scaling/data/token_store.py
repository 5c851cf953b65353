"""A token store: the token ids of one corpus under one tokenizer, memory-mapped.

A folder ROOT/<tokenizer>/<corpus>/ that scaling/data/prepare.py makes whole or not at all:

  manifest.json                 what it is (docs/data.md lists the fields)
  train.bin, valid.bin          token ids, little-endian uint16 (uint32 from 65,536 ids on)
  train.documents, valid.documents   int64 pairs: tokens and characters up to a document's end
  unigram.npy                   int64 [V], how often each token occurs in train
  token_bytes.npy               int64 [V], the UTF-8 bytes a token stands for

Documents lie in hash order, so that the first U tokens are a nested random subset. Reading needs
numpy only, and the operating system may drop every page of it at any time.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from scaling import files
from scaling.data import shards
from scaling.errors import InputError

FORMAT = 1
SPLITS = ('train', 'valid')
MANIFEST = 'manifest.json'
_FIELDS = {'corpus', 'dtype', 'fingerprint', 'sizes', 'source', 'splits', 'tokenizer',
           'tokenizer_sha256', 'vocab_size'}


def tokenizer_name(tokenizer: str, vocab_size: int, corpora: tuple[str, ...]) -> str:
  """The folder of a tokenizer: bytes, symbols-64, bpe-512-python_code+python_docs."""
  if tokenizer == 'bytes':
    return 'bytes'
  if tokenizer == 'symbols':
    return f'symbols-{vocab_size}'
  return f'{tokenizer}-{vocab_size}-{"+".join(sorted(corpora))}'


def folder(root: files.PathLike, tokenizer: str, vocab_size: int,
           tokenizer_corpora: tuple[str, ...], corpus: str) -> str:
  """Where the token store of a corpus lies under the store's root."""
  name = tokenizer_name(tokenizer, vocab_size, tokenizer_corpora)
  return os.path.join(os.fspath(root), name, corpus)


def dtype_of(vocab_size: int) -> np.dtype:
  return np.dtype('<u2' if vocab_size <= 2**16 else '<u4')


def start(windows: np.ndarray, length: int) -> np.ndarray:
  """int64: the first token of each window of `length` predicted tokens."""
  return np.asarray(windows, np.int64) * length


class TokenStore:
  """A finished store, opened. Everything big stays on disk."""

  def __init__(self, path: str, manifest: dict[str, Any]):
    self.path = path
    self.manifest = manifest
    self.name: str = manifest['corpus']
    self.tokenizer: str = manifest['tokenizer']
    self.vocab_size: int = manifest['vocab_size']
    self.fingerprint: str = manifest['fingerprint']
    dtype = np.dtype(manifest['dtype'])
    self._tokens: dict[str, Any] = {
        s: _joined([_map(name, dtype) for name in shards.paths(
            path, s, 'bin', manifest.get('shards', 0))]) for s in SPLITS}
    self._documents = {
        s: _map(os.path.join(path, f'{s}.documents'), np.dtype('<i8')).reshape(-1, 2)
        for s in SPLITS}
    counts = np.load(os.path.join(path, 'unigram.npy'))
    self.token_bytes: np.ndarray = np.load(os.path.join(path, 'token_bytes.npy'))
    self.seen: np.ndarray = counts > 0
    share = np.where(self.seen, counts, 1) / max(int(counts.sum()), 1)
    # A token never seen in training has no share: it contributes nothing.
    self.unigram_nll: np.ndarray = np.where(self.seen, -np.log(share), 0.0)

  @classmethod
  def open(cls, path: files.PathLike) -> TokenStore:
    """Opens a store. InputError when it is missing, cut short, or of another tokenizer."""
    path = os.path.normpath(os.fspath(path))
    try:
      manifest = files.read_json(os.path.join(path, MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
      raise InputError(f'{path}: no token store here; make it with: {_command(path)}') from None
    except ValueError:
      raise _broken(path, f'{MANIFEST} is not JSON') from None
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
      raise _broken(path, f'{MANIFEST} is not of format {FORMAT}')
    lost = sorted(_FIELDS - set(manifest))
    if lost:
      raise _broken(path, f'{MANIFEST} has no {lost[0]}')
    for name, size in manifest['sizes'].items():
      try:
        found = os.path.getsize(os.path.join(path, name))
      except OSError:
        raise _broken(path, f'{name} is missing') from None
      if found != size:
        raise _broken(path, f'{name} has {found} bytes instead of {size}')
    _check_tokenizer(path, manifest)
    try:
      return cls(path, manifest)
    except (OSError, ValueError, KeyError) as error:
      raise _broken(path, f'{type(error).__name__}: {error}') from None

  def tokens(self, split: str) -> Any:
    """The token ids of a split, 1-D, memory-mapped: an array, or shards.Pieces."""
    return self._tokens[split]

  def count(self, split: str) -> int:
    return len(self._tokens[split])

  def characters(self, split: str) -> int:
    return self.manifest['splits'][split]['characters']

  def bytes(self, split: str) -> int:
    return self.manifest['splits'][split]['bytes']

  def documents(self, split: str) -> int:
    return len(self._documents[split])

  @property
  def entropy_rate(self) -> float | None:
    """Nats per token of a synthetic corpus; None for text."""
    return self.manifest.get('entropy_rate')

  def characters_before(self, split: str, token_index: int) -> float:
    """Characters in the first `token_index` tokens; linear inside a document."""
    return self._interpolate(split, 0, 1, token_index)

  def tokens_for_characters(self, split: str, characters: float) -> int:
    """The tokens of the first `characters` characters, the inverse of `characters_before`."""
    return round(self._interpolate(split, 1, 0, characters))

  def first_documents(self, split: str, characters: float) -> tuple[int, int]:
    """(documents, tokens) of the first documents that hold so many characters or more, or of all;
    the same documents under every tokenizer."""
    ends = self._documents[split]
    count = min(int(np.searchsorted(ends[:, 1], characters)) + 1, len(ends))
    return count, int(ends[count - 1, 0]) if count else 0

  def _interpolate(self, split: str, known: int, wanted: int, value: float) -> float:
    ends = self._documents[split]
    i = int(np.searchsorted(ends[:, known], value))  # the first document that ends at or after it
    if i == len(ends):
      return float(ends[-1, wanted]) if i else 0.0
    before = ends[i - 1] if i else np.zeros(2, np.int64)
    size = int(ends[i, known] - before[known])
    share = (value - int(before[known])) / size if size else 1.0
    return int(before[wanted]) + share * int(ends[i, wanted] - before[wanted])

  def windows(self, split: str, length: int, unique_tokens: int | None = None) -> int:
    """How many windows of `length` predicted tokens the split's first tokens hold.

    Neighbours share one token: the last target of one is the first input of the next.
    """
    tokens = self.count(split)
    if unique_tokens is not None:
      tokens = min(tokens, unique_tokens)
    return max(tokens - 1, 0) // length

  def text_windows(self, split: str, tokens: int, length: int) -> np.ndarray:
    """int32 [W, length + 1] whose targets are the first `tokens` tokens, each once.

    The first is predicted from the end of a document; -1 fills up the last window. InputError where
    the tokenizer has no such end.
    """
    end = self.manifest.get('end_of_document')
    if end is None:
      raise InputError(f'evaluation.characters: {self.tokenizer} marks no ends of documents, from '
                       'which a first token could be predicted; give evaluation.windows')
    count = -(-tokens // length)
    line = np.full(count * length + 1, -1, np.int32)
    line[0], line[1:tokens + 1] = end, self._tokens[split][:tokens]
    return line[start(np.arange(count), length)[:, None] + np.arange(length + 1)]

  def read(self, split: str, windows: np.ndarray, length: int) -> np.ndarray:
    """int32 [..., length + 1]: the tokens of each window."""
    return self.read_at(split, start(windows, length), length)

  def read_at(self, split: str, starts: np.ndarray, length: int) -> np.ndarray:
    """int32 [..., length + 1]: the tokens from each start on."""
    return self._tokens[split][starts[..., None] + np.arange(length + 1)].astype(np.int32)


def _joined(pieces: list[np.ndarray]) -> np.ndarray | shards.Pieces:
  return pieces[0] if len(pieces) == 1 else shards.Pieces(pieces)


def _map(path: str, dtype: np.dtype) -> np.ndarray:
  if os.path.getsize(path) == 0:  # an empty file cannot be mapped
    return np.empty(0, dtype)
  # A plain view of the map: np.memmap's own indexing goes through Python.
  return np.asarray(np.memmap(path, dtype, 'r'))


def _command(path: str) -> str:
  """The command that makes the store that belongs at `path`."""
  corpus, parent = os.path.basename(path), os.path.dirname(path)
  kind, _, rest = os.path.basename(parent).partition('-')
  size, _, corpora = rest.partition('-')
  flags = f'--corpus={corpus} --tokenizer={kind}'
  if kind == 'bpe':
    flags += f' --vocab_size={size}'
    if corpora != corpus:
      flags += f' --tokenizer_corpora={corpora.replace("+", ",")}'
  from scaling.data import corpora as known  # only an error needs it
  if corpus not in known.names():
    flags += ' --path=FILES'
  return f'python -m scaling.data.prepare {flags} --store={os.path.dirname(parent) or "."}'


def _broken(path: str, what: str) -> InputError:
  return InputError(
      f'{path}: a broken token store ({what}); remove it and run: {_command(path)}')


def _check_tokenizer(path: str, manifest: dict[str, Any]) -> None:
  parent = os.path.dirname(path)
  if manifest['tokenizer'] != os.path.basename(parent):
    raise InputError(f'{path}: a token store built with tokenizer {manifest["tokenizer"]}, '
                     f'not {os.path.basename(parent)}; make it with: {_command(path)}')
  # Without the model (a store copied alone) the name has to do.
  model = os.path.join(parent, 'tokenizer.model')
  if os.path.exists(model):
    with open(model, 'rb') as file:
      digest = hashlib.sha256(file.read()).hexdigest()
    if digest != manifest['tokenizer_sha256']:
      raise InputError(f'{path}: a token store built with another {manifest["tokenizer"]} than '
                       f'{model}; remove it and run: {_command(path)}')
