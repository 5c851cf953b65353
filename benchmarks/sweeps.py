"""What the benchmarks of whole sweeps share: a token store of the synthetic corpus, and a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

STORE = ('--corpus=markov', '--tokenizer=symbols', '--tokens=4000000')


def prepare(folder: str) -> str:
  """Makes a token store of the Markov corpus; returns its folder."""
  _run('scaling.data.prepare', *STORE, f'--store={folder}/tokens')
  return f'{folder}/tokens'


def sweep(config: str, workdir: str, store: str, *flags: str) -> tuple[float, dict[str, Any]]:
  """Wall seconds of a sweep in a process of its own, and its status afterwards."""
  arguments = (f'--config={config}', f'--workdir={workdir}', f'--store={store}')
  start = time.perf_counter()
  _run('scaling.sweep', *arguments, *flags)
  seconds = time.perf_counter() - start
  kept = [flag for flag in flags if flag.startswith(('--config', '--noshare'))]
  return seconds, json.loads(_run('scaling.sweep', *arguments, *kept, '--mode=status', '--json'))


def plan(config: str, workdir: str, store: str, *flags: str) -> dict[str, Any]:
  """What `--mode=plan --json` says."""
  return json.loads(_run('scaling.sweep', f'--config={config}', f'--workdir={workdir}',
                         f'--store={store}', '--mode=plan', '--json', *flags))


def curves(workdir: str) -> dict[str, bytes]:
  """The curves of a workdir by run id."""
  found = {}
  for run in os.listdir(f'{workdir}/runs'):
    with open(f'{workdir}/runs/{run}/curve.jsonl', 'rb') as file:
      found[run] = file.read()
  return found


def _run(module: str, *arguments: str) -> str:
  done = subprocess.run([sys.executable, '-m', module, *arguments], capture_output=True, text=True)
  if done.returncode:
    sys.exit(f'{module} {" ".join(arguments)}: exit code {done.returncode}\n{done.stderr}')
  return done.stdout
