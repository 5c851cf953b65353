"""Muennighoff et al. 2023 (arXiv 2305.16264) from its runs, by the commands; skips without them."""

import json
import os

import numpy as np
import pytest

from tests.analysis.commands import run

FOLDER = f'{os.environ.get("SCALING_REFERENCE_DATA")}/repeated_epochs'
pytestmark = pytest.mark.skipif(not os.path.isdir(FOLDER), reason='no reference data here')
COLUMNS = 'N=params_N,D=tokens_D,loss=val_loss'
HELD = (f'E={np.exp(0.6254804)},A={np.exp(6.255414)},B={np.exp(7.3049974)},'
        'alpha=.3526596,beta=.3526596')


def fitted(folder, name, law, *flags):
  """The fit.json and the printed text of `python -m analysis.fit` on one of the files."""
  unique = ',U=unique_tokens_U' if law.startswith('repetition') else ''
  out = f'{folder}/fit.json'
  done = run('analysis.fit', f'--law={law}', f'--data={FOLDER}/{name}.csv',
             f'--columns={COLUMNS}{unique}', '--bootstrap=0', f'--out={out}', *flags)
  assert done.returncode == 0, done.stderr
  with open(out) as file:
    return json.load(file), done.stdout


def test_the_lower_optimum_is_found_and_the_published_one_is_named(tmp_path):
  found, text = fitted(tmp_path, 'c4_val_loss_fit_182', 'repetition', f'--fix={HELD}')
  assert found['params'] == pytest.approx({'R_D_star': 95.4, 'R_N_star': 1.71}, rel=5e-3)
  assert found['objective']['value'] <= 0.01580467
  assert any(other['above'] < 0.0014 and other['params'] == pytest.approx(
      {'R_D_star': 15.387756, 'R_N_star': 5.309743}, rel=5e-3) for other in found['minima'])
  assert 'is only 0.13 % higher: R_D_star 15.3' in text


def test_the_published_parameters_are_evaluated(tmp_path):
  found, _ = fitted(tmp_path, 'c4_val_loss_fit_182', 'repetition',
                 f'--fix={HELD},R_D_star=15.387756,R_N_star=5.309743')
  assert found['objective']['value'] == pytest.approx(0.015825936570763588, rel=2e-7)
  assert found['metrics']['r2'] == pytest.approx(0.7722046, abs=5e-8)


def test_without_decay(tmp_path):
  found, _ = fitted(tmp_path, 'c4_val_loss_fit_182', 'chinchilla', f'--fix={HELD}')
  assert found['metrics']['r2'] == pytest.approx(0.4451684, abs=5e-8)


def test_decay_of_data_alone(tmp_path):
  found, _ = fitted(tmp_path, 'c4_val_loss_fit_182', 'repetition', f'--fix={HELD},R_N_star=1e12')
  assert found['params']['R_D_star'] == pytest.approx(2.915, abs=5e-4)
  assert found['objective']['value'] == pytest.approx(0.0169223, abs=5e-8)


def test_geometric_decay(tmp_path):
  found, _ = fitted(tmp_path, 'c4_val_loss_fit_182', 'repetition_geometric', f'--fix={HELD}')
  assert found['params'] == pytest.approx({'delta_D': 0.010477, 'delta_N': 0.367407}, rel=1e-3)
  assert found['objective']['value'] <= 0.0154774354 + 5e-11


def test_nearly_one_epoch_with_tied_exponents(tmp_path):
  """a, b, e, alpha = beta of the 62 runs of at most 2.5 epochs."""
  found, _ = fitted(tmp_path, 'c4_val_loss_all_296', 'chinchilla', '--where=epochs <= 2.5',
                 '--tie=beta=alpha')
  assert found['n_points'] == 62 and found['tied'] == {'beta': 'alpha'}
  logs = [np.log(found['params'][name]) for name in 'ABE']
  assert [*logs, found['params']['alpha']] == pytest.approx([6.45391, 8.02424, 0.64003, 0.35961],
                                                            abs=5e-5)
  assert found['objective']['value'] <= 0.001218939 + 5e-10
