"""Fixtures for tests that run the commands as a user does."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def markov_store(tmp_path_factory) -> str:
  """A folder with the token store of the synthetic corpus, built once."""
  store = tmp_path_factory.mktemp('tokens')
  made = subprocess.run(
      [sys.executable, '-m', 'scaling.data.prepare', '--corpus=markov', '--tokenizer=symbols',
       '--vocab_size=64', f'--store={store}'], cwd=ROOT, capture_output=True, text=True)
  assert made.returncode == 0, made.stderr
  return os.fspath(store)
