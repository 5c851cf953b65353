"""Running sweeps as processes, and looking at what they leave."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from tests.conftest import ROOT

# Four runs of one shape, long enough to be caught in the middle, in packs of two lanes.
STUDY = ('--config=configs/tiny.py', '--config.base.steps=5000',
         '--config.base.evaluation.points=10', '--pack=2', '--cpu_devices=1',
         '--checkpoint_seconds=0.2')


def command(workdir: pathlib.Path, store: str, *flags: str, study: tuple[str, ...] = STUDY
            ) -> list[str]:
  return [sys.executable, '-m', 'scaling.sweep', *study, f'--workdir={workdir}',
          f'--store={store}', *flags]


def start(workdir: pathlib.Path, store: str, *flags: str, study: tuple[str, ...] = STUDY,
          compiled: bool = True, environment: Mapping[str, str] | None = None, **options: Any,
          ) -> subprocess.Popen:
  if compiled and not any(flag.startswith('--mode=') for flag in flags):
    share_compiled(workdir)
  return subprocess.Popen(command(workdir, store, *flags, study=study), cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, 'PYTHONUNBUFFERED': '1', **(environment or {})},
                          **options)


def share_compiled(workdir: pathlib.Path) -> None:
  """Makes the tests' cache (tests/conftest.py) that of a workdir: the studies here share a few
  shapes, and compiling one costs more than the rest of a sweep."""
  if not os.path.lexists(workdir / 'compiled'):
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / 'compiled').symlink_to(os.environ['JAX_COMPILATION_CACHE_DIR'])


def sweep(workdir: pathlib.Path, store: str, *flags: str, study: tuple[str, ...] = STUDY,
          expect: int = 0, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess:
  process = start(workdir, store, *flags, study=study, compiled=expect != 2, **options)
  out, err = process.communicate(timeout=timeout)
  assert process.returncode == expect, f'exit code {process.returncode}\n{out}\n{err}'
  assert 'Traceback' not in err, err
  return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def curves(workdir: pathlib.Path) -> dict[str, bytes]:
  return {path.parent.name: path.read_bytes() for path in workdir.glob('runs/*/curve.jsonl')}


def results(workdir: pathlib.Path) -> set[str]:
  return {path.parent.name for path in workdir.glob('runs/*/result.json')}


def trained_steps(workdir: pathlib.Path) -> dict[str, int]:
  """Steps that all workers together have reported for each run."""
  found = {}
  for path in workdir.glob('runs/*/timing.jsonl'):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    found[path.parent.name] = sum(entry['tokens'] for entry in entries) // (4 * 32)
  return found


def wait_for(condition, seconds: float = 120) -> None:
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it did not happen in time'
    time.sleep(0.01)
