"""The loss curves of Luo et al. 2025 (arXiv 2503.12811), 25M model, through the command."""

import json
import os

import pytest

from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
pytestmark = pytest.mark.skipif(not os.path.isdir(f'{FOLDER}/lr_schedule_25m'),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
WARM = 'linear:2160:3e-4'
STABLE = f'{WARM} constant:20000'
FITTED = {'cosine_24000': f'{WARM} cosine:24000:3e-5', 'constant_24000': f'{WARM} constant:24000',
          'wsdcon_9': f'{WARM} constant:7999 constant:16000:9e-5'}
OTHERS = {'cosine_72000': f'{WARM} cosine:72000:3e-5', 'constant_72000': f'{WARM} constant:72000',
          'wsd_20000_24000': f'{STABLE} exponential:24000:3e-5',
          'wsdld_20000_24000': f'{STABLE} linear:24000:3e-5',
          'wsdcon_3': f'{WARM} constant:7999 constant:16000:3e-5',
          'wsdcon_18': f'{WARM} constant:7999 constant:16000:18e-5'}
PUBLISHED = ('L0=3.04045406,A=.52468604,alpha=.50786857,B=363.78751622,C=2.06560812,beta=.58279013,'
             'gamma=.64142257')
PUBLISHED_OBJECTIVE = 2.909e-4  # theirs on the three curves, by this code: it stopped early


def command(*arguments):
  def listed(curves):
    return ','.join(f'{name}.csv={schedule}' for name, schedule in curves.items())

  done = run('analysis.curves', f'--folder={FOLDER}/lr_schedule_25m', '--json',
             f'--predict={listed(OTHERS)}', *(a.format(fit=listed(FITTED)) for a in arguments))
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_published_parameters_give_the_published_errors():
  mean = command(f'--params={PUBLISHED}')['predicted_mean']
  assert round(mean['r2'], 4) == 0.9988 and round(mean['mae'], 5) == 0.00376
  assert round(mean['rmse'], 5) == 0.00465 and round(mean['mean_relative_error'], 4) == 0.0011
  assert mean['worst_relative_error'] == pytest.approx(0.00409, abs=1.5e-5)


def test_our_fit_has_less_than_half_the_published_objective():
  """The optimum predicts the other curves a little worse than the early stop: R2 .9976, MAE .0046.

  beta is hardly identified: .06 to .3 are within 2.5 % of the least objective.
  """
  found = command('--fit={fit}')
  assert found['objective']['value'] == pytest.approx(1.3836e-4, rel=1e-3)
  assert found['objective']['value'] < PUBLISHED_OBJECTIVE / 2
  assert found['predicted_mean']['r2'] > 0.9975 and found['predicted_mean']['mae'] < 0.0047
  assert all(c['r2'] > 0.9985 for c in found['fitted'])
