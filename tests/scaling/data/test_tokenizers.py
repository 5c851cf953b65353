"""Tokenizers: lossless for any text, deterministic, and clear about impossible sizes."""

import functools
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaling.data import tokenizers
from scaling.errors import InputError

TEXT = ('The quick brown fox jumps over the lazy dog.\n    def f(x):\n\treturn x ** 2  # naïve\n'
        'for i in range(10): print(i)\n')
any_text = st.text(st.characters(exclude_categories=['Cs']), max_size=200)
tricky = st.text('\u2581\x10\x0001 \t\n\r<>/s\ufeff\u2028e\u0301', max_size=40)


@functools.cache
def bpe(size=320):
  return tokenizers.Bpe(tokenizers.train_bpe([TEXT] * 20, size))


@settings(deadline=None, max_examples=400)
@given(st.one_of(any_text, tricky))
@example('\u2581').via('the space mark itself')
@example('\x10\x101\x100\u2581').via('escapes of escapes')
@example('  a \n\n b  ').via('white space everywhere')
@example('</s><unk><0x41>').via('names of pieces')
@example('\0').via('NUL')
def test_decoding_gives_the_text_back(text):
  for tokenizer in (bpe(), tokenizers.Bytes()):
    ids, = tokenizer.encode([text])
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert tokenizer.end not in ids


@settings(deadline=None)
@given(any_text.filter(lambda t: '\u2581' not in t and '\x10' not in t))
def test_token_bytes_sum_to_the_bytes_of_the_text(text):
  for tokenizer in (bpe(), tokenizers.Bytes()):
    ids, = tokenizer.encode([text])
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


@given(st.text(tokenizers.SYMBOLS))
def test_symbols_are_one_token_a_character(text):
  tokenizer = tokenizers.Symbols()
  ids, = tokenizer.encode([text])
  assert len(ids) == len(text)
  assert tokenizer.decode(ids) == text


def test_symbols_refuse_other_characters():
  with pytest.raises(InputError, match="'!'"):
    tokenizers.Symbols().encode(['abc', 'ab!'])


def test_training_is_deterministic_and_of_the_size_asked_for():
  assert tokenizers.train_bpe([TEXT] * 20, 320) == bpe().model
  assert bpe().vocab_size == 320
  assert len(bpe().encode([TEXT])[0]) < 0.8 * len(TEXT)


def test_ends_of_documents_decode_to_nothing():
  for tokenizer in (bpe(), tokenizers.Bytes()):
    ids, = tokenizer.encode(['one'])
    assert tokenizer.decode(np.append(ids, tokenizer.end)) == 'one'
    assert tokenizer.token_bytes()[tokenizer.end] == 0


def test_long_lines_are_trained_on():
  # sentencepiece alone drops sentences above 4,192 bytes.
  long = 'abcabd ' * 5000
  assert tokenizers.Bpe(tokenizers.train_bpe([long], 266)).vocab_size == 266


@pytest.mark.parametrize('size, message', [
    (100, r'--vocab_size: 100 .* at least 2\d\d'),
    (270, r'--vocab_size: 270 .* at least 2\d\d .* characters'),
    (50_000, r'--vocab_size: 50000 .* 2\d\d to \d+ pieces'),
])
def test_impossible_sizes_say_what_is_possible(size, message):
  with pytest.raises(InputError, match=message):
    tokenizers.train_bpe([TEXT] * 5, size)


def test_the_sizes_it_names_are_possible():
  with pytest.raises(InputError) as error:
    tokenizers.train_bpe([TEXT], 50_000)
  low, high = (int(word) for word in re.search(r'gives (\d+) to (\d+)', str(error.value)).groups())
  for size in (low, high):
    assert tokenizers.Bpe(tokenizers.train_bpe([TEXT], size)).vocab_size == size


def test_no_text_to_train_on():
  with pytest.raises(InputError, match='no text'):
    tokenizers.train_bpe([], 300)
