"""Compression: how many tokens a vocabulary of V makes of a character, measured on token stores.

  f(V) = a ln(V)^2 + b ln(V) + c

(Tao et al. 2024, arXiv 2407.13623), by least squares over the BPE tokenizers of one text that lie
in a store's root, documents' ends counted. ROOT/compression-<tokenizer's corpora>-<corpus>.json has
the measured sizes, two or more, and, from three on, a, b, c; `prepare` keeps it up to date.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from scaling import files
from scaling.data import token_store
from scaling.data.token_store import TokenStore


def path(root: files.PathLike, trained_on: tuple[str, ...], corpus: str) -> str:
  return os.path.join(os.fspath(root), f'compression-{"+".join(sorted(trained_on))}-{corpus}.json')


def measure(root: str, trained_on: tuple[str, ...], corpus: str) -> dict[str, Any]:
  """Writes and returns the compression of a corpus under every BPE tokenizer of the root that was
  trained on the same corpora.

  {'corpus', 'tokenizer_corpora', 'sizes': [{'V', 'tokens', 'characters', 'ratio', 'unused',
  'fingerprint'}], 'a', 'b', 'c', 'r2'}: counts of the training split; unused: pieces that it never
  holds; the fit is there from three sizes on.
  """
  sizes: list[dict[str, Any]] = []
  for name in os.listdir(root):
    kind, _, rest = name.partition('-')
    size, _, corpora = rest.partition('-')
    there = os.path.join(root, name, corpus)
    if kind == 'bpe' and corpora == '+'.join(sorted(trained_on)) and os.path.exists(
        os.path.join(there, token_store.MANIFEST)):
      store = TokenStore.open(there)
      tokens, characters = store.count('train'), store.characters('train')
      sizes.append({'V': int(size), 'tokens': tokens, 'characters': characters,
                    'ratio': tokens / characters, 'unused': int((~store.seen).sum()),
                    'fingerprint': store.fingerprint})
  sizes.sort(key=lambda row: row['V'])
  found: dict[str, Any] = {'corpus': corpus, 'tokenizer_corpora': '+'.join(sorted(trained_on)),
                           'sizes': sizes}
  if len(sizes) < 2:
    return found
  if len(sizes) >= 3:
    found |= fit([row['V'] for row in sizes], [row['ratio'] for row in sizes])
  target, text = path(root, trained_on, corpus), files.to_json(found) + '\n'
  if not files.exists(target) or files.read_text(target) != text:
    files.replace(target, text)
  return found


def fit(V: Any, ratio: Any) -> dict[str, float]:
  """a, b, c of f by least squares, and R^2, from tokens a character at three sizes or more."""
  x, y = np.log(np.asarray(V, np.float64)), np.asarray(ratio, np.float64)
  a, b, c = np.polyfit(x, y, 2)
  rest = y - np.polyval([a, b, c], x)
  return {'a': float(a), 'b': float(b), 'c': float(c),
          'r2': float(1 - rest @ rest / np.square(y - y.mean()).sum())}
