"""A small entry point over `cli` and `study`, and fake token stores: what their tests run.

`python -m tests.scaling.probe --config=...` prints the run ids of a study. With cases as JSON on
stdin (a list of argument lists) `python -m tests.scaling.probe cases` runs each in a forked process
of its own, as a user would, without paying the imports every time, and prints
[[exit code, stdout, stderr], ...].
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags

from scaling import cli, study
from scaling.data import token_store
from scaling.errors import InputError
from scaling.specs import RunSpec

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The study.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where it writes a file.')
_FAIL = flags.DEFINE_enum('fail', None, ['input', 'bug', 'write', 'code'], 'How main ends.')


@dataclasses.dataclass(frozen=True)
class FakeStore:
  """As much of a TokenStore as a study looks at."""

  name: str
  tokenizer: str
  vocab_size: int
  fingerprint: str = '0123456789abcdef'
  train: int = 9_000_000
  valid: int = 100_000
  per_token: float = 2.0  # characters
  manifest: Any = dataclasses.field(default_factory=lambda: {'end_of_document': 1})

  def count(self, split: str) -> int:
    return self.train if split == 'train' else self.valid

  def characters(self, split: str) -> int:
    return int(self.per_token * self.count(split))

  def tokens_for_characters(self, split: str, characters: float) -> int:
    del split
    return round(characters / self.per_token)

  @property
  def seen(self) -> np.ndarray:
    return np.ones(self.vocab_size, bool)

  @property
  def token_bytes(self) -> np.ndarray:
    return np.full(self.vocab_size, 2)

  def windows(self, split: str, length: int, unique_tokens: int | None = None) -> int:
    tokens = self.count(split)
    return max(0, min(tokens, unique_tokens or tokens) - 1) // length


def stores(spec: RunSpec, **fields: Any) -> dict[str, FakeStore]:
  """A store of every domain, built with the tokenizer the run asks for."""
  data = spec.data
  name = token_store.tokenizer_name(data.tokenizer, data.vocab_size, data.trained_on)
  return {domain: FakeStore(domain, **{'tokenizer': name, 'vocab_size': data.vocab_size, **fields})
          for domain in data.domains}


def main(argv: list[str]) -> int:
  assert len(argv) == 1
  planned = study.build(_CONFIG.value, cli.overrides('config'), stores)
  if _FAIL.value == 'input':
    raise InputError('some\ninput')
  if _FAIL.value == 'bug':
    raise ZeroDivisionError('a bug')
  if _FAIL.value == 'code':
    return 3
  if _WORKDIR.value is not None:
    with open(os.path.join(_WORKDIR.value, 'study.json'), 'x') as file:
      file.write(planned.name)
  for run in planned.runs:
    print(run.run_id)
  return 0


def cases(arguments: list[list[str]]) -> list[tuple[int, str, str]]:
  """Runs this entry point once for each list of arguments."""
  results = []
  for given in arguments:
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
      child = os.fork()
      if child == 0:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.argv = ['probe', *given]
        cli.run(main, need=('config',))
      code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
      out.seek(0)
      err.seek(0)
      results.append((code, out.read(), err.read()))
  return results


if __name__ == '__main__':
  if sys.argv[1:] == ['cases']:
    json.dump(cases(json.load(sys.stdin)), sys.stdout)
  else:
    cli.run(main, need=('config',))
