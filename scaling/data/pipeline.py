"""Building a token store with Apache Beam: on this machine, Dataflow, Flink or Spark.

  read       every file, or every piece of a TFDS corpus, by whichever worker is free
  group      documents by shard: the range of SHA-256 that theirs falls into
  shard      sorted by hash, exact duplicates dropped, split, tokenized: one file a split and shard
  finish     on the machine that started it: counts added up, fingerprint, manifest last

Shard after shard the tokens are those that `prepare` writes on one machine, in the same order, so
the fingerprint, and with it every run id, is the same. A shard's text has to fit into a worker's
memory: some 64 GB of text are 64 shards. Needs the extra 'beam'.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from scaling import files, objects
from scaling.data import corpora, public, shards, token_store
from scaling.data.tokenizers import Bpe, Bytes, Tokenizer
from scaling.errors import InputError

RUNNERS = ('DirectRunner', 'DataflowRunner', 'FlinkRunner', 'SparkRunner')
PIECES = 64  # of a TFDS corpus, to be read at once
_TOTALS = ('documents', 'tokens', 'characters', 'bytes')


def check() -> None:
  try:
    import apache_beam  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import
  except ImportError:
    raise InputError("--shards: needs the extra 'beam': pip install -e '.[beam]'") from None


def build(target: str, corpus: str, paths: Sequence[str], field: str, share: float,
          model: bytes | None, source: dict[str, Any], shard_count: int, runner: str,
          options: Sequence[str]) -> None:
  """Makes the store `target`, a folder all workers can write to, of `shard_count` files a split.

  model: of the BPE tokenizer; None: bytes.
  """
  import apache_beam as beam  # pylint: disable=import-outside-toplevel
  from apache_beam.options.pipeline_options import (  # pylint: disable=import-outside-toplevel
      PipelineOptions,
  )
  files.make_folder(target)
  with beam.Pipeline(options=PipelineOptions([f'--runner={runner}', *options])) as pipeline:
    done = (pipeline
            | 'read' >> beam.Create(_pieces(paths) or [('', 0, 1)])
            | beam.Reshuffle()
            | beam.FlatMap(_read, corpus, field, shard_count)
            | 'group' >> beam.GroupByKey()
            | 'shard' >> beam.Map(_write_shard, target, share, model, shard_count))
    # Written, not returned: a pipeline elsewhere hands nothing back but what it wrote.
    _ = done | beam.Map(_write_report, target)
  _finish(target, corpus, model, source, shard_count)


def _pieces(paths: Sequence[str]) -> list[tuple[str, int, int]]:
  return [(path, part, parts) for path in corpora.expand(tuple(paths))
          for parts in (PIECES if public.is_name(path) else 1,) for part in range(parts)]


def _read(piece: tuple[str, int, int], corpus: str, field: str, shard_count: int,
          ) -> Iterator[tuple[int, bytes]]:
  path, part, parts = piece
  if not path:
    texts: Iterator[str] = corpora.documents(corpus)
  elif public.is_name(path):
    texts = corpora.allowed(corpus, public.documents(path, field, part, parts))
  else:
    texts = corpora.documents(corpus, (path,), field)
  for text in texts:
    if text:
      data = text.encode()
      first = int.from_bytes(hashlib.sha256(data).digest()[:8], 'big')
      yield first * shard_count >> 64, data


def _tokenizer(model: bytes | None) -> Tokenizer:
  return Bytes() if model is None else Bpe(model)


def _write_shard(item: tuple[int, Iterable[bytes]], target: str, share: float,
                 model: bytes | None, shard_count: int) -> tuple[int, dict[str, Any]]:
  """Writes the files of a shard; what they hold, for its report."""
  shard, texts = item
  tokenizer = _tokenizer(model)
  dtype = token_store.dtype_of(tokenizer.vocab_size)
  repeated, by_key = 0, {}
  for data in texts:
    key = hashlib.sha256(data).digest()
    repeated += key in by_key
    by_key[key] = data
  counts = np.zeros(tokenizer.vocab_size, np.int64)
  totals = {split: dict.fromkeys(_TOTALS, 0) for split in token_store.SPLITS}
  content = {split: (bytearray(), bytearray()) for split in token_store.SPLITS}
  for key in sorted(by_key):
    split, text = corpora.split_of_digest(key, share), by_key[key].decode()
    [ids] = tokenizer.encode([text])
    if tokenizer.end is not None:
      ids = np.append(ids, tokenizer.end)
    total = totals[split]
    for name, more in zip(_TOTALS, (1, len(ids), len(text), len(by_key[key]))):
      total[name] += more
    content[split][0].extend(ids.astype(dtype).tobytes())
    content[split][1].extend(struct.pack('<qq', total['tokens'], total['characters']))
    if split == 'train':
      counts += np.bincount(ids, minlength=len(counts))
  for split, (tokens, documents) in content.items():
    put_bytes(f'{target}/{shards.path(split, "bin", shard, shard_count)}', bytes(tokens))
    put_bytes(f'{target}/{shards.path(split, "documents", shard, shard_count)}', bytes(documents))
  return shard, {'repeated': repeated, 'totals': totals, 'counts': counts.tolist()}


def _write_report(item: tuple[int, dict[str, Any]], target: str) -> None:
  shard, report = item
  files.replace(f'{target}/report-{shard:05d}.json', files.to_json(report))


def put_bytes(path: str, data: bytes) -> None:
  if objects.on_bucket(path):
    objects.put(path, data)
    return
  temporary = f'{path}{files.TEMPORARY}{os.getpid()}'
  with open(temporary, 'wb') as file:
    file.write(data)
  os.replace(temporary, path)


def _finish(target: str, corpus: str, model: bytes | None, source: dict[str, Any],
            shard_count: int) -> None:
  """Adds the shards up; the documents' ends count from the store's beginning, not the shard's."""
  tokenizer = _tokenizer(model)
  counts = np.zeros(tokenizer.vocab_size, np.int64)
  totals = {split: dict.fromkeys(_TOTALS, 0) for split in token_store.SPLITS}
  digests = {split: hashlib.sha256() for split in token_store.SPLITS}
  ends: dict[str, list[np.ndarray]] = {split: [] for split in token_store.SPLITS}
  sizes: dict[str, int] = {}
  repeated = 0
  there = set(files.names(target))
  for shard in range(shard_count):
    name = f'report-{shard:05d}.json'
    report = files.read_json(f'{target}/{name}') if name in there else None
    for split in token_store.SPLITS:
      path = shards.path(split, 'bin', shard, shard_count)
      if report is None:  # No document fell into it.
        put_bytes(f'{target}/{path}', b'')
      else:
        data = get_bytes(f'{target}/{path}')
        digests[split].update(data)
        begin = np.array([totals[split]['tokens'], totals[split]['characters']])
        local = get_bytes(f'{target}/{shards.path(split, "documents", shard, shard_count)}')
        ends[split].append(np.frombuffer(local, '<i8').reshape(-1, 2) + begin)
        for field in _TOTALS:
          totals[split][field] += report['totals'][split][field]
      sizes[path] = 0 if report is None else len(data)
    if report is not None:
      repeated += report['repeated']
      counts += np.array(report['counts'])
  if not all(totals[split]['documents'] for split in token_store.SPLITS):
    files.remove_tree(target)
    raise InputError(f'--corpus={corpus}: too few documents to split, one split got none')
  with files.spool(target) as local_folder:
    for split in token_store.SPLITS:
      with open(os.path.join(local_folder, f'{split}.documents'), 'wb') as file:
        file.write(np.concatenate(ends[split]).astype('<i8').tobytes())
    np.save(os.path.join(local_folder, 'unigram.npy'), counts)
    np.save(os.path.join(local_folder, 'token_bytes.npy'), tokenizer.token_bytes())
    for name in ('unigram.npy', 'token_bytes.npy',
                 *(f'{split}.documents' for split in token_store.SPLITS)):
      sizes[name] = os.path.getsize(os.path.join(local_folder, name))
  for name in files.names(target):
    if name.startswith('report-') or (name.endswith('.documents') and '-of-' in name):
      files.remove(f'{target}/{name}')
  fingerprint = hashlib.sha256(tokenizer.digest.encode())
  for split in token_store.SPLITS:
    fingerprint.update(digests[split].digest())
  files.replace(f'{target}/{token_store.MANIFEST}', files.to_json({
      'format': token_store.FORMAT, 'corpus': corpus, 'source': source, 'shards': shard_count,
      'tokenizer': target.rstrip('/').split('/')[-2], 'tokenizer_sha256': tokenizer.digest,
      'vocab_size': tokenizer.vocab_size, 'end_of_document': tokenizer.end,
      'dtype': token_store.dtype_of(tokenizer.vocab_size).str,
      'fingerprint': fingerprint.hexdigest()[:16], 'splits': totals, 'sizes': sizes,
      'duplicates_dropped': repeated}) + '\n')


def get_bytes(path: str) -> bytes:
  if objects.on_bucket(path):
    return objects.read(path)
  with open(path, 'rb') as file:
    return file.read()
