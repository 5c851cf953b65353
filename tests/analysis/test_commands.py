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
from tests.conftest import ROOT


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


MISTAKES = {
    **{name: ((f'analysis.{name}', '--nothing=1'), 'nothing') for name in COMMANDS},
    'law': (('analysis.fit', '--law=nope', '--data=x.csv'), 'nope'),
    'objective': (('analysis.fit', '--logs=nowhere', '--objective=l2'), 'l2'),
}

# A fork of a Python that has imported other packages, and nothing of this one, for each command
# that is typed: seconds of imports are paid once, and `analysis` is imported by each from nothing.
PROCESSES = """
import json, os, runpy, sys, warnings
import absl.app, jax, matplotlib.figure, numpy, pandas, scipy.optimize
assert not {'analysis', 'scaling'} & set(sys.modules)
warnings.simplefilter('ignore')  # of forks, by jax
codes = {}
for name, (module, *flags) in json.loads(sys.argv[1]).items():
  child = os.fork()
  if not child:
    for kind, stream in (('out', 1), ('err', 2)):
      os.dup2(os.open(f'{name}.{kind}', os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name='__main__', alter_sys=True)
    sys.exit()
  codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(codes))
"""


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
  """What each mistake's process left: exit code, stdout, stderr."""
  folder = tmp_path_factory.mktemp('processes')
  typed = json.dumps({name: typed for name, (typed, _) in MISTAKES.items()})
  done = subprocess.run([sys.executable, '-c', PROCESSES, typed], cwd=folder, text=True,
                        capture_output=True, env={**os.environ, 'PYTHONPATH': os.fspath(ROOT)})
  assert done.returncode == 0, done.stderr
  return {name: (code, *((folder / f'{name}.{kind}').read_text() for kind in ('out', 'err')))
          for name, code in json.loads(done.stdout).items()}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_process_says_the_same_as_the_command_in_this_one(tmp_path, processes, name):
  """Exit code 2 and one line of a mistake; other tests rest on it that run commands in-process."""
  typed, said = MISTAKES[name]
  here = run(*typed, cwd=tmp_path)
  assert processes[name] == (here.returncode, here.stdout, here.stderr)
  assert here.returncode == 2 and here.stdout == ''
  assert len(here.stderr.splitlines()) == 1 and said in here.stderr


def test_import_stays_light():
  code = ('import sys, analysis; from analysis import laws, fit, logs, predict, report; '
          'print([m for m in ("tensorflow", "seqio", "tensorflow_datasets", "sentencepiece", '
          '"rich", "xmanager", "scipy.stats") if m in sys.modules], '
          '__import__("jax").config.jax_enable_x64)')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                         env=os.environ)
  assert found.stdout.strip() == '[] False'
