"""Flags of analysis.fit: parameters held or tied, rows held out, weights."""

import json

import numpy as np
import pytest

from analysis import fit, laws
from analysis.commands import fit as fit_command
from analysis.reading import points
from scaling.errors import InputError
from tests.analysis.commands import run

LAW = laws.get('chinchilla')
TRUTH = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  """A table of 7 x 5 runs with noise; the weight of a row is its column w."""
  random = np.random.default_rng(0)
  n, d = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 2e9, 7), np.geomspace(1e9, 4e10, 5)))
  loss = LAW.predict(TRUTH, {'N': n, 'D': d}) * np.exp(0.002 * random.normal(size=n.size))
  path = tmp_path_factory.mktemp('table') / 'runs.csv'
  rows = [f'{a},{b},{c},{random.integers(1, 4)}' for a, b, c in zip(n, d, loss)]
  path.write_text('N,D,loss,w\n' + '\n'.join(rows) + '\n')
  return path


def test_held_tied_and_held_out(table, tmp_path):
  done = run('analysis.fit', f'--data={table}', '--tie=beta=alpha', '--fix=E=1.8', '--weight=w',
             '--hold_out=N > 1.5e9', f'--out={tmp_path}/fit.json')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'fit.json').read_text())
  assert set(found['params']) == {'A', 'B', 'alpha'}
  assert found['fixed'] == {'E': 1.8} and found['tied'] == {'beta': 'alpha'}
  assert found['n_points'] == 30 and len(found['held_out']) == 5
  assert set(found['points']['weight']) == {1.0, 2.0, 3.0}
  assert found['data']['hold_out'] == 'N > 1.5e9' and found['data']['weight'] == 'w'
  assert 'E = 1.8 held' in done.stdout and 'beta = alpha tied' in done.stdout
  predicted = run('analysis.predict', f'--fit={tmp_path}/fit.json', '--flops=1e21', '--json')
  assert predicted.returncode == 0, predicted.stderr
  best = json.loads(predicted.stdout)['inputs']
  assert 6 * best['N'] * best['D'] == pytest.approx(1e21)


@pytest.mark.parametrize('fixed, tied, said', [
    ('Z=1', '', 'Z'), ('A=many', '', 'many'), ('A', '', 'name=value'), ('A=-1', '', 'positive'),
    ('A=1,A=2', '', 'once'), ('', 'beta=Z', 'Z'), ('', 'beta', 'name=value'),
    ('beta=1', 'beta=alpha', 'beta'), ('A=nan', '', 'finite')])
def test_wrong_restrictions_are_one_line(fixed, tied, said):
  with pytest.raises(InputError, match=said) as error:
    fit_command.restricted(LAW, fixed, tied)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('options, said', [
    ({'hold_out': 'N > 1'}, 'to fit'), ({'hold_out': 'N < 1'}, 'holds for none'),
    ({'hold_out': 'N'}, 'not a condition'), ({'weight': 'missing'}, 'missing')])
def test_wrong_rows_are_one_line(table, options, said):
  with pytest.raises(InputError, match=said) as error:
    points.of_table(LAW, str(table), **options)
  assert '\n' not in str(error.value)


def test_a_negative_weight_is_refused(table):
  found = points.of_table(LAW, str(table), weight='w - 2')
  with pytest.raises(InputError, match='weights'):

    fit.fit(LAW, found.inputs, found.loss, weights=found.weights, bootstrap=0)
