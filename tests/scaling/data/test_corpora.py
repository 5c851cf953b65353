"""The embedded corpora, and corpora as seqio Tasks."""

import itertools
import subprocess
import sys

import pytest

from scaling.data import corpora, embedded


def _are_prose(least, every):
  documents = set(embedded.documents('python_docs'))
  assert sum(map(len, documents)) > least
  assert min(map(len, documents)) >= 100
  words = ' '.join(itertools.islice(sorted(documents), 0, None, every)).lower().split()
  assert 0.02 < words.count('the') / len(words) < 0.08  # 0.06 in English books
  valid = [d for d in documents if corpora.split_of(d, 0.05) == 'valid']
  assert 0.04 < len(valid) / len(documents) < 0.06


def test_docstrings_are_prose(monkeypatch):
  """Of three of the packages, a tenth of the corpus."""
  monkeypatch.setitem(embedded.PACKAGES, 'python_docs', ('numpy', 'optax', 'flax'))
  _are_prose(2.4e6, every=10)


@pytest.mark.slow  # Half a minute of parsing.
def test_all_docstrings_are_prose_and_enough_of_it():
  _are_prose(12e6, every=100)


def test_code_holds_no_docstrings():
  source = '''"""Module."""
import os


class A:
  """A class.

  With lines.
  """

  def f(self):
    """Only this."""
    return "a string"
'''
  assert embedded._docstrings(source) == ['Module.', 'A class.\n\nWith lines.', 'Only this.']
  kept = embedded._without_docstrings(source)
  assert '"""' not in kept
  assert 'return "a string"' in kept
  assert embedded._docstrings('def broken(:') == []


@pytest.mark.parametrize('corpus, needle, smallest', [
    ('cpp_code', '#include', 10e6), ('licences', 'WARRANT', 0.5e6)])
def test_the_other_corpora_are_what_they_say(corpus, needle, smallest):
  documents = set(embedded.documents(corpus))
  assert sum(map(len, documents)) > smallest
  assert sum(needle in d for d in documents) > len(documents) / 20


def test_paragraphs_of_a_licence_start_anew_after_a_rule():
  text = 'short\n\n' + 'a' * 1200 + '\n\nrest\n' + '=' * 70 + '\nnext'
  assert embedded._paragraphs(text) == ['short\n\n' + 'a' * 1200, 'rest', 'next']


SEQIO = '''
import sys
from scaling.data import corpora, embedded
assert 'tensorflow' not in sys.modules and 'seqio' not in sys.modules
task = corpora.task('licences')
assert corpora.task('licences') is task
documents = set(embedded.documents('licences'))
found = {}
for split in ('train', 'valid'):
  rows = list(task.get_dataset({'targets': 10**6}, split, shuffle=False).as_numpy_iterator())
  texts = [task.output_features['targets'].vocabulary.decode(row['targets'][:-1].tolist())
           for row in rows]
  assert rows[0]['targets'][-1] == 1, 'ends with the end of sequence'
  assert len(set(texts)) == len(texts), 'duplicates dropped'
  found[split] = set(texts)
assert not found['train'] & found['valid']
assert found['train'] | found['valid'] == documents
'''


def test_a_corpus_is_a_seqio_task_with_the_documents_of_its_store():
  done = subprocess.run([sys.executable, '-c', SEQIO], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
