"""Tao et al. 2024 (arXiv 2407.13623) from its 1,200 rows, by the command; skips without them."""

import json
import os

import pytest

from tests.analysis.commands import run

FILE = f'{os.environ.get("SCALING_REFERENCE_DATA")}/vocabulary/runs.csv'
pytestmark = pytest.mark.skipif(not os.path.isfile(FILE), reason='no reference data here')
COLUMNS = ('N_nv=Non_vocab_parameters,V=vocab_size,d=embed_dim,H=num_characters,C=FLOPs,'
           'loss_unigram=Lossu')


def study(folder, *flags):
  done = run('analysis.vocabulary', f'--data={FILE}', f'--columns={COLUMNS}',
             f'--out={folder}/v.json', *flags)
  assert done.returncode == 0, done.stderr
  with open(f'{folder}/v.json') as file:
    return json.load(file), done.stdout


@pytest.fixture(scope='module')
def sizes(tmp_path_factory):
  return study(tmp_path_factory.mktemp('sizes'), '--approach=1', '--bootstrap=20',
               '--params=3e9')[0] | {'approach_2': study(
                   tmp_path_factory.mktemp('roots'), '--approach=2', '--anchor_flops=2.7e17',
                   '--bootstrap=0')[0]['approach_2']}


def test_approach_1_by_the_papers_optimiser(sizes):
  found = sizes['approach_1']['paper_optimiser']
  assert found['K_Nnv'] == pytest.approx(-2.48465102, abs=5e-7)
  assert found['K_Nv'] == pytest.approx(-1.5890313, abs=5e-6)
  assert found['exponent'] == pytest.approx(0.41636226, abs=5e-7)


def test_approach_1_has_a_better_optimum_and_says_so(sizes):
  found = sizes['approach_1']
  theirs = found['paper_optimiser']
  assert theirs['lowest_objective']['Nv'] < 0.99 * theirs['objective']['Nv']
  assert found['K_Nnv'] == pytest.approx(-2.48465102, rel=5e-3)
  assert found['exponent'] == pytest.approx(0.43559, abs=1e-4)
  assert any('above the optimum' in w for w in sizes['warnings'])
  low, high = found['intervals']['exponent']
  assert low < 0.41636226 < high
  low, high = sizes['predictions'][0]['intervals']['V_1']
  assert low < 39368 < high


def test_approach_2(sizes):
  found = sizes['approach_2']
  assert [int(v) for v in found['V']] == [10322, 15939, 24593, 32776, 40941, 49416, 65928]
  assert found['paper_optimiser']['gamma'] == pytest.approx(0.8353974, abs=5e-8)
  assert found['gamma'] == pytest.approx(0.8353974, abs=2e-6)
  assert found['objective'] <= found['paper_optimiser']['objective']
  assert found['anchor']['N_v'] == 3_145_728


@pytest.fixture(scope='module')
def papers(tmp_path_factory):
  """The paper's own table by one command."""
  return study(tmp_path_factory.mktemp('paper'), '--paper', '--approach=3', '--bootstrap=0',
               '--flops=1.295e21', '--params=3e9')


def test_approach_3_with_the_official_tokens(papers):
  found = papers[0]['approach_3_official']
  assert found['n_rows'] == 1054
  assert found['objective'] == pytest.approx(0.06229135, abs=5e-9)
  assert found['params_in_paper_units'] == pytest.approx(
      {'A1': 1.82888, 'A2': 0.190668, 'B': 2.12197, 'E': 5.53494, 'beta': 0.445317,
       'alpha1': 0.445317, 'alpha2': 0.663671}, rel=1e-5)
  assert found['published']['objective'] == pytest.approx(0.06229175, abs=5e-9)
  assert found['published']['metrics']['r2'] == pytest.approx(0.97165, abs=5e-6)
  assert 'slip' in papers[1]


def test_approach_3_with_the_correct_tokens(papers):
  """The same rows, and an optimum of half the size."""
  answer, text = papers
  found = answer['approach_3']
  assert found['mode'] == 'correct' and found['objective'] < 0.066786
  assert found['params_in_paper_units'] == pytest.approx(
      {'A1': 1.9035, 'A2': 0.1287, 'B': 1.3313, 'E': 5.5369, 'beta': 0.4398, 'alpha1': 0.4398,
       'alpha2': 1.0588}, rel=1e-3)
  assert found['published']['metrics']['r2'] == pytest.approx(0.036, abs=5e-4)
  assert 'N_v is not identified' in text
  row = answer['predictions'][0]
  assert (row['V_3'], row['V_3_official']) == pytest.approx((18851, 36528), rel=2e-3)
