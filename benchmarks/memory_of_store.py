"""Anonymous memory (RssAnon) of a process that reads training batches, by the store's size.

  python benchmarks/memory_of_store.py [--megabytes=2000] [--batches=2000]

Writes a tiny token store and a large one of random tokens into a temporary folder (removed at the
end) and reads both through `Feed`, each in a process of its own. Pages of the mapped file are
RssFile, which the system takes back whenever it likes; what must not grow is RssAnon.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

from scaling import files, specs
from scaling.data import token_store, tokenizers
from scaling.data.feed import Feed
from scaling.data.token_store import TokenStore

_MEGABYTES = flags.DEFINE_integer('megabytes', 2000, 'size of the large store')
_BATCHES = flags.DEFINE_integer('batches', 2000, 'batches of 64 windows of 128 tokens to read')
_READ = flags.DEFINE_string('read', None, 'read this store (the process that is measured)')
VOCABULARY = 512


def write(path: str, tokens: int) -> None:
  """A store of random tokens, in documents of 1,000."""
  os.makedirs(path)
  rng = np.random.default_rng(0)
  splits = {}
  for split, count in (('train', tokens), ('valid', 100_000)):
    with open(os.path.join(path, f'{split}.bin'), 'wb') as file:
      for first in range(0, count, 1 << 24):
        part = rng.integers(0, VOCABULARY, min(1 << 24, count - first), np.uint16)
        file.write(part.tobytes())
    ends = np.append(np.arange(1000, count, 1000), count)
    np.stack([ends, 2 * ends], axis=1).tofile(os.path.join(path, f'{split}.documents'))
    splits[split] = {'tokens': count, 'characters': 2 * count, 'bytes': 2 * count,
                     'documents': len(ends)}
  np.save(os.path.join(path, 'unigram.npy'), np.full(VOCABULARY, tokens // VOCABULARY))
  np.save(os.path.join(path, 'token_bytes.npy'), np.full(VOCABULARY, 2))
  files.replace(os.path.join(path, token_store.MANIFEST), files.to_json({
      'format': token_store.FORMAT, 'corpus': 'random', 'tokenizer': f'bpe-{VOCABULARY}-random',
      'tokenizer_sha256': tokenizers.Bytes.digest, 'vocab_size': VOCABULARY, 'dtype': '<u2',
      'fingerprint': '0' * 16, 'source': {}, 'splits': splits,
      'sizes': {name: os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)}}))


def read(path: str, batches: int) -> None:
  """Prints the RssAnon and RssFile of this process after reading, in MB, and the speed."""
  spec = specs.RunSpec(data=specs.DataSpec(
      domains={'random': specs.DomainSpec()}, vocab_size=VOCABULARY, batch=64))
  feed = Feed(spec, {'random': TokenStore.open(path)})
  feed.eval_windows('random', spec.evaluation.windows)
  drawn, begun = feed.start(), time.perf_counter()
  for step in range(0, batches, 10):
    _, drawn = feed.take(step, 10, drawn)
  seconds = time.perf_counter() - begun
  with open('/proc/self/status') as file:
    status = dict(line.split(':', 1) for line in file)
  anonymous, mapped = (int(status[name].split()[0]) / 1024 for name in ('RssAnon', 'RssFile'))
  print(f'{anonymous:.1f} {mapped:.1f} {batches * spec.data.tokens_per_step / seconds:.0f}')


def main(argv: list[str]) -> None:
  del argv
  if _READ.value:
    read(_READ.value, _BATCHES.value)
    return
  print(f'{"store, MB":>10} {"RssAnon, MB":>12} {"RssFile, MB":>12} {"tokens/s":>12}')
  with tempfile.TemporaryDirectory() as root:
    for megabytes in (1, _MEGABYTES.value):
      path = os.path.join(root, str(megabytes), f'bpe-{VOCABULARY}-random', 'random')
      write(path, megabytes * 500_000)
      found = subprocess.run(
          [sys.executable, __file__, f'--read={path}', f'--batches={_BATCHES.value}'],
          check=True, stdout=subprocess.PIPE, text=True).stdout.split()
      print(f'{megabytes:>10} {found[0]:>12} {found[1]:>12} {int(found[2]):>12,}')


if __name__ == '__main__':
  app.run(main)
