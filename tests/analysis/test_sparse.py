"""Sparse and dense runs on one law: tables of a known truth, and what must come back."""

import dataclasses
import json
import re
import runpy

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from analysis import sparse
from analysis.laws import average_parameters, chinchilla
from analysis.sparsities import counts, differences, lanes, pairs, parting, techniques
from analysis.sparsities import runs as tidy
from scaling.errors import InputError
from tests.analysis import sparse_runs
from tests.analysis.commands import run
from tests.conftest import ROOT

WINDOWS = ((0.25, 0.75), (0.5, 1.0))


def made(w, **options):
  table = sparse_runs.table(w, **{'windows': WINDOWS, 'sparsities': (0.4, 0.8), **options})
  return tidy.of_table(table)[0]


@pytest.fixture(scope='module')
def studies():
  """Two seeds, 24 lineages, for parameters that count on average, at the start, and early on."""
  return {w: sparse.study(made(w, seeds=2), bootstrap=40) for w in (0.5, 0.0, 0.25)}


@pytest.mark.parametrize('w, best', [(0.5, 'average'), (0.0, 'initial')])
def test_the_count_that_is_true_is_the_best(studies, w, best):
  answer, _ = studies[w]
  of = answer['counts']
  assert {answer['ranking'][i]['count'] for i in (0, 1)} == {best, 'fitted'}
  assert not answer['ranking'][1]['told_apart'] and answer['ranking'][2]['told_apart']
  assert of[best]['held_out']['probability_best'] > 0.95 and of[best]['r2'] > 0.995
  # Noise of 0.2 % has a mean size of 0.16 %.
  assert of[best]['held_out']['mean_relative_error'] == pytest.approx(0.0016, rel=0.25)
  for name in {'average', 'final', 'initial'} - {best}:
    assert of[name]['held_out']['mean_relative_error'] > 0.005 and of[name]['r2'] < of[best]['r2']
    assert of[name]['held_out']['probability_best'] < 0.05
    assert of[name]['dense']['mean_relative_error'] > 0.015
  low, high = of[best]['dense']['intervals']['bias']
  assert -0.003 < low < high < 0.003


@pytest.mark.parametrize('w', [0.5, 0.25, 0.0])
def test_the_weighting_comes_back(studies, w):
  answer, _ = studies[w]
  fitted = answer['counts']['fitted']
  low, high = fitted['intervals']['w']
  assert low - 1e-9 <= w <= high and high - low < 0.04
  assert {r['count'] for r in answer['ranking'][:2]} >= {'fitted'}
  for row in answer['by_duration'] + answer['by_window']:  # which the truth does not depend on
    assert row['w'] == pytest.approx(w, abs=0.05)
    assert row['w_interval'][0] <= row['w'] <= row['w_interval'][1]


def test_where_the_law_holds(studies):
  at_average, early = studies[0.5][0], studies[0.25][0]
  assert [row['holds'] for row in at_average['by_duration']] == [True] * 3
  first = at_average['by_duration'][0]
  assert at_average['begins_to_hold_at'] == first['tokens_per_parameter']
  assert early['begins_to_hold_at'] is None
  assert all(abs(row['starts']) < 0.002 for row in at_average['by_duration'])  # on the law
  assert all(row['average']['interval'][1] < 0 for row in early['by_duration'])
  assert [len(studies[0.5][0][f'by_{k}']) for k in differences.BY] == [3, 6, 2, 2]
  by_start = [(row['N_initial'], row['D']) for row in at_average['by_start']]
  assert by_start == [(n, pytest.approx(d)) for n in sparse_runs.STARTS for d in sparse_runs.TOKENS]
  # Of two windows at a sparsity of 80 %: starts x durations.
  assert len(early['windows']) == 2 * 2 * 3
  begins = [differences.begins([{'tokens_per_parameter': i, 'within': w} for i, w in enumerate(of)])
           for of in ((True, False, True, True), (True, True, False))]
  assert begins == [2, None]


def test_matched_pairs(studies):
  answer, _ = studies[0.5]
  assert answer['pairs_count'] == {'pairs': 18, 'exact': 0, 'within': 18, 'surely': 18}
  assert answer['noise'] == pytest.approx(0.002, rel=0.2)
  inside = [r['interval'][0] <= 0 <= r['interval'][1] for r in answer['pairs']]
  assert sum(inside) >= 14
  for row in answer['pairs'][:3]:
    truth = chinchilla.equation(sparse_runs.TRUTH, {'N': row['N_average'], 'D': row['D']})
    assert row['dense'] == pytest.approx(truth, rel=0.004) and row['runs'] == 2


def test_a_dense_run_at_the_average_is_the_pair(studies):
  """A dense model 2 % smaller is moved to the average along the dense law, and no other is used."""
  _, found = studies[0.5]
  runs, noise = found.runs, 4 * 0.002
  row = runs[runs['kind'] == 'sparse'].iloc[0]
  twin = runs[(runs['kind'] == 'dense') & (runs['D'] == row['D'])].iloc[0].copy()
  twin[['N_initial', 'N_average', 'N_final']] = 0.98 * row['N_average']
  exact = chinchilla.equation(sparse_runs.TRUTH, {'N': twin['N_average'], 'D': twin['D']})
  twin['loss'] = 1.03 * exact  # three per cent off the law: only a pair with this run shows it
  both = pd.concat([runs, twin.to_frame().T.astype(runs.dtypes)], ignore_index=True)
  rows = pairs.table(dataclasses.replace(found, runs=both, units=np.append(found.units, 'twin')))
  exact, = (r for r in rows if r['exact'])
  assert exact['dense_N'] == twin['N_average'] and exact['N_average'] == row['N_average']
  assert exact['difference'] == pytest.approx(1 / 1.03 - 1, abs=noise)
  assert not exact['within'] and pairs.count(rows) == {
      'pairs': 18, 'exact': 1, 'within': 17, 'surely': 17}


def test_no_lineage_is_on_both_sides_of_a_fold(studies):
  _, found = studies[0.5]
  lineage = found.runs['lineage'].to_numpy()
  assert set(found.folds[found.sparse]) == set(range(5)) and set(found.folds[~found.sparse]) == {-1}
  for k in range(5):
    kept = parting.apart(found.runs, found.folds, k)
    assert not set(lineage[kept]) & set(lineage[found.folds == k])
    assert (kept & ~found.sparse).sum() >= 12
  # Nor a seed: what is left out with it are all rows of it, and only those.
  seeds = parting.seeds(found.runs, counts.FEWEST)
  assert sorted(seeds) == ['seed 0', 'seed 1']
  assert sum(seeds.values()).tolist() == [1] * len(found.runs)
  assert not parting.seeds(found.runs[found.runs['seed'] == 0], counts.FEWEST)
  # With three lineages folds leave out single runs, and say so.
  few = found.runs.assign(lineage=[str(i % 3) for i in range(len(found.runs))])
  said = []
  assert len(set(parting.folded(few, 5, 0, said))) == 6 and 'fewer than 4 lineages' in said[0]


def test_a_seed_left_out_is_predicted_from_the_other():
  """One seed is 5 % up, and no run of it says so where it is left out."""
  runs = made(0.5, seeds=2)
  runs.loc[runs['seed'] == 1, 'loss'] *= 1.05
  found = counts.joint(runs, bootstrap=0)
  off = found.predicted['average']['seeds'][0] / found.loss - 1
  first, last = (found.sparse & (found.runs['seed'] == s).to_numpy() for s in range(2))
  assert off[first].mean() == pytest.approx(0.05, abs=0.003)
  assert off[last].mean() == pytest.approx(1 / 1.05 - 1, abs=0.003)
  error = counts.errors(found, 'seeds')['average']['mean_relative_error']
  assert error == pytest.approx((0.05 + 0.05 / 1.05) / 2, abs=0.003)


def test_intervals_of_pairs_take_the_noise_of_their_duration():
  runs = made(0.5, seeds=3)
  loud = runs['D'] == sparse_runs.TOKENS[0]  # Here seeds differ ten times as much.
  runs.loc[loud, 'loss'] *= np.exp(0.02 * np.random.default_rng(1).normal(size=loud.sum()))
  found = counts.joint(runs, bootstrap=0)
  noises = pairs.noise(found)
  by_length = [noises[tidy.tokens(D)][0] for D in sparse_runs.TOKENS]
  assert by_length == pytest.approx([0.02, 0.002, 0.002], rel=0.35)
  assert by_length[1] < noises[None][0] < by_length[0]
  rows = pairs.table(found)
  wide = {r['D']: r['interval'][1] - r['interval'][0] for r in rows}
  assert wide[sparse_runs.TOKENS[0]] > 5 * wide[sparse_runs.TOKENS[2]]
  # Two variances alike, of 4 and 12 degrees: (2 v)^2 / (v^2 / 4 + v^2 / 12) = 12 degrees.
  assert pairs._half(1.0, 4, 1.0, 12, 0.9) == pytest.approx(1.7823 * 2**0.5, rel=1e-4)


def test_runs_that_err_together_are_one_witness():
  dense = [{'kind': 'dense', 'N_initial': 1e4 * i, 'lineage': f'{i}-{s}'}
           for i in range(1, 7) for s in 'ab']
  pruned = [{'kind': 'sparse', 'N_initial': 6e4, 'lineage': f'p-{s}'} for s in 'aab']
  runs = pd.DataFrame(dense + pruned).assign(seed=0.0)
  units = parting.units(runs)
  assert len(set(units)) == 6 + 2 and units[0] == units[1] != units[2]
  # Of sparse runs, those of a start and seed, where there are five of them.
  many = runs.assign(kind='sparse', seed=np.arange(15) % 2, lineage=[str(i) for i in range(15)])
  assert len(set(parting.units(many))) == 12
  few = runs[(runs['kind'] == 'sparse') | (runs['N_initial'] < 5e4)]  # Four sizes: too few.
  assert parting.units(few).tolist() == few['lineage'].tolist()


def test_intervals_of_a_mean_are_students():
  """90 % of intervals over six lineages hold the mean they were drawn around."""
  random, held = np.random.default_rng(0), 0
  for trial in range(200):
    values = random.normal(size=6)
    weight = lanes.weights(np.arange(6).astype(str), np.ones(6), 400, trial)
    low, high = lanes.interval(lanes.mean(np.broadcast_to(values, weight.shape), weight), 6, 0.9)
    held += low <= 0 <= high
  assert 0.84 <= held / 200 <= 0.95


@pytest.mark.parametrize('w', [0.2, 0.5, 0.8])
def test_the_weighting_of_a_sudden_pruning_is_a_mean_over_tokens(w):
  power, tau = w / (1 - w) - 1, 0.3  # pruned from 100 to 20 after 30 % of the tokens
  def part(a, b):
    return integrate.quad(lambda t: t**power, a, b)[0] / integrate.quad(lambda t: t**power, 0, 1)[0]
  expected = 100 * part(0, tau) + 20 * part(tau, 1)
  got = average_parameters.weighted(w, 100.0, 100 * tau + 20 * (1 - tau), 20.0)
  assert float(got) == pytest.approx(expected, rel=1e-5)


def test_techniques_at_equal_cost():
  table = sparse_runs.table(0.5, seeds=2, noise=0.0, extra=True)
  runs, _ = tidy.of_table(table)
  assert runs['kind'].value_counts().to_dict() == {
      'sparse': 84, 'dense': 24, 'static': 6, 'dense_after': 6, 'low_rank': 6, 'sltrain': 6}
  rows = techniques.low_rank(runs)
  assert len(rows) == 3
  for row in rows:
    assert row['difference'] == pytest.approx(1.02 / 1.05 - 1, rel=1e-6)
    assert row['interval'] == pytest.approx([row['difference']] * 2)
  rows = techniques.spdf(runs, lambda N, D: 3.0 + 0 * N * D)
  assert [r['sparsity'] for r in rows] == [0.75] * 3
  assert [r['dense_interval'] for r in rows] == [None] * 3  # No dense run costs as much.
  assert [r['dense'] and r['dense']['how'] for r in rows] == ['law', 'between', 'between']
  dense = runs[(runs['kind'] == 'dense') & (runs['N_initial'] == rows[1]['N'])]
  low, high = (dense['loss'][dense['D'] == d].iloc[0] for d in sparse_runs.TOKENS[:2])
  assert high < rows[1]['dense']['loss'] < low
  assert rows[1]['C'] == pytest.approx(6 * (0.5 * 16e4 + 1.25 * 1e4) * 2.4e6)
  near = techniques.at_cost(dense, 1.03 * float(dense['C'].iloc[0]))
  assert near['how'] == 'measured' and near['loss'] == pytest.approx(low)
  assert techniques.at_cost(dense, 1e20) is None


def test_counts_of_a_table():
  table = sparse_runs.table(0.5, seeds=1)
  own, _ = tidy.of_table(table)
  total, _ = tidy.of_table(table, 'total')
  for name in ('N_initial', 'N_average', 'N_final'):
    np.testing.assert_allclose(total[name], own[name] + sparse_runs.EMBEDDING)
  table.loc[0, 'state'], table.loc[1, 'final'] = 'failed', False
  table.loc[2, 'loss/python_docs'] = -1
  table.loc[40, 'N_average_nonembedding'] = 1e9
  _, dropped = tidy.of_table(table)
  assert dropped == {'of runs that are not done': 1, 'not final': 1,
                     'loss missing or not positive': 1,
                     'N_average not between N_final and N_initial': 1}
  for wrong, said in ((table.assign(kind='x'), "'x' is unknown"),
                      (table.drop(columns='N_nonzero'), 'no column N_nonzero')):
    with pytest.raises(InputError, match=said):
      tidy.of_table(wrong)
  with pytest.raises(InputError, match='6 dense runs'):
    counts.joint(own[own['kind'] == 'sparse'])


def test_the_page_takes_every_table(studies, tmp_path, monkeypatch):
  """docs/sparse.py fills docs/sparse.md, again and again, and shows what the answer says."""
  monkeypatch.syspath_prepend(str(ROOT / 'docs'))
  page = runpy.run_path(str(ROOT / 'docs' / 'sparse.py'), run_name='page')
  path = tmp_path / 'sparse.md'
  path.write_text((ROOT / 'docs' / 'sparse.md').read_text())
  answer = studies[0.5][0]
  bodies = page['tables'](answer) | {f'picture_{n}': f'({n})' for n in page['PICTURES']}
  page['rewrite'](path, bodies)
  text = path.read_text()
  assert set(re.findall('<!-- (?!end)(.*) -->', text)) == set(bodies)
  assert f'Fitted weighting: w = {answer["counts"]["fitted"]["params"]["w"]:.3f} (' in text
  assert text.count('(law)') == len(answer['pairs']) and '0.25 to 0.75' in text
  page['rewrite'](path, bodies)
  assert path.read_text() == text


def test_the_command(tmp_path):
  sparse_runs.table(0.5, seeds=2, windows=WINDOWS, sparsities=(0.4, 0.8), extra=True).to_csv(
      tmp_path / 'runs.csv', index=False)
  done = run('analysis.sparse', f'--data={tmp_path}/runs.csv', '--bootstrap=20',
             f'--out={tmp_path}/sparse.json', f'--plot_dir={tmp_path}/plots')
  assert done.returncode == 0, done.stderr
  answer = json.loads((tmp_path / 'sparse.json').read_text())
  assert answer['counts']['average']['r2'] > 0.995 and len(answer['spdf']) == 3
  for said in ('fitted weighting: w = 0.', 'by duration', 'matched pairs: 18', 'sparse then dense'):
    assert said in done.stdout
  names = sorted(p.name for p in (tmp_path / 'plots').iterdir())
  assert names == [f'{n}.png' for n in ('counts', 'durations', 'errors', 'pairs', 'techniques',
                                        'windows')]
  assert min(p.stat().st_size for p in (tmp_path / 'plots').iterdir()) > 20_000
