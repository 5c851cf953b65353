"""Building token stores as a stream: memory does not grow with the text.

  spool     documents -> 256 files by the first byte of their hash; then, file by file, sorted by
            hash and exact duplicates dropped (duplicates share a file), split by hash
  tokenize  the spool in hash order -> train.bin, valid.bin, their document ends, the counts
  finish    everything lies in a scratch folder under the store's root; the last act is a rename

The text is on disk twice while this runs: the source and the spool.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from scaling import files
from scaling.data import corpora, markov, token_store
from scaling.data.tokenizers import Symbols, Tokenizer
from scaling.errors import InputError

BUCKETS = 256
_BUFFER = 1 << 16  # bytes gathered for a bucket before they are written
_BATCH = 256  # documents encoded together
SAMPLE_CHARACTERS = 10_000_000  # of training text for a tokenizer, shared out among its corpora

# (what is being done, how much is done, of how much: 0 when that is not known)
Progress = Callable[[str, int, int], None]


class Spool:
  """The documents of a corpus on disk, in hash order once read back.

  Raises InputError for a corpus without documents, or with so few that a split is left empty.
  """

  def __init__(self, folder: str, corpus: str, texts: Iterable[str], valid_share: float,
               progress: Progress):
    self.folder, self.corpus, self.share = folder, corpus, valid_share
    self.characters = self.repeated = 0
    self.documents = {'train': 0, 'valid': 0}
    os.makedirs(folder)
    self._write(texts, progress)
    found = sum(self.documents.values())
    if found == 0:
      raise InputError(f'--corpus={corpus}: the corpus is empty; it must hold some text')
    if not all(self.documents.values()):
      raise InputError(
          f'--corpus={corpus}: {found} document(s) are too few to split, one split got none; give '
          'more, or cut long texts into documents (one a file, or one a line of JSONL)')

  def _write(self, texts: Iterable[str], progress: Progress) -> None:
    buffers = [bytearray() for _ in range(BUCKETS)]
    for i, text in enumerate(texts):
      if not text:
        continue
      data = text.encode()
      key = hashlib.sha256(data).digest()
      buffer = buffers[key[0]]
      buffer += struct.pack('<32sQ', key, len(data))
      buffer += data
      if len(buffer) > _BUFFER:
        self._flush(key[0], buffer)
      self.characters += len(text)
      if i % 1000 == 0:
        progress(f'reading {self.corpus}', self.characters, 0)
    for bucket, buffer in enumerate(buffers):
      self._flush(bucket, buffer)
    for bucket in range(BUCKETS):
      keys = {key for key, _ in self._records(bucket)}
      self.repeated += sum(1 for _ in self._records(bucket)) - len(keys)
      for key in keys:
        self.documents[corpora.split_of_digest(key, self.share)] += 1

  def _flush(self, bucket: int, buffer: bytearray) -> None:
    if buffer:
      with open(self._path(bucket), 'ab') as file:
        file.write(buffer)
      buffer.clear()

  def _path(self, bucket: int) -> str:
    return os.path.join(self.folder, f'{bucket:03d}')

  def _records(self, bucket: int) -> Iterator[tuple[bytes, bytes]]:
    if not os.path.exists(self._path(bucket)):
      return
    with open(self._path(bucket), 'rb') as file:
      while head := file.read(40):
        key, size = struct.unpack('<32sQ', head)
        yield key, file.read(size)

  def read(self) -> Iterator[tuple[str, str]]:
    """(split, text) of every document once, in hash order; one bucket at a time in memory."""
    for bucket in range(BUCKETS):
      for key, data in sorted(dict(self._records(bucket)).items()):
        yield corpora.split_of_digest(key, self.share), data.decode()

  def sample(self, characters: int) -> Iterator[str]:
    """The first training documents, until they hold that many characters: a random sample."""
    for split, text in self.read():
      if split == 'train':
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
          return


def text_store(target: str, scratch: str, spool: Spool, tokenizer: Tokenizer,
               source: dict[str, Any], progress: Progress) -> None:
  """Tokenizes a spool into the store `target`, by way of the folder `scratch`."""
  with _new_folder(target, scratch) as folder, _Writer(folder, tokenizer) as writer:
    done = 0
    for batch in _batches(spool.read()):
      for (split, text), ids in zip(batch, tokenizer.encode([text for _, text in batch])):
        writer.add(split, ids, text)
        done += len(text)
      progress(f'tokenizing {spool.corpus}', done, spool.characters)
    writer.finish(spool.corpus, target, source, {'duplicates_dropped': spool.repeated})


def markov_store(target: str, scratch: str, tokens: int, valid_tokens: int,
                 progress: Progress) -> None:
  """Walks the synthetic chain into the store `target`; a split is one document."""
  rows, tokenizer = markov.rows(), Symbols()
  with _new_folder(target, scratch) as folder, _Writer(folder, tokenizer) as writer:
    for seed, (split, length) in enumerate((('train', tokens), ('valid', valid_tokens)), 1):
      progress(f'walking {corpora.MARKOV}, {split}', 0, length)
      ids = markov.walk(rows, length, seed)
      writer.add(split, ids, characters=length)
      progress(f'walking {corpora.MARKOV}, {split}', length, length)
    writer.finish(corpora.MARKOV, target, markov_source(tokens, valid_tokens),
                  {'duplicates_dropped': 0, 'entropy_rate': markov.entropy_rate(rows)})


def markov_source(tokens: int, valid_tokens: int) -> dict[str, Any]:
  return {'chain': 1, 'tokens': tokens, 'valid_tokens': valid_tokens}


class _Writer:
  """The files of a store while they grow."""

  def __init__(self, folder: str, tokenizer: Tokenizer):
    self.folder, self.tokenizer = folder, tokenizer
    self.dtype = token_store.dtype_of(tokenizer.vocab_size)
    self.counts = np.zeros(tokenizer.vocab_size, np.int64)
    self.totals = {s: {'documents': 0, 'tokens': 0, 'characters': 0, 'bytes': 0}
                   for s in token_store.SPLITS}
    self._stack = contextlib.ExitStack()
    self._files: dict[str, BinaryIO] = {}

  def __enter__(self) -> _Writer:
    for split in token_store.SPLITS:
      for name in (f'{split}.bin', f'{split}.documents'):
        file = open(os.path.join(self.folder, name), 'wb')
        self._files[name] = self._stack.enter_context(file)
    return self

  def __exit__(self, *error: object) -> None:
    self._stack.close()

  def add(self, split: str, ids: np.ndarray, text: str = '', characters: int = 0) -> None:
    """One document: `text`, or that many characters of one byte each."""
    total = self.totals[split]
    if self.tokenizer.end is not None:
      ids = np.append(ids, self.tokenizer.end)
    total['documents'] += 1
    total['tokens'] += len(ids)
    total['characters'] += len(text) or characters
    total['bytes'] += len(text.encode()) or characters
    self._files[f'{split}.bin'].write(ids.astype(self.dtype).tobytes())
    self._files[f'{split}.documents'].write(
        struct.pack('<qq', total['tokens'], total['characters']))
    if split == 'train':
      self.counts += np.bincount(ids, minlength=len(self.counts))

  def finish(self, corpus: str, target: str, source: dict[str, Any], more: dict[str, Any]) -> None:
    self._stack.close()
    np.save(os.path.join(self.folder, 'unigram.npy'), self.counts)
    np.save(os.path.join(self.folder, 'token_bytes.npy'), self.tokenizer.token_bytes())
    fingerprint = hashlib.sha256(self.tokenizer.digest.encode())
    for split in token_store.SPLITS:
      with open(os.path.join(self.folder, f'{split}.bin'), 'rb') as file:
        fingerprint.update(hashlib.file_digest(file, 'sha256').digest())
    sizes = {name: os.path.getsize(os.path.join(self.folder, name))
             for name in sorted(os.listdir(self.folder))}
    manifest = {
        'format': token_store.FORMAT, 'corpus': corpus, 'source': source,
        'tokenizer': os.path.basename(os.path.dirname(target)),
        'tokenizer_sha256': self.tokenizer.digest, 'vocab_size': self.tokenizer.vocab_size,
        'end_of_document': self.tokenizer.end, 'dtype': self.dtype.str,
        'fingerprint': fingerprint.hexdigest()[:16], 'splits': self.totals, 'sizes': sizes, **more}
    files.replace(os.path.join(self.folder, token_store.MANIFEST), files.to_json(manifest) + '\n')


@contextlib.contextmanager
def _new_folder(target: str, scratch: str) -> Iterator[str]:
  """A folder in `scratch` that becomes `target` if all goes well.

  When another process made `target` meanwhile, that one stays: both hold the same.
  """
  temporary = os.path.join(scratch, uuid.uuid4().hex[:8])
  os.makedirs(temporary)
  yield temporary
  for name in os.listdir(temporary):
    with open(os.path.join(temporary, name), 'rb') as file:
      os.fsync(file.fileno())
  os.makedirs(os.path.dirname(target), exist_ok=True)
  if not os.path.exists(os.path.join(target, token_store.MANIFEST)):
    os.rename(temporary, target)


def _batches(items: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
  batch: list[tuple[str, str]] = []
  for item in items:
    batch.append(item)
    if len(batch) == _BATCH:
      yield batch
      batch = []
  if batch:
    yield batch
