"""What corpora there are, and their documents as a stream of strings.

Four kinds: the embedded real text (embedded.py), the synthetic chain (markov.py), the user's own
files and what TFDS has prepared (public.py). Another is one more function that yields strings, and
one more line in `documents`.

seqio and TensorFlow are imported inside `task` only, TFDS in public.py where it is used.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from scaling.data import embedded, public, tokenizers
from scaling.data.tokenizers import ASCII
from scaling.errors import InputError, bad

MARKOV = 'markov'
DEFAULT_VALID_SHARE = 0.05
_WITHOUT_ASCII = dict.fromkeys(map(ord, tokenizers.ALPHABET))


def names() -> tuple[str, ...]:
  """The corpora that need no files of the user's."""
  return (*embedded.PACKAGES, MARKOV, *(f'{name}{ASCII}' for name in embedded.PACKAGES))


def base(corpus: str) -> str:
  """The corpus that a filtered one is part of; any other is its own."""
  return corpus.removesuffix(ASCII)


def check_name(corpus: str) -> None:
  """A corpus is a folder and a part of a tokenizer's name: letters, digits, _ and . only."""
  if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.]*', corpus):
    raise bad('--corpus', corpus, 'a name holds letters, digits, _ and . only')


def source(corpus: str, paths: tuple[str, ...] = (), text_field: str = 'text') -> dict[str, Any]:
  """What determines the corpus, as JSON: two stores of one source hold the same text.

  Raises InputError for an unknown corpus, packages of other versions, or files that are not there.
  """
  check_name(corpus)
  if paths:
    if corpus in names():
      raise bad('--corpus', corpus, 'with --path choose a name that is not a built-in corpus')
    if any(public.is_name(path) for path in paths):
      there = sorted(public.source(p) if public.is_name(p) else p for p in expand(paths))
      alphabet = {} if base(corpus) == corpus else {'alphabet': 'ascii'}
      return {**alphabet, 'tfds': there, 'text_field': text_field}
    found = expand(paths)
    stats = [os.stat(path) for path in found]
    listed = [[os.path.abspath(p), s.st_size, s.st_mtime_ns] for p, s in zip(found, stats)]
    filtered = {} if base(corpus) == corpus else {'alphabet': 'ascii'}
    return {**filtered, 'files': len(found), 'bytes': sum(s.st_size for s in stats),
            'text_field': text_field,
            'listing_sha256': hashlib.sha256(json.dumps(listed).encode()).hexdigest()}
  if base(corpus) in embedded.PACKAGES:
    filtered = {} if base(corpus) == corpus else {'alphabet': 'ascii'}
    return {**embedded.source(base(corpus)), **filtered}
  raise bad('--corpus', corpus, f'built in are {", ".join(names())}; for your own text add --path')


def documents(corpus: str, paths: tuple[str, ...] = (), text_field: str = 'text') -> Iterator[str]:
  """The corpus, a document at a time, in no particular order and with repetitions.

  Of a corpus whose name ends in ASCII, the documents that hold nothing but the 97 characters of
  tokenizers.ALPHABET.
  """
  found = (files_documents(expand(paths), text_field) if paths
           else embedded.documents(base(corpus)))
  return allowed(corpus, found)


def allowed(corpus: str, texts: Iterator[str]) -> Iterator[str]:
  """Those of the texts that a corpus of this name may hold."""
  if base(corpus) == corpus:
    return texts
  return (text for text in texts if not text.translate(_WITHOUT_ASCII))


def valid_share(corpus: str) -> float:
  """The share of the documents that goes to `valid` unless the user says otherwise."""
  return embedded.VALID_SHARE.get(base(corpus), DEFAULT_VALID_SHARE)


def expand(patterns: tuple[str, ...]) -> list[str]:
  """The files that the patterns match, sorted."""
  found: set[str] = set()
  for pattern in patterns:
    if public.is_name(pattern):
      found.add(pattern)
      continue
    matched = [p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)]
    if not matched:
      raise bad('--path', pattern, 'no file matches it')
    found.update(matched)
  return sorted(found)


def files_documents(paths: list[str], text_field: str) -> Iterator[str]:
  """One document a text file; one a line of a .jsonl, .jsonlines or .ndjson file, one a row of a
  .parquet file, one an example of a TFDS corpus."""
  for path in paths:
    try:
      if public.is_name(path):
        yield from public.documents(path, text_field)
      elif path.endswith('.parquet'):
        yield from _parquet_rows(path, text_field)
      elif path.endswith(('.jsonl', '.jsonlines', '.ndjson')):
        yield from _json_lines(path, text_field)
      else:
        with open(path, 'rb') as file:
          yield _decode(file.read(), path, 0)
    except OSError as error:
      raise bad('--path', path, f'it cannot be read ({error.strerror})') from None


def _json_lines(path: str, field: str) -> Iterator[str]:
  offset = 0
  with open(path, 'rb') as file:
    for number, line in enumerate(file, 1):
      where = f'{path}, line {number}'
      text = _decode(line, path, offset, f', line {number}')
      offset += len(line)
      if not text.strip():
        continue
      try:
        record = json.loads(text)
      except ValueError as error:
        raise InputError(f'--path: {where}: not JSON ({error})') from None
      if not isinstance(record, dict) or field not in record:
        there = ', '.join(sorted(record)) if isinstance(record, dict) else type(record).__name__
        raise InputError(f'--text_field: {where} has no field {field!r}; it has: {there}')
      value = record[field]
      if not isinstance(value, str):
        raise InputError(
            f'--text_field: {where}: {field!r} holds {type(value).__name__}; it must hold text')
      try:
        value.encode()
      except UnicodeEncodeError:  # an escaped half of a surrogate pair
        raise InputError(f'--path: {where}: {field!r} holds a lone surrogate, not text') from None
      yield value


def _parquet_rows(path: str, field: str) -> Iterator[str]:
  import pyarrow as pa
  import pyarrow.parquet as pq
  try:
    file = pq.ParquetFile(path)
  except pa.ArrowInvalid as error:
    raise bad('--path', path, f'it is no Parquet file ({" ".join(str(error).split())})') from None
  with file:
    schema = file.schema_arrow
    if field not in schema.names:
      raise InputError(f'--text_field: {path} has no column {field!r}; it has: '
                       f'{", ".join(sorted(schema.names))}')
    kind = schema.field(field).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
      raise InputError(f'--text_field: {path}: {field!r} holds {kind}; it must hold text')
    for batch in file.iter_batches(batch_size=1024, columns=[field]):
      yield from (text for text in batch.column(0).to_pylist() if text is not None)


def _decode(data: bytes, path: str, offset: int, line: str = '') -> str:
  try:
    return data.decode('utf-8')
  except UnicodeDecodeError as error:
    raise InputError(f'--path: {path}{line}: invalid UTF-8 at byte {offset + error.start} '
                     f'(0x{data[error.start]:02x})') from None


def split_of(text: str, share: float) -> str:
  """'train' or 'valid', by the document's own hash: adding documents moves none."""
  return split_of_digest(hashlib.sha256(text.encode()).digest(), share)


def split_of_digest(key: bytes, share: float) -> str:
  """The split of a document's SHA-256; its first bytes order the documents, the next decide."""
  return 'valid' if int.from_bytes(key[8:16], 'big') < share * 2.0**64 else 'train'


def task(corpus: str, vocabulary: Any = None, paths: tuple[str, ...] = (),
         text_field: str = 'text') -> Any:
  """The corpus as a seqio Task of its name, registered on first use.

  Splits `train` and `valid` hold the same documents as a token store's (duplicates dropped), in
  the source's order; `targets` are ids of `vocabulary` (a seqio.Vocabulary, bytes by default).
  """
  import functools

  import seqio
  import tensorflow as tf

  if corpus in seqio.TaskRegistry.names():
    return seqio.TaskRegistry.get(corpus)
  source(corpus, paths, text_field)
  share = valid_share(corpus)

  def texts(split: str) -> Iterator[str]:
    seen: set[bytes] = set()
    for text in documents(corpus, paths, text_field):
      key = hashlib.sha256(text.encode()).digest()
      if text and key not in seen and split_of_digest(key, share) == split:
        seen.add(key)
        yield text

  def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> Any:
    del shuffle_files, seed
    found = tf.data.Dataset.from_generator(
        functools.partial(texts, split), output_signature=tf.TensorSpec((), tf.string))
    return found.map(lambda text: {'targets': text})

  features = {'targets': seqio.Feature(vocabulary or seqio.ByteVocabulary(), add_eos=True)}
  return seqio.TaskRegistry.add(
      corpus, source=seqio.FunctionDataSource(dataset, splits=('train', 'valid')),
      preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
      output_features=features)
