"""The commands as they are typed: fit, predict, report; and their errors."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.analysis import workdirs
from tests.analysis.commands import process, run
from tests.analysis.test_bad_flags import COMMANDS


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
  """A workdir, and the fit of its quickstart study."""
  folder = tmp_path_factory.mktemp('fitted')
  workdir = workdirs.write(folder / 'w')
  done = process('analysis.fit', '--law=chinchilla', f'--logs={workdir}', '--study=quickstart',
                 f'--out={folder}/fit.json')
  assert done.returncode == 0, done.stderr
  return folder, done.stdout


def test_fit_of_a_workdir(fitted):
  folder, printed = fitted
  found = json.loads((folder / 'fit.json').read_text())
  assert found['n_points'] == found['n_groups'] == 12 and found['metrics']['r2'] > 0.99
  assert found['columns'] == {'N': 'N', 'D': 'D', 'loss': 'loss/python_docs'}
  assert found['data']['source'] == f'{folder}/w' and len(found['data']['sha256']) == 64
  assert found['code_version'].startswith('0.') and 'analysis.fit' in found['command']
  held, = found['held_out']
  assert held['inside'] and abs(held['relative_error']) < 0.03
  assert 'alpha' in printed and 'inside' in printed


def test_predict(fitted):
  folder, _ = fitted
  done = run('analysis.predict', f'--fit={folder}/fit.json', '--flops=1e12', '--json')
  assert done.returncode == 0, done.stderr
  answer = json.loads(done.stdout)
  assert 6 * answer['inputs']['N'] * answer['inputs']['D'] == pytest.approx(1e12)
  low, high = answer['intervals']['N']
  assert low < answer['inputs']['N'] < high
  assert answer['prediction'][0] < answer['confidence'][0] < answer['loss']
  missing = run('analysis.predict', f'--fit={folder}/fit.json', '--N=7e9')
  assert missing.returncode == 2 and '--D is missing' in missing.stderr


def test_report_is_one_file_that_needs_nothing_else(fitted):
  folder, _ = fitted
  done = process('analysis.report', f'--logs={folder}/w', f'--fit={folder}/fit.json',
                 f'--out={folder}/report.html')
  assert done.returncode == 0, done.stderr
  page = (folder / 'report.html').read_text()
  assert page.count('<img ') == 9 and page.count('src="data:image/') == 9
  assert not re.search(r'(src|href)="(?!data:)', page) and '<script' not in page
  for word in ('Loss curves: python_docs', 'Residuals', 'Warnings', 'held out', 'alpha',
               'python -m analysis.fit', 'python -m analysis.report', 'profile likelihood'):
    assert word in page
  again = run('analysis.report', f'--logs={folder}/w', f'--fit={folder}/fit.json',
              f'--out={folder}/report.html')
  assert again.returncode == 0 and (folder / 'report.html').read_text() == page


# fit and report are processes above.
@pytest.mark.parametrize('name', sorted(set(COMMANDS) - {'fit', 'report'}))
def test_a_process_says_the_same_as_the_command_in_this_one(tmp_path, name):
  """Exit code 2 and one line of a mistake; other tests rest on it that run commands in-process."""
  typed = (f'analysis.{name}', '--nothing=1')
  done, here = process(*typed, cwd=tmp_path), run(*typed, cwd=tmp_path)
  assert done.returncode == here.returncode == 2
  assert done.stderr == here.stderr and done.stdout == here.stdout == ''
  assert len(done.stderr.splitlines()) == 1 and 'nothing' in done.stderr


@pytest.mark.parametrize('arguments, said', [
    (('--law=nope', '--data=x.csv'), 'nope'), (('--logs=nowhere', '--objective=l2'), 'l2')])
def test_errors_are_one_line_and_exit_code_2(tmp_path, arguments, said):
  for started in (process, run):
    done = started('analysis.fit', *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and said in done.stderr


def test_import_stays_light():
  code = ('import sys, analysis; from analysis import laws, fit, logs, predict, report; '
          'print([m for m in ("tensorflow", "seqio", "tensorflow_datasets", "sentencepiece", '
          '"rich", "xmanager", "scipy.stats") if m in sys.modules], '
          '__import__("jax").config.jax_enable_x64)')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                         env=os.environ)
  assert found.stdout.strip() == '[] False'
