"""The quickstart as the README gives it, and what its fit must reach. About eight minutes."""

import json
import math
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def _command(*words: str) -> subprocess.CompletedProcess:
  done = subprocess.run([sys.executable, '-m', *words], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done


@pytest.mark.slow
def test_the_quickstart_predicts_a_larger_run(tmp_path):
  store, workdir, out = tmp_path / 'tokens', tmp_path / 'w', tmp_path / 'fit.json'
  _command('scaling.data.prepare', '--corpus=python_docs', '--vocab_size=512', f'--store={store}')
  _command('scaling.sweep', '--config=configs/quickstart.py', f'--workdir={workdir}',
           f'--store={store}')
  _command('analysis.fit', '--law=chinchilla', f'--logs={workdir}', '--study=quickstart',
           f'--out={out}')
  fit = json.loads(out.read_text())
  assert fit['metrics']['r2'] >= 0.97
  assert not [w for w in fit['warnings'] if 'bound' in w]
  held_out, = fit['held_out']
  assert abs(held_out['relative_error']) <= 0.03 and held_out['inside']
  ends = {}
  for path in workdir.glob('runs/*/curve.jsonl'):
    line = json.loads(path.read_text().splitlines()[-1])
    ends[line['N'], line['D']] = line['domains']['python_docs']['loss']
  assert len(ends) == 13
  for (N, D), loss in ends.items():  # more of either, the other held, is better everywhere
    assert loss < min((v for (n, d), v in ends.items()
                       if (n, d) != (N, D) and n <= N and d <= D), default=math.inf)
