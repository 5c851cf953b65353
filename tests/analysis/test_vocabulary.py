"""Vocabulary: the formulas and predictions of Tao et al. 2024 (arXiv 2407.13623), and a study."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from analysis import vocabulary
from analysis.laws import vocabulary as law
from analysis.vocabularies import lines, optima, sizes
from scaling.errors import InputError
from tests.analysis.commands import run

TRUTH = law.from_paper({'E': 5.5, 'A1': 1.9, 'A2': 0.6, 'B': 1.4, 'alpha1': 0.44, 'alpha2': 0.6,
                        'beta': 0.44})
PREDICTED = pd.DataFrame({  # recomputed from the published coefficients; the paper rounds them
    'N_nv': [2.87e9, 3e9, 7e9, 13e9, 30e9, 70e9, 130e9, 300e9],
    'd': [3200, 3200, 4096, 5120, 6048, 8192, 12288, 16384],
    'C': [1.19e21, 1.30e21, 7.05e21, 2.43e22, 1.30e23, 7.05e23, 2.43e24, 1.30e25],
    'V_1': [37942, 39368, 62281, 83429, 141711, 211860, 236501, 355894],
    'V_2': [40993, 42539, 67450, 90504, 154071, 230861, 258138, 389324],
    'V_3': [35272, 36648, 59548, 81347, 141899, 217961, 248188, 383659]})


def test_the_published_coefficients_predict_the_papers_table():
  found = optima.predictions(PREDICTED['N_nv'].to_numpy())
  for name in PREDICTED:
    rounding = {'rel': 5e-3} if name == 'C' else {'abs': 0.51}
    assert list(found[name]) == pytest.approx(list(PREDICTED[name]), **rounding)
  n_v = found['V_1'] * found['d']
  assert n_v[[0, 5, 7]] / 1e9 == pytest.approx([0.121, 1.736, 5.831], abs=5e-4)


def test_compression_and_flops():
  """f at V = 8,192 by hand, its minimum near 235,000 unreachable, and C of the first row."""
  log = np.log(8192)
  assert law.tokens_per_char(8192) == pytest.approx(
      0.00639222 * log**2 - 0.15811069 * log + 1.20470122, rel=1e-15)
  assert law.tokens_per_char(300_000) == law.tokens_per_char(200_000)
  tokens = law.tokens_from_chars(180820540.85207617, 4096.0)
  assert law.flops(33222784.0, 4096 * 512, tokens) == pytest.approx(1.271517696e16, rel=1e-12)
  assert law.chars_from_tokens(tokens, 4096) == pytest.approx(180820540.85207617)


def test_the_official_tokens_are_those_of_a_thousandth_of_the_vocabulary():
  assert law.tokens_from_chars(1e9, 32768, 'official') == law.tokens_from_chars(1e9, 32.768)
  with pytest.raises(InputError, match='official'):
    law.tokens_from_chars(1e9, 32768, 'both')


def test_compression_is_refitted_from_tokens_a_character():
  V = np.geomspace(1000, 100_000, 8)
  assert law.compression(V, law.tokens_per_char(V)) == pytest.approx(law.COMPRESSION, rel=1e-9)


@pytest.mark.parametrize('n, d', [(33e6, 512), (50e6, 512), (50e6 + 1, 768), (1.13e9, 2048),
                                  (3e9, 3200), (2e12, 24576)])
def test_widths(n, d):
  assert law.width(n) == d


def test_units_of_the_paper_and_ours_are_one_law():
  ours = law.from_paper(law.APPROACH_3)
  inputs = {'N_nv': 3e8, 'N_v': 3e7, 'D': 1e10}
  theirs = {'N_nv': 300.0, 'N_v': 30.0, 'D': 10.0}
  assert law.LAW.predict(ours, inputs) == pytest.approx(law.LAW.predict(law.APPROACH_3, theirs))
  assert law.to_paper(ours) == pytest.approx(law.APPROACH_3)


def test_optima_are_minima():
  """Of N_v alone at a given N_nv, on and off the ray of equal scaling; and of both."""
  C = 3e20
  for n in (5e7, 3e8, 2e9):
    best = law.optimal_size(TRUTH, n, C)
    n_v = best * np.array([0.98, 1, 1.02])
    loss = law.LAW.predict(TRUTH, {'N_nv': n, 'N_v': n_v, 'D': C / 6 / (n + n_v)})
    assert loss.argmin() == 1
  best = law.LAW.best(TRUTH, C)
  assert law.flops(best['N_nv'], best['N_v'], best['D']) == pytest.approx(C)
  n, n_v = np.meshgrid(best['N_nv'] * np.array([0.97, 1, 1.03]),
                       best['N_v'] * np.array([0.97, 1, 1.03]))
  loss = law.LAW.predict(TRUTH, {'N_nv': n, 'N_v': n_v, 'D': C / 6 / (n + n_v)})
  assert loss.argmin() == 4
  assert law.optimal_size(TRUTH, best['N_nv'], C) == pytest.approx(best['N_v'], rel=1e-6)


def test_undertrained_models_want_smaller_vocabularies():
  V = optima.predictions(np.full(4, 302e6), C=np.array([1e18, 1e19, 1e20, 1e21]))['V_3']
  assert np.all(np.diff(V) > 0)


def test_cheapest_vocabulary_is_the_least_costly():
  V = sizes.cheapest(85e6, 768)
  cost = [law.flops(85e6, v * 768, law.tokens_from_chars(1.0, v)) for v in (V * 0.99, V, V * 1.01)]
  assert np.argmin(cost) == 1
  assert sizes.cheapest(1e14, 512) == 200_000


def test_a_huber_line_ignores_outliers():
  x = np.linspace(20, 50, 40)
  y = 1.5 + 0.4 * x
  y[::7] += 5
  assert lines.huber_line(x, y) == pytest.approx((1.5, 0.4), abs=0.01)
  assert lines.huber_line(x, y, 0.4)[0] == pytest.approx(1.5, abs=0.01)


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  """Six sizes, eight vocabularies, ten checkpoints of exact losses."""
  n, V, at = (v.ravel() for v in np.meshgrid(
      [33e6, 85e6, 151e6, 316e6, 632e6, 1.13e9], np.geomspace(4096, 98304, 8).round(),
      np.linspace(0.1, 1, 10), indexing='ij'))
  d = law.width(n)
  D = 40 * n * at
  H = law.chars_from_tokens(D, V)
  loss = law.LAW.predict(TRUTH, {'N_nv': n, 'N_v': V * d, 'D': D})
  path = tmp_path_factory.mktemp('table') / 'runs.csv'
  pd.DataFrame({'N_nv': n, 'V': V, 'd': d, 'H': H, 'loss_unigram': loss}).to_csv(path, index=False)
  return path


def command(*arguments):
  return run('analysis.vocabulary', *arguments)


@pytest.mark.slow
def test_a_study_of_exact_losses(table):
  """The law comes back, and approach 1 finds about its optimum."""
  done = command(f'--data={table}', '--params=5e8,1e9', '--flops=3e19,1e20', '--bootstrap=20',
                 f'--out={table.parent}/v.json')
  assert done.returncode == 0, done.stderr
  found = json.loads((table.parent / 'v.json').read_text())
  assert found['n_rows'] == 480 and found['n_runs'] == 48 and found['dropped'] == {}
  assert found['approach_3']['params'] == pytest.approx(TRUTH, rel=1e-3)
  assert not any('not identified' in w for w in found['warnings'])
  for row, C in zip(found['predictions'], (3e19, 1e20)):
    best = law.optimal_size(TRUTH, row['N_nv'], C) / row['d']
    assert row['V_3'] == pytest.approx(float(best), rel=1e-3)
    assert row['intervals']['V_1'][0] <= row['V_1'] <= row['intervals']['V_1'][1]
  assert 'approach 2: gamma' in done.stdout


@pytest.mark.parametrize('flags, said', [
    (['--approach=4'], 'approach'), (['--columns=N=N_nv'], 'N_nv, V, loss_unigram'),
    (['--params=many'], 'numbers'), (['--params=1e9', '--flops=1e20,1e21'], 'one budget'),
    (['--params=1e9', '--approach=3', '--bootstrap=0'], '--flops'), (['--where=V > 1e9'], 'none'),
    (['--tie=A1=Z', '--approach=3'], 'free parameters'), (['--columns=d=V'], 'several widths'),
    (['--bootstrap=-5'], '--bootstrap'), (['--bootstrap=1', '--level=2'], '--bootstrap'),
    (['--level=2'], '--level'), (['--anchor_flops=-1'], '--anchor_flops'),
    (['--approach=2', '--anchor_flops=1e30', '--bootstrap=0'], 'anchor_flops'),
    (['--min_flops=nan'], '--min_flops'), (['--approach=3', '--min_flops=1e30'], 'min_flops')])
def test_mistakes_are_one_line(table, flags, said):
  done = command(f'--data={table}', *flags)
  assert done.returncode == 2 and said in done.stderr and done.stderr.count('\n') == 1


def test_rows_that_cannot_be_used_are_counted(table):
  data = pd.read_csv(table)
  data.loc[[3, 5], 'loss_unigram'] = np.nan
  data.loc[7, 'H'] = 0
  rows, dropped = optima.rows_of('runs.csv', data, {})
  assert len(rows) == 477
  assert dropped == {'loss_unigram missing': 2, 'H missing or not positive': 1}


def test_what_is_left_out_is_printed(table, tmp_path):
  data = pd.read_csv(table)
  data.loc[[3, 5], 'loss_unigram'] = np.nan
  data.to_csv(tmp_path / 'runs.csv', index=False)
  done = command(f'--data={tmp_path}/runs.csv', '--where=N_nv < 1e9', '--approach=2',
                 '--params=1e9', '--bootstrap=0', '--anchor_flops=4e17')
  assert done.returncode == 0, done.stderr
  assert '80 dropped (not chosen by --where), 2 dropped (loss_unigram missing)' in done.stdout
  assert 'nan' not in done.stdout and 'is extrapolated' in done.stdout


def test_seeds_and_sizes_on_one_line_do_not_stop_it():
  """Rows of two seeds; H in proportion to N_nv, so that nothing can be interpolated between."""
  n, V, seed = (v.ravel() for v in np.meshgrid([1e8, 2e8, 4e8], [4e3, 8e3, 16e3], [0, 1]))
  H = 50 * n
  loss = -4 - 0.1 * np.log(n / 1e8) + 0.05 * np.log(V / 8e3)**2 + 0.001 * seed
  rows = sizes.Rows(n, V, H, 6 * n * H * law.tokens_per_char(V), loss)
  assert sizes.approach_1(rows)['n_frontier'] >= 4
  with pytest.raises(InputError, match='three evaluations'):
    sizes.anchor(rows)
  again = rows.of(*(np.concatenate([getattr(rows, k)] * 3) for k in sizes.FIELDS))
  again = dataclasses.replace(again, C=again.C * np.repeat([0.5, 0.75, 1], len(rows)))
  assert sizes.anchor(again)['V'] == 8e3


def test_own_widths_and_compression_are_used():
  n, V, H = np.array([1e6, 1e7, 1e8]), np.array([500.0, 1000, 2000]), np.full(3, 1e9)
  f = (0.007, -0.17, 1.3)
  data = pd.DataFrame({'N_nv': n, 'V': V, 'H': H, 'D': H * law.tokens_per_char(V, f),
                       'd': [64, 128, 256], 'loss_unigram': -3.0})
  rows, _ = optima.rows_of('runs.csv', data, {})
  assert rows.coefficients == pytest.approx(f, rel=1e-6)
  assert rows.width(np.array([1e6, 10**6.5, 1e9])) == pytest.approx([64, 64 * 2**0.5, 512])
  np.testing.assert_allclose(rows.C, law.flops(n, V * data['d'], data['D']))


def test_a_study_without_differences_in_loss_says_what_is_missing():
  rows = sizes.Rows(*(np.array([1.0, 1.0, 1.0]) for _ in range(5)))
  with pytest.raises(InputError, match='frontier'):
    vocabulary.study(rows, '1', bootstrap=0)
