"""The prepare command: stores made whole or not at all, and bad input in one line."""

import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

from scaling.data import build, corpora, embedded
from scaling.data.job import Job
from scaling.data.prepare import prepare, scratch_folder
from scaling.data.token_store import TokenStore
from scaling.data.tokenizers import Bytes
from scaling.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(*flags, **more):
  return subprocess.run([sys.executable, '-m', 'scaling.data.prepare', *map(str, flags)],
                        capture_output=True, text=True, **more)


@pytest.fixture
def lines(tmp_path):
  path = tmp_path / 'in' / 'some.jsonl'
  path.parent.mkdir()
  path.write_text(''.join(
      json.dumps({'text': f'line {i} of a small corpus', 'n': i}) + '\n' for i in range(100)))
  return path


def test_a_second_call_reuses_the_store(tmp_path, lines):
  flags = ('--corpus=mine', f'--path={lines}', '--vocab_size=300', f'--store={tmp_path / "s"}')
  first = run(*flags)
  assert (first.returncode, first.stdout.count('made')) == (0, 1), first.stderr
  assert first.stderr.splitlines() == [  # no terminal: plain lines
      'reading mine', 'training the tokenizer, 300 pieces', 'tokenizing mine']
  at = os.stat(tmp_path / 's' / 'bpe-300-mine' / 'mine' / 'train.bin').st_mtime_ns
  begun = time.monotonic()
  second = run(*flags)
  assert time.monotonic() - begun < 5
  assert (second.returncode, second.stdout.count('already there'), second.stderr) == (0, 1, '')
  assert os.stat(tmp_path / 's' / 'bpe-300-mine' / 'mine' / 'train.bin').st_mtime_ns == at
  assert sorted(os.listdir(tmp_path / 's')) == ['bpe-300-mine']
  lines.write_text(lines.read_text() + '{"text": "one more"}\n')
  third = run(*flags)
  assert third.returncode == 2
  assert third.stderr.count('\n') == 1
  assert 'made from other text' in third.stderr


def test_text_files_are_documents_and_globs_reach_into_folders(tmp_path):
  for i in range(60):
    path = tmp_path / 'in' / str(i % 3) / f'{i}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'document {i}\nof two lines')
  job = Job.of(str(tmp_path), ['mine'], 'bytes', path=[f'{tmp_path}/in/**/*.txt'])
  store = prepare(job)['mine']
  assert store.documents('train') + store.documents('valid') == 60
  assert store.documents('valid') >= 1


def test_a_tokenizer_may_be_trained_on_other_corpora_than_it_is_used_on(tmp_path, lines):
  other = tmp_path / 'in' / 'other.jsonl'
  other.write_text(''.join(f'{{"text": "quite other words {i}"}}\n' for i in range(100)))
  path, root = [f'mine={lines}', f'other={other}'], str(tmp_path)
  job = Job.of(root, ['mine'], 'bpe', 300, ['mine', 'other'], path=path)
  prepare(job)
  assert not os.path.exists(job.target('other'))
  later = prepare(Job.of(root, ['other'], 'bpe', 300, ['mine', 'other'], path=[f'other={other}']))
  assert later['other'].tokenizer == 'bpe-300-mine+other'
  again = prepare(Job.of(root, ['mine', 'other'], 'bpe', 300))  # both there: no --path is needed
  assert set(again) == {'mine', 'other'}


JSON = 'in/some.jsonl'
BAD = {
    'no corpus': ([], '--corpus: this flag must be given'),
    'an empty name': (['--corpus='], '--corpus: '),
    'unknown corpus': (['--corpus=c5'], "--corpus: 'c5' .* built in are python_docs"),
    'a path as a name': (['--corpus=../x'], "--corpus: '../x' .* letters"),
    'a built-in name for own text': (['--corpus=markov', f'--path={JSON}', '--tokenizer=symbols'],
                                     '--path: .* built-in corpora have no files'),
    'unknown tokenizer': (['--corpus=mine', '--tokenizer=words'], '--tokenizer=words.*bpe'),
    'another size of bytes': (['--corpus=mine', '--tokenizer=bytes', '--vocab_size=512'],
                              '--vocab_size: 512 .* exactly 256'),
    'size zero': (['--corpus=mine', '--vocab_size=0'], '--vocab_size: 0 .* positive'),
    'size not a number': (['--corpus=mine', '--vocab_size=300,big'],
                          '--vocab_size: .big. .* number of pieces'),
    'size below the characters': (['--corpus=mine', f'--path={JSON}', '--vocab_size=265'],
                                  r'--vocab_size: 265 .* at least 2\d\d'),
    'size above the merges': (['--corpus=mine', f'--path={JSON}', '--vocab_size=9000'],
                              r'--vocab_size: 9000 .* 2\d\d to \d+'),
    'text as symbols': (['--corpus=mine', f'--path={JSON}', '--tokenizer=symbols'],
                        '--tokenizer: .symbols'),
    'symbols as text': (['--corpus=markov'], '--tokenizer: .bpe. .* goes with symbols'),
    'bytes trained on something': (['--corpus=mine', '--tokenizer=bytes',
                                    '--tokenizer_corpora=mine'], '--tokenizer_corpora'),
    'missing file': (['--corpus=mine', '--path=nowhere/*.txt'], '--path: .nowhere.* no file'),
    'a folder': (['--corpus=mine', '--path=in'], '--path: .in. .* no file'),
    'missing field': (['--corpus=mine', f'--path={JSON}', '--text_field=body'],
                      "some.jsonl, line 1 has no field 'body'; it has: n, text"),
    'field of numbers': (['--corpus=mine', f'--path={JSON}', '--text_field=n'],
                         "line 1: 'n' holds int"),
    'two names, plain path': (['--corpus=mine,yours', f'--path={JSON}'],
                              '--path: .* NAME=GLOB, NAME one of mine, yours'),
    'empty file': (['--corpus=mine', '--path=in/empty.txt'], '--corpus=mine: the corpus is empty'),
    'one document': (['--corpus=mine', '--path=in/one.txt'], 'too few to split'),
    'invalid UTF-8 in text': (['--corpus=mine', '--path=in/latin.txt'],
                              r'latin.txt: invalid UTF-8 at byte 3 \(0xe9\)'),
    'invalid UTF-8 in lines': (['--corpus=mine', '--path=in/latin.jsonl'],
                               r'latin.jsonl, line 2: invalid UTF-8 at byte 27 \(0xe9\)'),
    'not JSON': (['--corpus=mine', '--path=in/broken.jsonl'], 'broken.jsonl, line 2: not JSON'),
    'not an object': (['--corpus=mine', '--path=in/list.jsonl'], 'line 1 has no field .* list'),
    'half a character': (['--corpus=mine', '--path=in/half.jsonl'], 'line 1: .* lone surrogate'),
    'valid share': (['--corpus=mine', '--valid_share=1'], '--valid_share: 1.0 .* between 0 and 1'),
    'no markov tokens': (['--corpus=markov', '--tokenizer=symbols', '--tokens=0'], '--tokens'),
    'the store is a file': (['--corpus=mine', f'--path={JSON}', f'--store={JSON}'],
                            'in/some.jsonl.*(File exists|Not a directory)'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, lines, case):
  folder = lines.parent
  (folder / 'empty.txt').write_text('')
  (folder / 'one.txt').write_text('a single document')
  (folder / 'latin.txt').write_bytes(b'caf\xe9 ol\xe9')
  (folder / 'latin.jsonl').write_bytes(b'{"text": "fine"}\n{"text": "\xe9"}\n')
  (folder / 'broken.jsonl').write_text('{"text": "a"}\n{"text": \n')
  (folder / 'list.jsonl').write_text('[1, 2]\n')
  (folder / 'half.jsonl').write_text('{"text": "\\ud800"}\n')
  before = sorted(os.walk(tmp_path))
  flags, message = BAD[case]
  if not any(flag.startswith('--store') for flag in flags):
    flags = [*flags, '--store=a/new/store']
  done = run(*flags, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
  error = [line for line in done.stderr.splitlines()
           if not line.startswith(('reading', 'training', 'tokenizing'))]
  assert done.returncode == 2, done.stderr
  assert len(error) == 1
  assert re.search(message, error[0]), error[0]
  assert sorted(os.walk(tmp_path)) == before


def test_a_failed_build_keeps_what_was_there(tmp_path, lines):
  root = str(tmp_path / 's')
  prepare(Job.of(root, ['mine'], 'bytes', path=[str(lines)]))
  before = sorted(os.walk(root))
  lines.write_text('{"text": 3}\n')
  with pytest.raises(InputError):
    prepare(Job.of(root, ['other'], 'bytes', path=[str(lines)]))
  assert sorted(os.walk(root)) == before


def test_a_full_disk_leaves_no_half_made_store(tmp_path, lines):
  lines.write_text(''.join(f'{{"text": "{i} {"x" * 5000}"}}\n' for i in range(100)))
  flags = ('--corpus=mine', f'--path={lines}', '--tokenizer=bytes', f'--store={tmp_path / "s"}')

  def limit():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

  done = run(*flags, preexec_fn=limit)
  assert done.returncode == 1
  assert 'no room left' in done.stderr.splitlines()[-1]
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 's').exists()
  assert run(*flags).returncode == 0


@pytest.mark.parametrize('sent, code', [(signal.SIGKILL, -9), (signal.SIGTERM, 3)])
def test_a_killed_build_leaves_no_store_and_the_next_call_clears_up(tmp_path, lines, sent, code):
  lines.write_text(''.join(f'{{"text": "{i} {"x" * 5000}"}}\n' for i in range(100)))
  root = tmp_path / 's'
  worker = subprocess.Popen(
      [sys.executable, '-c',
       'import sys, time\n'
       'from scaling.data import corpora, prepare\n'
       'from scaling import cli\n'
       'real = corpora.files_documents\n'
       'def slow(*args):\n'
       '  yield from real(*args)\n'
       '  print("waiting", flush=True)\n'
       '  time.sleep(60)\n'
       'corpora.files_documents = slow\n'
       'cli.run(prepare.main)', '--corpus=mine', f'--path={lines}', '--tokenizer=bytes',
       f'--store={root}'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
  assert worker.stdout.readline() == 'waiting\n'
  left = os.listdir(root)
  assert len(left) == 1
  assert left[0].startswith('scratch.tmp-')
  with scratch_folder(str(root)):  # another call does not touch the work of a living one
    assert left[0] in os.listdir(root)
  worker.send_signal(sent)
  assert worker.wait(20) == code
  prepare(Job.of(str(root), ['mine'], 'bytes', path=[str(lines)]))
  assert os.listdir(root) == ['bytes']


def test_the_first_of_two_builders_wins(tmp_path, lines):
  job = Job.of(str(tmp_path), ['mine'], 'bytes', path=[str(lines)])
  spool = build.Spool(str(tmp_path / 'spool'), 'mine', corpora.documents('mine', (str(lines),)),
                      0.05, lambda *_: None)
  made = prepare(job)['mine']
  build.text_store(job.target('mine'), str(tmp_path / 'work'), spool, Bytes(), {},
                   lambda *_: None)
  assert TokenStore.open(job.target('mine')).manifest == made.manifest


def test_the_library_reports_progress(tmp_path, lines):
  seen = []
  prepare(Job.of(str(tmp_path), ['mine'], 'bytes', path=[str(lines)]),
          lambda what, done, total: seen.append((what, done, total)))
  assert seen[0][0] == 'reading mine'
  what, done, total = seen[-1]
  assert (what, done) == ('tokenizing mine', total)


def test_embedded_packages_are_pinned_to_the_constraints():
  lines = (ROOT / 'constraints.txt').read_text().splitlines()
  # The first of several pins of a package is that of the Pythons supported now.
  pins = dict(line.split(';')[0].strip().split('==') for line in reversed(lines) if '==' in line)
  assert {name: pins[name] for name in embedded.VERSIONS} == embedded.VERSIONS
  assert {p for packages in embedded.PACKAGES.values() for p in packages} == set(embedded.VERSIONS)


@pytest.mark.parametrize('found', ['1.0', None])
def test_another_version_of_a_package_is_refused(monkeypatch, found):
  real = embedded.importlib.metadata.version

  def version(name):
    if name != 'numpy':
      return real(name)
    if found is None:
      raise embedded.importlib.metadata.PackageNotFoundError(name)
    return found

  monkeypatch.setattr(embedded.importlib.metadata, 'version', version)
  with pytest.raises(InputError, match=rf'numpy==2.* and {found or "none"} is installed; run: pip'):
    embedded.source('python_docs')
