"""Tokenizers: sentencepiece BPE of any size, bytes, and the symbols of the synthetic corpus.

All are lossless: decode(encode(text)) == text for any text that UTF-8 can hold (for symbols: of its
64 characters). Each says which id ends a document, so that documents can be laid end to end.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from scaling.errors import InputError, bad

SYMBOLS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

# sentencepiece writes a space as U+2581 and so cannot tell the two apart. A literal U+2581 becomes
# ESCAPE + '1', a literal ESCAPE (DLE, which text does not hold) ESCAPE + '0'.
SPACE_MARK, ESCAPE = '\u2581', '\x10'
# Sentences above 4,192 bytes are dropped from training without a word, so lines are cut shorter.
SENTENCE_CHARACTERS = 1000
# Ids 0 (unknown, never produced: bytes stand in), 1 (end of a document), 2 to 257 the bytes.
BPE_RESERVED = 258
# Printable ASCII, line breaks and tabs. For text that holds nothing else every one is a piece, so
# that no bytes are needed, and a vocabulary may be as small as these and ids 0 and 1.
ASCII = '_ascii'  # ends the name of a corpus's documents that hold nothing else
ALPHABET = ''.join(map(chr, range(32, 127))) + '\n\t'


def is_ascii(trained_on: Sequence[str]) -> bool:
  """Whether all corpora of a tokenizer hold ALPHABET alone."""
  return bool(trained_on) and all(name.endswith(ASCII) for name in trained_on)


class Tokenizer(Protocol):
  """What the builder of token stores asks of a tokenizer."""

  vocab_size: int
  end: int | None  # the id after every document; None: nothing is added
  digest: str  # sha256 of all that determines the tokens

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]: ...

  def decode(self, ids: Sequence[int]) -> str: ...

  def token_bytes(self) -> np.ndarray:
    """int64 [V]: the UTF-8 bytes a token stands for; 0 for the end of a document."""
    ...


class Bytes:
  """The 256 bytes of UTF-8; 0xFF, which UTF-8 never holds, ends a document."""

  vocab_size: int = 256
  end: int | None = 0xFF
  digest = hashlib.sha256(b'bytes').hexdigest()

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]

  def decode(self, ids: Sequence[int]) -> str:
    return bytes(int(i) for i in ids if i != self.end).decode()

  def token_bytes(self) -> np.ndarray:
    sizes = np.ones(256, np.int64)
    sizes[self.end] = 0
    return sizes


class Symbols:
  """One token a character of SYMBOLS, nothing between documents: an entropy rate stays exact."""

  vocab_size: int = len(SYMBOLS)
  end: int | None = None
  digest = hashlib.sha256(b'symbols' + SYMBOLS.encode()).hexdigest()

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    table = np.full(256, 255, np.uint8)
    table[np.frombuffer(SYMBOLS.encode(), np.uint8)] = np.arange(len(SYMBOLS))
    found = [table[np.frombuffer(text.encode(), np.uint8)] for text in texts]
    for text, ids in zip(texts, found):
      if (ids == 255).any():
        strange = next(c for c in text if c not in SYMBOLS)
        raise bad('tokenizer', 'symbols', f'the text holds {strange!r}; its alphabet is {SYMBOLS}')
    return found

  def decode(self, ids: Sequence[int]) -> str:
    return ''.join(SYMBOLS[int(i)] for i in ids)

  def token_bytes(self) -> np.ndarray:
    return np.ones(len(SYMBOLS), np.int64)


class Bpe:
  """Sentencepiece byte-pair encoding without normalisation.

  Characters that are no pieces become bytes; in a model of ASCII text, which has no bytes, they are
  an error.
  """

  end: int | None = 1

  def __init__(self, model: bytes):
    import sentencepiece
    self.model = model
    self.digest = hashlib.sha256(model).hexdigest()
    self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.vocab_size = self._processor.get_piece_size()
    self._bytes = self.vocab_size > 2 and self._processor.is_byte(2)

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    # One call and one thread a text: a list given whole is spread over threads that cost more.
    found = [np.array(self._processor.encode(_escape(text)), np.int64) for text in texts]
    if not self._bytes:
      for text, ids in zip(texts, found):
        if (ids == 0).any():
          strange = next(c for c in text if c not in ALPHABET)
          raise bad('--tokenizer_corpora', 'ascii', f'the text holds {strange!r}, and a tokenizer '
                    'of ASCII text has no bytes for it')
    return found

  def decode(self, ids: Sequence[int]) -> str:
    return _unescape(self._processor.decode([int(i) for i in ids if i != self.end]))

  def token_bytes(self) -> np.ndarray:
    """Exact for every text without U+2581 and DLE (whose escapes count as their own bytes)."""
    sizes = np.zeros(self.vocab_size, np.int64)
    for i in range(2, self.vocab_size):
      if self._processor.is_byte(i):
        sizes[i] = 1
      else:
        sizes[i] = len(self._processor.id_to_piece(i).replace(SPACE_MARK, ' ').encode())
    return sizes


def train_bpe(texts: Iterable[str], vocab_size: int, ascii_only: bool = False) -> bytes:
  """A BPE model of exactly `vocab_size` pieces; the same bytes for the same texts.

  The pieces are the 258 reserved ones, the characters that make up 99.95 % of the text, and merges;
  with `ascii_only` the 2 reserved ones, ALPHABET, and merges. Pieces hold no line break and do not
  cross from a word into a space. Raises InputError, saying what is allowed, where the text has more
  characters or fewer merges than that.
  """
  sentences = [s for text in texts for s in _sentences(_escape(text))]
  if not sentences:
    raise InputError('--corpus: no text to train a tokenizer on')
  if ascii_only:  # Its option for required characters ends the process at those that never occur.
    sentences += ALPHABET[:-2]
  model = _train(sentences, 'bpe', vocab_size, ascii_only)
  if model is not None and Bpe(model).vocab_size == vocab_size:
    return model
  characters = _train(sentences, 'char', 1_000_000, ascii_only)
  assert characters is not None
  smallest = Bpe(characters).vocab_size
  if vocab_size < smallest:
    reserved = 2 if ascii_only else BPE_RESERVED
    raise bad('--vocab_size', vocab_size,
              f'it must be at least {smallest} for this text: {reserved} reserved ids, and its '
              f'{smallest - reserved} characters')
  largest = Bpe(model).vocab_size if model is not None else smallest
  raise bad('--vocab_size', vocab_size, f'this text gives {smallest} to {largest} pieces')


def _train(sentences: list[str], kind: str, vocab_size: int, ascii_only: bool = False,
           ) -> bytes | None:
  """The model, of fewer pieces where the text has no more; None where its characters do not fit."""
  import sentencepiece
  out = io.BytesIO()
  # Training never sees a line break, which ends a sentence, and drops tabs: it marks words by them.
  characters: dict[str, Any] = (
      {'character_coverage': 1.0, 'user_defined_symbols': ['\n', '\t'], 'byte_fallback': False}
      if ascii_only else
      {'character_coverage': 0.9995, 'byte_fallback': True})
  try:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, model_type=kind,
        vocab_size=vocab_size, hard_vocab_limit=False, **characters,
        normalization_rule_name='identity', add_dummy_prefix=False,
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        unk_id=0, eos_id=1, bos_id=-1, pad_id=-1, num_threads=1, minloglevel=2)
  except RuntimeError:
    return None
  return out.getvalue()


def _sentences(text: str) -> Iterator[str]:
  for line in text.split('\n'):
    for i in range(0, len(line), SENTENCE_CHARACTERS):
      yield line[i:i + SENTENCE_CHARACTERS]


def _escape(text: str) -> str:
  if ESCAPE in text or SPACE_MARK in text:
    return text.replace(ESCAPE, ESCAPE + '0').replace(SPACE_MARK, ESCAPE + '1')
  return text


def _unescape(text: str) -> str:
  if ESCAPE not in text:
    return text
  return re.sub(ESCAPE + '([01])', lambda m: ESCAPE if m[1] == '0' else SPACE_MARK, text)
