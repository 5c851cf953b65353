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

# Tests and the commands they start compile the same programs again and again: one cache for all,
# set before JAX is imported, inherited by the workers of xdist and by commands (sweeps have one in
# their workdir: tests/scaling/sweeps.py). An entry read while it is written is compiled again.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _cache = tempfile.mkdtemp(prefix='jax-cache-')
  atexit.register(shutil.rmtree, _cache, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'
  # XLA's caches for GPUs, whose folder would be part of the key of every program.
  os.environ['JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES'] = 'none'

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Files that train sweeps, the longest, come first: no core idles while the other ends them."""
  trains = {item.path for item in items if 'markov_store' in getattr(item, 'fixturenames', ())}
  items.sort(key=lambda item: item.path not in trains)


@pytest.fixture(scope='session')
def markov_store(tmp_path_factory) -> str:
  """A folder with the token store of the synthetic corpus, built once."""
  store = tmp_path_factory.mktemp('tokens')
  made = subprocess.run(
      [sys.executable, '-m', 'scaling.data.prepare', '--corpus=markov', '--tokenizer=symbols',
       '--vocab_size=64', f'--store={store}'], cwd=ROOT, capture_output=True, text=True)
  assert made.returncode == 0, made.stderr
  return os.fspath(store)
