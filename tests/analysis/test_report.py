"""The report of a fit from a CSV file: as much as that of a sweep, in one file."""

import base64
import json
import re

import numpy as np
import pytest

from analysis import laws, report
from analysis.fit import Fit
from tests.analysis.commands import run


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
  """A fit of a CSV with a row missing, one held out, and beta tied to alpha."""
  folder = tmp_path_factory.mktemp('report')
  random = np.random.default_rng(0)
  n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 4e9, 5), np.geomspace(2e9, 9e10, 5)))
  truth = {'E': 1.8, 'A': 400.0, 'B': 900.0, 'alpha': 0.34, 'beta': 0.34}
  loss = laws.get('chinchilla').predict(truth, {'N': n, 'D': d})
  loss = loss * np.exp(0.003 * random.normal(size=25))
  rows = [f'{a:.0f},{b:.0f},{c:.5f}' for a, b, c in zip(n, d, loss)] + ['5e8,1e10,']
  (folder / 'my $runs <1>.csv').write_text('size,tokens,val\n' + '\n'.join(rows) + '\n')
  done = run('analysis.fit', '--law=chinchilla', '--data=my $runs <1>.csv', '--tie=beta=alpha',
             '--columns=N=size,D=tokens,loss=val', '--hold_out=N > 3e9 and D > 8e10',
             '--bootstrap=30', '--out=fit.json', cwd=folder)
  assert done.returncode == 0, done.stderr
  return folder


@pytest.mark.slow
def test_all_of_it(fitted):
  done = run('analysis.report', '--fit=fit.json', '--out=r.html', '--plots=pictures',
             '--formats=png,pdf', '--mark=Hoffmann: A=406.4, alpha=.34', cwd=fitted)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  page = (fitted / 'r.html').read_text()
  names = {'data_N', 'data_D', 'surface', 'iso_flops', 'frontier', 'agreement', 'residuals',
           'profiles', 'bootstrap'}
  for kind in ('png', 'pdf'):
    assert {p.stem for p in (fitted / 'pictures').glob(f'*.{kind}')} == names
  assert page.count('<img ') == page.count('src="data:image/svg+xml;base64,') == len(names)
  found = json.loads((fitted / 'fit.json').read_text())
  for word in ('my $runs &lt;1&gt;.csv', found['data']['sha256'], 'loss · N^alpha', '= alpha',
               '1 (loss missing)', 'huber_log, delta 0.001', '90 %, bootstrap, 30 refits',
               'Held-out runs', 'Compute optimum', ': extrapolated', 'D/N', 'R²',
               'Orange squares: Hoffmann', 'python -m analysis.fit', 'python -m analysis.report',
               found['code_version'], 'loss, nats per token'):
    assert word in page, word


def test_nothing_is_fetched_and_the_same_fit_gives_the_same_file(fitted):
  found = Fit.load(str(fitted / 'fit.json'))
  first, again = (report.report([found], None, 'command') for _ in range(2))
  assert first == again
  pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', first)
  for text in [first, *(base64.b64decode(p).decode() for p in pictures)]:
    for reference in re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]*)', text):
      assert reference.startswith(('data:', '#')), reference
    assert '<script' not in text and '@import' not in text


@pytest.mark.parametrize('arguments, said', [
    ((), '--logs'), (('--fit=nope.json',), 'nope.json'),
    (('--fit=fit.json', '--mark=A=3'), '--mark'), (('--fit=fit.json', '--formats=gif'), 'png'),
    (('--fit=fit.json', '--domain=code'), '--domain')])
def test_errors_are_one_line(fitted, arguments, said):
  done = run('analysis.report', *arguments, cwd=fitted)
  assert done.returncode == 2
  assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
