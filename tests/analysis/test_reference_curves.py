"""Learning curves that others published, extrapolated as their paper did (where at hand).

Alabdulmohsin et al. 2022 (arXiv 2209.06640): fitted on the rows with Training == 1, judged by the
root mean square of ln y on the others. Least squares in the logarithms gives M1's printed errors;
least squares or Huber's loss in other units do not.
"""

import json
import os

import numpy as np
import pandas as pd
import pytest

from analysis import fit, laws
from tests.analysis.commands import run

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')
FILE = f'{FOLDER}/learning_curves/nmt_lm.csv'
pytestmark = pytest.mark.skipif(not os.path.isfile(FILE),
                                reason='SCALING_REFERENCE_DATA does not name the reference data')
M1 = {'6 Enc, 6 Dec': 0.26187, '28 Enc, 6 Dec': 0.17085, '6 Enc, 28 Dec': 0.23403,
      'Dec-only': 0.25197, 'TEnc-LSTM': 0.18992}


@pytest.fixture(scope='module')
def table():
  return pd.read_csv(FILE)


def extrapolation(table, law, model, **options):
  """The root mean square of ln(law / loss) on the rows held out."""
  rows = table[table['Model'] == model]
  x, y, seen = rows['Seen Examples'].to_numpy(), rows['Loss'].to_numpy(), rows['Training'] == 1
  found = fit.fit(laws.get(law), {'x': x[seen]}, y[seen], bootstrap=0, **options)
  return float(np.sqrt(np.mean(np.log(found.predict({'x': x[~seen]}) / y[~seen]) ** 2)))


@pytest.mark.parametrize('model', M1)
def test_m1_has_the_papers_errors(table, model):
  assert extrapolation(table, 'm1', model) == pytest.approx(M1[model], abs=6e-6)


def test_no_other_objective_has_them(table):
  for objective in ('huber_log', 'lad_log', 'mse'):
    assert abs(extrapolation(table, 'm1', '6 Enc, 6 Dec', objective=objective) - 0.26187) > 0.01


@pytest.mark.parametrize('law, model', [*(('m2', model) for model in M1),
                                        ('m4', 'Dec-only')])
def test_offsets_and_saturation_extrapolate_better(table, law, model):
  """The curves bend: M2's errors are less than M1's by 2.6 to 10 times, M4's by 60 and more."""
  assert extrapolation(table, law, model) < M1[model] / (2.5 if law == 'm2' else 25)


def test_the_command(tmp_path):
  out = tmp_path / 'fit.json'
  done = run('analysis.fit', '--law=m1', f'--data={FILE}',
             '--columns=x=`Seen Examples`,loss=Loss', "--where=Model == '6 Enc, 6 Dec'",
             '--hold_out=Training == 0', '--bootstrap=0', f'--out={out}')
  assert done.returncode == 0, done.stderr
  assert json.loads(out.read_text())['held_out_metrics']['rmse_log'] == pytest.approx(0.26187,
                                                                                   abs=6e-6)
