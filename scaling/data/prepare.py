"""Entry point: makes token stores from text.

  python -m scaling.data.prepare --corpus=python_docs --vocab_size=512 --store=DIR
  python -m scaling.data.prepare --corpus=python_docs_ascii --vocab_size=256,512,1024 --store=DIR
  python -m scaling.data.prepare --corpus=mine --path='texts/*.jsonl' --text_field=text --store=DIR
  python -m scaling.data.prepare --corpus=a,b --path='a=first/*.txt,b=second/*.txt' --store=DIR

What is there already is kept, and checked to come from the same text; what is missing is built.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence

from absl import flags

from scaling import cli, files, specs
from scaling.data import build, compression, corpora, pipeline, token_store, tokenizers
from scaling.data.job import Job
from scaling.data.token_store import TokenStore
from scaling.errors import InputError, bad

_CORPUS = flags.DEFINE_list(
    'corpus', None, f'corpora to tokenize: any of {", ".join(corpora.names())}, or, with --path, '
    'a name for your own text')
_TOKENIZER = flags.DEFINE_enum('tokenizer', 'bpe', specs.TOKENIZERS, 'the kind of tokenizer')
_VOCAB_SIZE = flags.DEFINE_multi_string(
    'vocab_size', None, 'pieces of the bpe tokenizer, or several numbers: a tokenizer each, '
    'trained on the same text (default 512; bytes has 256, symbols 64)')
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
_SHARDS = flags.DEFINE_integer(
    'shards', 0, 'build with Apache Beam, in this many files a split; 0: on this machine, one file',
    lower_bound=0)
_RUNNER = flags.DEFINE_enum(
    'runner', 'DirectRunner', pipeline.RUNNERS, 'with --shards: what runs it')
_BEAM = flags.DEFINE_multi_string(
    'beam', [], 'with --shards: an option of the pipeline, such as --beam=--region=us-central1')


def prepare_all(jobs: Sequence[Job], progress: build.Progress | None = None,
                ) -> list[dict[str, TokenStore]]:
  """`prepare` of jobs that differ in vocabulary size alone; the text is read once.

  The largest vocabulary comes first: a size that the text cannot give is refused before others are
  built. What each made of the text is measured beside the stores (compression.py).
  """
  for job in jobs:
    for name in job.corpora:
      _is_there(job, name)  # Refused before anything is built.
  found: dict[int, dict[str, TokenStore]] = {}
  with contextlib.ExitStack() as stack:
    text = _Text(stack, progress or (lambda *_: None))
    for job in sorted(jobs, key=lambda job: -job.vocab_size):
      found[job.vocab_size] = _prepare(job, text)
  if jobs[0].tokenizer == 'bpe':
    for name in jobs[0].corpora:
      compression.measure(jobs[0].root, jobs[0].trained_on, name)
  return [found[job.vocab_size] for job in jobs]


def prepare(job: Job, progress: build.Progress | None = None) -> dict[str, TokenStore]:
  """The stores of a job by corpus, those that are missing built.

  Raises InputError for bad input, and where a store of that name holds other text.
  """
  return prepare_all([job], progress)[0]


class _Text:
  """The corpora on disk in hash order, in a scratch folder that is made when first needed."""

  def __init__(self, stack: contextlib.ExitStack, progress: build.Progress):
    self._stack, self.progress = stack, progress
    self._scratch: str | None = None
    self._spools: dict[str, build.Spool] = {}

  def scratch(self, job: Job) -> str:
    if self._scratch is None:
      self._scratch = self._stack.enter_context(scratch_folder(job.root))
    return self._scratch

  def spool(self, job: Job, name: str) -> build.Spool:
    if name not in self._spools:
      texts = corpora.documents(name, job.paths.get(name, ()), job.text_field)
      self._spools[name] = build.Spool(os.path.join(self.scratch(job), name), name, texts,
                                       job.share(name), self.progress)
    return self._spools[name]


def _prepare(job: Job, text: _Text) -> dict[str, TokenStore]:
  missing = [name for name in job.corpora if not _is_there(job, name)]
  needed = {*missing, *(() if os.path.exists(job.model) else job.trained_on)} if missing else ()
  sources = {name: job.source(name) for name in sorted(needed)}
  if missing == [corpora.MARKOV]:
    build.markov_store(job.target(corpora.MARKOV), text.scratch(job), job.tokens,
                       job.valid_tokens, text.progress)
  elif missing:
    scratch, tokenizer = text.scratch(job), _tokenizer(job, text)
    for name in missing:
      build.text_store(job.target(name), scratch, text.spool(job, name), tokenizer, sources[name],
                       text.progress)
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


def _tokenizer(job: Job, text: _Text) -> tokenizers.Tokenizer:
  if job.tokenizer == 'bytes':
    return tokenizers.Bytes()
  if not os.path.exists(job.model):
    share = build.SAMPLE_CHARACTERS // len(job.trained_on)
    sample = [document for name in job.trained_on
              for document in text.spool(job, name).sample(share)]
    text.progress(f'training the tokenizer, {job.vocab_size} pieces', 0, 0)
    model = tokenizers.train_bpe(sample, job.vocab_size, job.ascii_only)
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


def prepare_sharded(job: Job, shard_count: int, runner: str, options: Sequence[str],
                    ) -> dict[str, TokenStore]:
  """As `prepare`, with Beam. The tokenizer has to be there: one machine trains it on a sample."""
  pipeline.check()
  if job.tokenizer == 'symbols':
    raise InputError(f'--shards: {corpora.MARKOV} is one walk, made on one machine')
  model = None
  if job.tokenizer == 'bpe':
    try:
      with open(job.model, 'rb') as file:
        model = file.read()
    except FileNotFoundError:
      raise InputError(f'--shards: {job.model} is not there; make it first: the same command on a '
                       'sample of the files into another --store, then copy it here') from None
  missing = [name for name in job.corpora if not _is_there(job, name)]
  for name in missing:
    source = job.source(name)
    partial = f'{job.tokenizer_folder}/scratch{files.TEMPORARY}{uuid.uuid4().hex[:8]}'
    try:
      pipeline.build(f'{partial}/{os.path.basename(job.tokenizer_folder)}/{name}', name,
                     job.paths.get(name, ()), job.text_field, job.share(name), model, source,
                     shard_count, runner, options)
      os.rename(f'{partial}/{os.path.basename(job.tokenizer_folder)}/{name}', job.target(name))
    finally:
      files.remove_tree(partial)
  return {name: TokenStore.open(job.target(name)) for name in job.corpora}


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


def _sizes(given: Sequence[str] | None) -> list[int | None]:
  """--vocab_size: numbers, with commas between them or the flag repeated."""
  found: list[int | None] = []
  for item in (item for text in given or () for item in text.split(',')):
    if not item.strip().isdecimal():
      raise bad('--vocab_size', item, 'it must be a number of pieces, or several: 256,512,1024')
    if int(item) not in found:
      found.append(int(item))
  return found or [None]


def main(argv: list[str]) -> int | None:
  del argv
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scratch is cleared
  begun = time.monotonic()
  jobs = [Job.of(_STORE.value or '', _CORPUS.value or [], _TOKENIZER.value, size,
                 _TOKENIZER_CORPORA.value, _PATH.value, text_field=_TEXT_FIELD.value,
                 valid_share=_VALID_SHARE.value, tokens=_TOKENS.value,
                 valid_tokens=_VALID_TOKENS.value)
          for size in _sizes(_VOCAB_SIZE.value)]
  there = {job.target(name) for job in jobs for name in job.corpora
           if os.path.lexists(job.target(name))}
  with _reporter() as progress:
    stores = ([prepare_sharded(job, _SHARDS.value, _RUNNER.value, _BEAM.value) for job in jobs]
              if _SHARDS.value else prepare_all(jobs, progress))
  for store in (store for made in stores for store in made.values()):
    counts = ', '.join(f'{store.count(s):,} {s}' for s in token_store.SPLITS)
    per_token = store.characters('train') / max(store.count('train'), 1)
    print(f'{store.path}: {"already there" if store.path in there else "made"}; tokens {counts}; '
          f'{per_token:.2f} characters a token; {store.fingerprint}')
  print(f'{time.monotonic() - begun:.1f} s')
  return 0


if __name__ == '__main__':
  cli.run(main, need=('corpus', 'store'))
