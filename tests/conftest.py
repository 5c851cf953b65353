"""Fixtures for tests that run the commands as a user does."""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

# Commands under test compile the same programs again and again: one cache a test process, for its
# writes are not locked; set before JAX is imported, inherited by commands. Sweeps have their own.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _cache = tempfile.mkdtemp(prefix='jax-cache-')
  atexit.register(shutil.rmtree, _cache, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'

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
