"""Routed models of Clark et al. 2022 (arXiv 2202.01169), from their curves, through the command."""

import json
import os

import pytest

from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
pytestmark = pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/routing'),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
LAST = "step >= 248000 and routing_frequency == .5 and k == 1 and seed == 42"


def fitted(tmp_path, law, columns, where):
  done = run('analysis.fit', f'--law={law}', f'--data={FOLDER}/routing/curves.csv.gz',
             f'--columns={columns}', f'--where={LAST} and {where}', '--objective=mse_log',
             '--bootstrap=0', f'--out={tmp_path}/fit.json')
  assert done.returncode == 0, done.stderr
  return json.loads((tmp_path / 'fit.json').read_text())


# Clark et al. do not print these refits of ours for the other two; they are close to S-Base's.
@pytest.mark.parametrize('router, points', [
    ('S-Base', 58), pytest.param('RL-R', 59, marks=pytest.mark.slow),
    pytest.param('Hash', 56, marks=pytest.mark.slow)])
def test_routers_with_the_dense_models(tmp_path, router, points):
  found = fitted(tmp_path, 'routing', 'N=dense_parameter_count,experts=num_experts,'
                 'loss=loss_validation', f"(router_type == '{router}' or router_type == 'Dense')")
  p = found['params']
  assert found['n_points'] == points and found['metrics']['r2'] > 0.99
  if router == 'S-Base':
    assert [round(p['a'], 3), round(p['b'], 3), round(p['c'], 4), round(p['d'], 3)] == [
        -0.083, -0.118, 0.0099, 1.114]
    assert round(p['Es'], 2) == 2.07 and round(p['Em']) == 239
  else:
    assert -0.1 < p['a'] < -0.07 and -0.15 < p['b'] < -0.1 and 0.005 < p['c'] < 0.02
    assert 1 < p['Es'] < 6 < 100 < p['Em'] < 1000


def test_dense_models_alone(tmp_path):
  """L = (N_c / N)^alpha_N is the routing law's a and d with one expert: b = c = 0."""
  done = run('analysis.fit', '--law=routing', f'--data={FOLDER}/routing/curves.csv.gz',
             '--columns=N=dense_parameter_count,experts=num_experts,loss=loss_validation',
             f"--where={LAST} and router_type == 'Dense'", '--fix=b=0,c=0,Es=1,Em=2',
             '--bootstrap=0', f'--out={tmp_path}/fit.json')
  assert done.returncode == 0, done.stderr
  p = json.loads((tmp_path / 'fit.json').read_text())['params']
  assert round(-p['a'], 4) == 0.0785
  assert 10 ** (-p['d'] / p['a']) == pytest.approx(3.69e13, rel=2e-3)
