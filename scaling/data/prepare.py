"""Entry point: makes token stores from text.

  python -m scaling.data.prepare --corpus=python_docs --vocab_size=512 --store=DIR
  python -m scaling.data.prepare --corpus=mine --path='texts/*.jsonl' --text_field=text --store=DIR

What is there already is kept, and checked to come from the same text; what is missing is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

from absl import flags

from scaling import cli, files, specs
from scaling.data import build, corpora, token_store, tokenizers
from scaling.data.token_store import TokenStore
from scaling.errors import InputError, bad

_CORPUS = flags.DEFINE_list(
    'corpus', None, f'corpora to tokenize: any of {", ".join(corpora.names())}, or, with --path, '
    'a name for your own text')
_TOKENIZER = flags.DEFINE_enum('tokenizer', 'bpe', specs.TOKENIZERS, 'the kind of tokenizer')
_VOCAB_SIZE = flags.DEFINE_integer(
    'vocab_size', None, 'pieces of the bpe tokenizer (default 512; bytes has 256, symbols 64)')
_TOKENIZER_CORPORA = flags.DEFINE_list(
    'tokenizer_corpora', None, 'bpe: the corpora it is trained on (default: those of --corpus)')
_STORE = flags.DEFINE_string('store', None, 'folder of the token stores')
_PATH = flags.DEFINE_list(
    'path', [], 'your own text: files or globs, UTF-8; one document a file, or, in .jsonl files, '
    'one a line')
_TEXT_FIELD = flags.DEFINE_string('text_field', 'text', 'the field of a .jsonl line with the text')
_TOKENS = flags.DEFINE_integer(
    'tokens', 8_000_000, 'markov: length of the training split', lower_bound=1)
_VALID_TOKENS = flags.DEFINE_integer(
    'valid_tokens', 400_000, 'markov: length of the validation split', lower_bound=1)


@dataclasses.dataclass(frozen=True)
class Job:
  """What a call asks for, checked."""

  root: str
  corpora: tuple[str, ...]
  tokenizer: str
  vocab_size: int
  trained_on: tuple[str, ...]  # empty unless the tokenizer is bpe
  path: tuple[str, ...] = ()  # of the one corpus that is the user's own
  text_field: str = 'text'
  tokens: int = 8_000_000
  valid_tokens: int = 400_000

  @classmethod
  def of(cls, root: str, names: list[str], tokenizer: str, vocab_size: int | None = None,
         trained_on: list[str] | None = None, **more: Any) -> Job:
    """Raises InputError for what cannot be built, before anything is read."""
    names = sorted(set(names))
    if not names or not all(names):
      raise bad('--corpus', ','.join(names), f'give at least one of {", ".join(corpora.names())}')
    for name in [*names, *(trained_on or ())]:
      corpora.check_name(name)
    fixed = {'bytes': 256, 'symbols': len(tokenizers.SYMBOLS)}.get(tokenizer)
    size = vocab_size if vocab_size is not None else fixed or 512
    if fixed and size != fixed:
      raise bad('--vocab_size', size, f'the {tokenizer} tokenizer has exactly {fixed}')
    if size < 1:
      raise bad('--vocab_size', size, 'it must be positive')
    if trained_on and tokenizer != 'bpe':
      raise bad('--tokenizer_corpora', ','.join(trained_on), f'{tokenizer} is not trained')
    if (corpora.MARKOV in names) != (tokenizer == 'symbols') or (
        tokenizer == 'symbols' and len(names) > 1):
      raise bad('--tokenizer', tokenizer,
                f'--corpus={corpora.MARKOV}, alone, goes with symbols, and symbols with it')
    base = () if tokenizer != 'bpe' else tuple(sorted(set(trained_on or names)))
    if corpora.MARKOV in base:
      raise bad('--tokenizer_corpora', corpora.MARKOV, 'it holds symbols, not text')
    job = cls(root, tuple(names), tokenizer, size, base, **more)
    if job.path and len([n for n in {*names, *base} if n not in corpora.names()]) != 1:
      raise bad('--corpus', ','.join(names), '--path gives the text of exactly one new name')
    return job

  @property
  def tokenizer_folder(self) -> str:
    name = token_store.tokenizer_name(self.tokenizer, self.vocab_size, self.trained_on)
    return os.path.join(self.root, name)

  def target(self, corpus: str) -> str:
    return os.path.join(self.tokenizer_folder, corpus)

  def paths(self, corpus: str) -> tuple[str, ...]:
    return () if corpus in corpora.names() else self.path

  def source(self, corpus: str) -> dict[str, Any]:
    if corpus == corpora.MARKOV:
      return build.markov_source(self.tokens, self.valid_tokens)
    return corpora.source(corpus, self.paths(corpus), self.text_field)


def prepare(job: Job, progress: build.Progress | None = None) -> dict[str, TokenStore]:
  """The stores of a job by corpus, those that are missing built.

  Raises InputError for bad input, and where a store of that name holds other text.
  """
  progress = progress or (lambda *_: None)
  sources = {name: job.source(name) for name in {*job.corpora, *job.trained_on}}
  missing = [name for name in job.corpora if not _is_there(job, name, sources[name])]
  if missing == [corpora.MARKOV]:
    build.markov_store(job.target(corpora.MARKOV), job.tokens, job.valid_tokens, progress)
  elif missing:
    with _scratch(job.root) as scratch:
      spools: dict[str, build.Spool] = {}

      def spool(name: str) -> build.Spool:
        if name not in spools:
          texts = corpora.documents(name, job.paths(name), job.text_field)
          spools[name] = build.Spool(os.path.join(scratch, name), name, texts, progress)
        return spools[name]

      tokenizer = _tokenizer(job, spool, progress)
      for name in missing:
        build.text_store(job.target(name), spool(name), tokenizer, sources[name], progress)
        shutil.rmtree(spools.pop(name).folder)
  return {name: TokenStore.open(job.target(name)) for name in job.corpora}


def _is_there(job: Job, corpus: str, source: dict[str, Any]) -> bool:
  target = job.target(corpus)
  if not os.path.lexists(target):
    return False
  made_from = TokenStore.open(target).manifest['source']
  if made_from != source:
    changed = sorted(k for k in {*made_from, *source} if made_from.get(k) != source.get(k))
    raise InputError(f'{target}: this token store was made from other text (it differs in '
                     f'{", ".join(changed)}); runs may rest on it: choose another --store or '
                     'another name, or remove it first')
  return True


def _tokenizer(job: Job, spool: Any, progress: build.Progress) -> tokenizers.Tokenizer:
  if job.tokenizer == 'bytes':
    return tokenizers.Bytes()
  path = os.path.join(job.tokenizer_folder, 'tokenizer.model')
  if not os.path.exists(path):
    share = build.SAMPLE_CHARACTERS // len(job.trained_on)
    sample = [text for name in job.trained_on for text in spool(name).sample(share)]
    progress(f'training the tokenizer, {job.vocab_size} pieces', 0, 0)
    model = tokenizers.train_bpe(sample, job.vocab_size)
    os.makedirs(job.tokenizer_folder, exist_ok=True)
    # Linked to its name whole; where two processes meet, the first one's stays.
    temporary = f'{path}{files.TEMPORARY}{uuid.uuid4().hex[:8]}'
    try:
      with open(temporary, 'xb') as file:
        file.write(model)
        file.flush()
        os.fsync(file.fileno())
      with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    finally:
      files.remove(temporary)
  with open(path, 'rb') as file:
    return tokenizers.Bpe(file.read())


@contextlib.contextmanager
def _scratch(root: str) -> Iterator[str]:
  """A folder for the spools, on the disk that will hold the stores; always removed."""
  made = _make_folders(root)
  folder = os.path.join(root, f'spool{files.TEMPORARY}{uuid.uuid4().hex[:8]}')
  try:
    os.mkdir(folder)
    yield folder
  finally:
    files.remove_tree(folder)
    for path in made:  # the folders this call made, where nothing came to lie in them
      with contextlib.suppress(OSError):
        os.rmdir(path)


def _make_folders(path: str) -> list[str]:
  """Makes a folder and its parents; those that were not there, the deepest first."""
  missing = []
  at = os.path.abspath(path)
  while not os.path.lexists(at):
    missing.append(at)
    at = os.path.dirname(at)
  os.makedirs(path, exist_ok=True)
  return missing


@contextlib.contextmanager
def _reporter() -> Iterator[build.Progress]:
  """A bar on a terminal; elsewhere one line as each thing begins."""
  if not sys.stderr.isatty():
    begun: set[str] = set()

    def line(what: str, done: int, total: int) -> None:
      if what not in begun:
        begun.add(what)
        print(what, file=sys.stderr, flush=True)

    yield line
    return
  import rich.console
  import rich.progress
  columns = (rich.progress.TextColumn('{task.description}'), rich.progress.BarColumn(),
             rich.progress.TextColumn('{task.completed:,.0f}'), rich.progress.TimeElapsedColumn(),
             rich.progress.TimeRemainingColumn())
  with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as bars:
    tasks: dict[str, rich.progress.TaskID] = {}

    def bar(what: str, done: int, total: int) -> None:
      if what not in tasks:
        tasks[what] = bars.add_task(what)
      bars.update(tasks[what], completed=done, total=total or None)

    yield bar


def main(argv: list[str]) -> int | None:
  del argv
  begun = time.monotonic()
  job = Job.of(_STORE.value or '', _CORPUS.value or [], _TOKENIZER.value, _VOCAB_SIZE.value,
               _TOKENIZER_CORPORA.value, path=tuple(_PATH.value), text_field=_TEXT_FIELD.value,
               tokens=_TOKENS.value, valid_tokens=_VALID_TOKENS.value)
  there = {name for name in job.corpora if os.path.lexists(job.target(name))}
  with _reporter() as progress:
    stores = prepare(job, progress)
  for name, store in stores.items():
    counts = ', '.join(f'{store.count(s):,} {s}' for s in token_store.SPLITS)
    per_token = store.characters('train') / max(store.count('train'), 1)
    print(f'{store.path}: {"already there" if name in there else "made"}; tokens {counts}; '
          f'{per_token:.2f} characters a token; {store.fingerprint}')
  print(f'{time.monotonic() - begun:.1f} s')
  return 0


if __name__ == '__main__':
  cli.run(main, need=('corpus', 'store'))
