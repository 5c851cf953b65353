"""Entry point: makes token stores from text.

  python -m scaling.data.prepare --corpus=python_docs --vocab_size=512 --store=DIR
  python -m scaling.data.prepare --corpus=mine --path='texts/*.jsonl' --text_field=text --store=DIR
  python -m scaling.data.prepare --corpus=a,b --path='a=first/*.txt,b=second/*.txt' --store=DIR

What is there already is kept, and checked to come from the same text; what is missing is built.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator

from absl import flags

from scaling import cli, files, specs
from scaling.data import build, corpora, token_store, tokenizers
from scaling.data.job import Job
from scaling.data.token_store import TokenStore
from scaling.errors import InputError

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
    'one a line; with several names of your own, each as NAME=GLOB')
_TEXT_FIELD = flags.DEFINE_string('text_field', 'text', 'the field of a .jsonl line with the text')
_VALID_SHARE = flags.DEFINE_float(
    'valid_share', None, 'share of the documents for validation (default 0.05; licences 0.2)')
_TOKENS = flags.DEFINE_integer(
    'tokens', 8_000_000, 'markov: length of the training split', lower_bound=1)
_VALID_TOKENS = flags.DEFINE_integer(
    'valid_tokens', 400_000, 'markov: length of the validation split', lower_bound=1)


def prepare(job: Job, progress: build.Progress | None = None) -> dict[str, TokenStore]:
  """The stores of a job by corpus, those that are missing built.

  Raises InputError for bad input, and where a store of that name holds other text.
  """
  progress = progress or (lambda *_: None)
  missing = [name for name in job.corpora if not _is_there(job, name)]
  needed = {*missing, *(() if os.path.exists(job.model) else job.trained_on)} if missing else ()
  sources = {name: job.source(name) for name in sorted(needed)}
  if not missing:
    return {name: TokenStore.open(job.target(name)) for name in job.corpora}
  with scratch_folder(job.root) as scratch:
    if missing == [corpora.MARKOV]:
      build.markov_store(
          job.target(corpora.MARKOV), scratch, job.tokens, job.valid_tokens, progress)
      missing = []
    spools: dict[str, build.Spool] = {}

    def spool(name: str) -> build.Spool:
      if name not in spools:
        texts = corpora.documents(name, job.paths.get(name, ()), job.text_field)
        spools[name] = build.Spool(
            os.path.join(scratch, name), name, texts, job.share(name), progress)
      return spools[name]

    tokenizer = _tokenizer(job, spool, progress) if missing else None
    for name in missing:
      assert tokenizer is not None
      build.text_store(job.target(name), scratch, spool(name), tokenizer, sources[name], progress)
      shutil.rmtree(spools.pop(name).folder)
  return {name: TokenStore.open(job.target(name)) for name in job.corpora}


def _is_there(job: Job, corpus: str) -> bool:
  """Whether the store exists. InputError where it holds other text than the job asks for."""
  target = job.target(corpus)
  if not os.path.lexists(target):
    return False
  made_from = TokenStore.open(target).manifest['source']
  if corpus not in corpora.names() and corpus not in job.paths:
    return True  # named without --path: the one that is there
  wanted = job.source(corpus)
  if made_from != wanted:
    changed = sorted(k for k in {*made_from, *wanted} if made_from.get(k) != wanted.get(k))
    raise InputError(f'{target}: this token store was made from other text (it differs in '
                     f'{", ".join(changed)}), and runs may rest on it: choose another --store or '
                     'another name, or remove it first')
  return True


def _tokenizer(job: Job, spool: Callable[[str], build.Spool],
               progress: build.Progress) -> tokenizers.Tokenizer:
  if job.tokenizer == 'bytes':
    return tokenizers.Bytes()
  if not os.path.exists(job.model):
    share = build.SAMPLE_CHARACTERS // len(job.trained_on)
    sample = [text for name in job.trained_on for text in spool(name).sample(share)]
    progress(f'training the tokenizer, {job.vocab_size} pieces', 0, 0)
    model = tokenizers.train_bpe(sample, job.vocab_size)
    os.makedirs(job.tokenizer_folder, exist_ok=True)
    # Linked to its name whole; where two processes meet, the first one's stays.
    temporary = f'{job.model}{files.TEMPORARY}{uuid.uuid4().hex[:8]}'
    try:
      with open(temporary, 'xb') as file:
        file.write(model)
        file.flush()
        os.fsync(file.fileno())
      with contextlib.suppress(FileExistsError):
        os.link(temporary, job.model)
    finally:
      files.remove(temporary)
  with open(job.model, 'rb') as file:
    return tokenizers.Bpe(file.read())


@contextlib.contextmanager
def scratch_folder(root: str) -> Iterator[str]:
  """A folder for the work, on the disk that will hold the stores; always removed.

  Its owner holds a lock on it, so the next call clears away what a killed one left.
  """
  made = _make_folders(root)
  folder = os.path.join(root, f'scratch{files.TEMPORARY}{uuid.uuid4().hex[:8]}')
  try:
    for name in os.listdir(root):
      if name.startswith(f'scratch{files.TEMPORARY}'):
        _clear(os.path.join(root, name))
    os.mkdir(folder)
    with open(os.path.join(folder, 'lock'), 'w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      yield folder
  finally:
    files.remove_tree(folder)
    for path in made:  # the folders this call made, where nothing came to lie in them
      with contextlib.suppress(OSError):
        os.rmdir(path)


def _clear(folder: str) -> None:
  """Removes a scratch folder unless its owner lives (or has not come to lock it yet)."""
  with contextlib.suppress(OSError), open(os.path.join(folder, 'lock')) as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    files.remove_tree(folder)


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
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scratch is cleared
  begun = time.monotonic()
  job = Job.of(_STORE.value or '', _CORPUS.value or [], _TOKENIZER.value, _VOCAB_SIZE.value,
               _TOKENIZER_CORPORA.value, _PATH.value, text_field=_TEXT_FIELD.value,
               valid_share=_VALID_SHARE.value, tokens=_TOKENS.value,
               valid_tokens=_VALID_TOKENS.value)
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
