"""Mixtures of published runs, through the commands (where the data are at hand)."""

import json
import os

import numpy as np
import pytest

from analysis import fit, laws, metrics
from analysis.laws import mixing
from analysis.reading import points
from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
pytestmark = pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/mixture_ndr'),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
RATIO = ' + '.join(f"{share}*(ratio == '{share}-{1 - share}')"
                   for share in (0.25, 0.375, 0.5, 0.625, 0.75))
# 70M at 10,000, 20,000 and 30,000 steps: the (k, b) that Ye et al. 2024 (2403.16952) print.
PUBLISHED = [('Github', 10000, -2.4381, -0.5978), ('Github', 20000, -1.5473, -0.6506),
             ('Github', 30000, -1.6405, -0.6819), ('Pile-CC', 10000, -2.9041, -0.5333),
             ('Pile-CC', 20000, -2.2959, -0.5862), ('Pile-CC', 30000, -2.5189, -0.6257)]


TABLE = f'{FOLDER}/mixing_two_domains/2Mix_70M.csv.gz'


def columns(domain):
  return f'r={RATIO if domain == "Github" else f"1 - ({RATIO})"},loss=loss'


def where(domain, step):
  return f"val_subdomain == '{domain}' and step == {step}"


def held_out(tmp_path, law, domain):
  done = run('analysis.fit', f'--law={law}', f'--data={FOLDER}/mixture_ndr/runs.csv',
             f'--columns=N=model_size,D=n_tokens,loss={domain}_loss'
             + (f',r=weight_{domain}' if law == 'dcpt' else ''),
             '--hold_out=model_size > 1.2e9', '--bootstrap=0', f'--out={tmp_path}/fit.json')
  assert done.returncode == 0, done.stderr
  return json.loads((tmp_path / 'fit.json').read_text())


@pytest.mark.parametrize('domain, least, rows, most', [
    pytest.param('github', 0.91, 2186, 0.65, marks=pytest.mark.slow),
    pytest.param('arxiv', 0.955, 2188, 0.566, marks=pytest.mark.slow),
    pytest.param('c4', 0.92, 2188, 0.82, marks=pytest.mark.slow),
    pytest.param('wikipedia', 0.94, 2182, 0.53, marks=pytest.mark.slow)])
def test_the_largest_size_from_smaller_ones(tmp_path, domain, least, rows, most):
  """Shukor et al. 2025 (2507.09404): five sizes, 61 mixtures; r the weight of the loss's domain.

  The lowest objective gives .918 (github), .973 (arxiv), .936 (c4) and .956 (wikipedia).
  At one size a law of N and D alone says one thing per D: the best have .65, .57, .82, .52.
  """
  found = held_out(tmp_path, 'dcpt', domain)
  assert found['held_out_metrics']['r2'] > least
  assert found['n_points'] == rows and len(found['held_out']) == 220
  assert sum(found['n_dropped'].values()) == 2188 - rows
  assert held_out(tmp_path, 'chinchilla', domain)['held_out_metrics']['r2'] < most


@pytest.mark.parametrize('domain', ['wikipedia'])
def test_the_largest_size_from_smaller_ones_and_one_start(domain):
  """Every fifth run; the slow test has all four domains with losses, all runs and starts."""
  law = laws.get('dcpt')
  data = points.of_table(law, f'{FOLDER}/mixture_ndr/runs.csv',
                         f'N=model_size,D=n_tokens,r=weight_{domain},loss={domain}_loss',
                         hold_out='model_size > 1.2e9')
  start = {'E': [0.0], 'A': [3.4], 'B': [19.1], 'C': [-1.0], 'alpha': [0.25], 'beta': [0.9],
           'gamma': [0.3], 'eta': [0.02], 'eps': [-3.9]}
  found = fit.fit(law, {k: v[::5] for k, v in data.inputs.items()}, data.loss[::5], bootstrap=0,
                  starts=start)
  kept = np.isfinite(data.held_out.loss)
  predicted = found.predict({k: v[kept] for k, v in data.held_out.inputs.items()})
  assert metrics.all_of(data.held_out.loss[kept], predicted)['r2'] >= 0.9


@pytest.mark.parametrize('domain, step, k, b', PUBLISHED)
def test_two_domains_with_the_constant_chosen_first(domain, step, k, b):
  """And the joint optimum, which lies lower than what is published."""
  law = laws.get('mixing')
  data = points.of_table(law, TABLE, columns(domain), where(domain, step), '')
  c = mixing.offset(data.inputs['r'], data.loss)
  held = fit.fit(laws.fix(law, {'c': c}), data.inputs, data.loss, bootstrap=0)
  assert held.params == pytest.approx({'k': k, 'b': b}, rel=5e-4)
  assert fit.fit(law, data.inputs, data.loss, bootstrap=0).value < held.value


def test_the_same_as_commands(tmp_path):
  options = [f'--data={TABLE}', f'--columns={columns("Github")}',
             f'--where={where("Github", 10000)}']
  c = run('analysis.offset', *options)
  assert c.returncode == 0, c.stderr
  done = run('analysis.fit', '--law=mixing', *options, f'--fix=c={c.stdout.strip()}',
             '--bootstrap=0', f'--out={tmp_path}/fit.json')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'fit.json').read_text())
  assert found['params'] == pytest.approx({'k': -2.4381, 'b': -0.5978}, rel=5e-4)
  assert found['objective']['name'] == 'huber' and found['objective']['delta'] == 0.02
