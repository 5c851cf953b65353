"""Published compute-optimal exponents, from published minima and runs (where they are at hand).

Porian et al. 2024 (arXiv 2406.19146). Their rule, which `--minimum=akima` follows: at each budget
Akima's interpolant of ln loss in ln N, its minimum not at an edge, the median N* over draws with
noise added to the losses; then a regression of ln N* on ln C weighted by 1 / std^2.
"""

import json
import os

import numpy as np
import pandas as pd
import pytest

from analysis import fit, isoflop, laws
from analysis.frontiers import minima
from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
pytestmark = pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/isoflop_porian'),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
STEPS = (('base', 'long', 'kaplan', 'kaplan'), ('base', 'long', 'kaplan', 'standard'),
         ('base', 'short', 'kaplan', 'standard'), ('base', 'short', 'chinchilla', 'standard'),
         ('tuned', 'short', 'const', 'standard'))
# From the reproduction of Kaplan et al. to constant learning rates tuned at each size.
PUBLISHED = {'rw': (0.8353, 0.7065, 0.6020, 0.5715, 0.4969),
             'owt2': (0.8635, 0.6985, 0.6032, 0.5743, 0.5185)}
FILES = {'rw': 'summary_df', 'owt2': 'summary_df_owt2'}
# Standard deviation of ln loss between seeds: not published, chosen as what fits their n* best.
NOISE = {'rw': 6e-4, 'owt2': 2.5e-3}
CASES = [(name, *step, value) for name, values in PUBLISHED.items()
         for step, value in zip(STEPS, values)]


def condition(name, hparams, warmup, decay, count):
  return (f"file == '{FILES[name]}' and dataset == '{name}' and hparams == '{hparams}' and "
          f"warmup == '{warmup}' and decay == '{decay}' and param_count == '{count}'")


def chosen(table, *case):
  names = ('dataset', 'hparams', 'warmup', 'decay', 'param_count')
  keep = table['file'] == FILES[case[0]]
  for column, value in zip(names, case):
    keep &= table[column] == value
  return table[keep]


@pytest.fixture(scope='module')
def tables():
  folder = f'{FOLDER}/isoflop_porian'
  return {name: pd.read_csv(f'{folder}/{name}.csv')
          for name in ('isoflop_points', 'optimal_pairs', 'fit_results')}


@pytest.mark.parametrize('case', CASES)
def test_weighted_regression_on_the_published_pairs(tables, case):
  pairs = chosen(tables['optimal_pairs'], *case[:5])
  found = isoflop.find({'N': pairs['n'], 'C': pairs['flops'], 'D': pairs['t'],
                        'std': pairs['n_star_std']}, approach='pairs', draws=20)
  published = chosen(tables['fit_results'], *case[:5]).set_index('kind').loc['weighted']
  assert found.n_line.slope == pytest.approx(case[5], abs=5e-5)
  assert found.n_line.slope == pytest.approx(float(published['n_exponent']), abs=1e-9)
  assert np.exp(found.n_line.intercept) == pytest.approx(float(published['n_coef']), rel=1e-9)
  assert found.n_line.r2 == pytest.approx(float(published['n_r2']), abs=1e-9)


@pytest.mark.parametrize('case', [CASES[0], CASES[9]])
def test_the_command_prints_the_published_exponent(tmp_path, case):
  done = run(
      'analysis.isoflop', '--approach=pairs',
      f'--data={FOLDER}/isoflop_porian/optimal_pairs.csv', f'--where={condition(*case[:5])}',
      '--columns=N=n,C=flops,D=t,std=n_star_std', f'--out={tmp_path}/isoflop.json')
  assert done.returncode == 0, done.stderr
  assert f'{case[5]:.4f}' in done.stdout
  found = json.loads((tmp_path / 'isoflop.json').read_text())
  assert found['frontier']['a'] == pytest.approx(case[5], abs=5e-5)


@pytest.mark.parametrize('case', CASES)
def test_minima_and_exponents_from_the_raw_runs(tables, case):
  rows = chosen(tables['isoflop_points'], *case[:5])
  found = isoflop.find({'N': rows['n'], 'C': rows['flops']}, rows['loss'], minimum='akima',
                       noise=NOISE[case[0]])
  pairs = chosen(tables['optimal_pairs'], *case[:5]).dropna(subset='n')
  published = pairs.set_index('flops')['n']
  away = [abs(np.log(m.n / published.iloc[np.argmin(abs(published.index / m.flops - 1))]))
          for m in found.minima]
  assert np.median(away) < 0.015 and max(away) < 0.1
  assert found.n_line.slope == pytest.approx(case[5], abs=0.008)
  low, high = found.n_line.ends('slope', 0.9)
  assert low < case[5] < high
  # Parabolas through a few sizes see the same minima less exactly: their exponent is near.
  parabolas = isoflop.find({'N': rows['n'], 'C': rows['flops']}, rows['loss'], draws=100)
  assert parabolas.n_line.slope == pytest.approx(case[5], abs=0.04)


def test_what_the_paper_leaves_out_is_left_out(tables):
  """1.25e16 FLOPs, standard count, long warm-up: the smallest size is the best one."""
  rows = chosen(tables['isoflop_points'], *CASES[1][:5])
  found = isoflop.find({'N': rows['n'], 'C': rows['flops']}, rows['loss'], minimum='akima',
                       noise=NOISE['rw'])
  assert [(c, why) for c, _, why in found.lost] == [(pytest.approx(1.25e16), minima.EDGE)]
  assert any('rests on the interpolation (C = 2.5e+16)' in w for w in found.warnings)


def test_isoflop_agrees_with_the_fitted_law_on_hoffmanns_runs():
  """Approach 2 on the points near Hoffmann et al.'s nine budgets, against approach 3."""
  runs = pd.read_csv(f'{FOLDER}/chinchilla_epoch/runs.csv').nsmallest(240, 'loss')
  n, c = runs['Model Size'].to_numpy(), runs['Training FLOP'].to_numpy()
  budgets = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
  near = np.abs(np.log(c[:, None] / budgets)).min(1) < 0.12
  found = isoflop.find({'N': n[near], 'C': c[near]}, runs['loss'].to_numpy()[near],
                       tolerance=0.28)
  fitted = fit.fit(laws.get('chinchilla'), {'N': n, 'D': c / 6 / n}, runs['loss'].to_numpy(),
                   bootstrap=0)
  low, high = found.n_line.ends('slope', 0.9)
  best = fitted.params['beta'] / (fitted.params['alpha'] + fitted.params['beta'])
  assert low < best < high
  low, high = found.predict(1e20)['intervals']['N']
  assert low < float(fitted.optimum(1e20)['N'][0]) < high
