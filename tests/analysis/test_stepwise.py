"""Step-wise estimation gives back the constants of curves made with the implicit law."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import stepwise
from analysis.commands import stepwise as stepwise_command
from analysis.laws import critical_batch, trajectory
from analysis.reading.points import Points
from analysis.stepwise import Options
from analysis.training_curves import contours
from analysis.training_curves.contours import Contour
from scaling.errors import InputError
from tests.analysis import workdirs
from tests.analysis.commands import run

# Kaplan et al. 2020, arXiv 2001.08361, tables 3 and 5.
TRUTH = {'N_c': 6.5e13, 'S_c': 2.1e3, 'B_star': 2.1e8, 'alpha_N': 0.077, 'alpha_S': 0.76,
         'alpha_B': 0.21}
SIZES, BATCHES = (1e6, 3e6, 1e7, 3e7, 6e7), (3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
OPTIONS = Options(warmup=0.005)
LARGE = {'N': 3e9, 'B': 2e6, 'loss': 2.6}


def table(noise=0.0, run_noise=0.0, seed=0, sizes=SIZES, batches=BATCHES, long=2e6):
  """Evaluations of long runs of every size and of one size at every batch size."""
  random = np.random.default_rng(seed)
  cells = [(n, 5e5, long) for n in sizes] + [(1e7, b, 6e4 * (1 + 1e6 / b)) for b in batches]
  parts = []
  for i, (n, b, last) in enumerate(cells):
    steps = np.geomspace(last / 1000, last, 80)
    loss = trajectory.LAW.predict(TRUTH, {'N': n, 'B': b, 'S': steps})
    spread = run_noise * random.normal() + noise * random.normal(size=80)
    parts.append(pd.DataFrame({'params': n, 'step': steps, 'batch': b, 'run': f'run {i}',
                               'val_loss': loss * np.exp(spread)}))
  return pd.concat(parts, ignore_index=True)


def prepared(rows):
  runs = stepwise.of_rows({'N': rows['params'].to_numpy(), 'S': rows['step'].to_numpy(),
                           'B': rows['batch'].to_numpy()}, rows['val_loss'].to_numpy(),
                          rows['run'].to_numpy(), rows['run'].to_numpy(), OPTIONS)
  return (runs, stepwise.converged(runs, OPTIONS),
          contours.of_runs(runs.used, OPTIONS.levels))


def test_a_contours_corner():
  batch = np.geomspace(1e4, 1e7, 5)
  found = contours.corner(Contour(1e7, 3.0, np.arange(5), batch, 4e3 + 3e9 / batch), np.ones(5))
  assert found.S_min == pytest.approx(4e3) and found.E_min == pytest.approx(3e9)
  assert found.B_crit == pytest.approx(7.5e5)
  rising = Contour(1e7, 3.0, np.arange(5), batch, batch / 10)  # larger batches need more updates
  assert contours.corner(rising, np.ones(5)) is None


def test_crossings_are_read_between_the_rows():
  steps = np.geomspace(1e2, 1e5, 60)
  loss = 3 + (2e3 / steps) ** 0.7
  for level in (3.2, 4.0, 8.0):
    exact = 2e3 * (level - 3) ** (-1 / 0.7)
    assert contours.crossing(steps, loss, level) == pytest.approx(exact, rel=2e-4)
  assert np.isnan(contours.crossing(steps, loss, 2.9))
  assert np.isnan(contours.crossing(steps, loss, 100.0))


def test_recovers_every_constant_from_curves_without_noise():
  found = stepwise.estimate(*prepared(table()))
  assert found.params == pytest.approx(TRUTH, rel=1e-3)
  for corner in found.corners:
    assert corner.B_crit == pytest.approx(critical_batch.batch(TRUTH, corner.loss), rel=1e-3)
  # The plain procedure takes the ends for converged, which costs alpha_S 4 % here.
  assert abs(found.first['alpha_S'] / 0.76 - 1) > 0.03
  said = stepwise.predict(found.params, LARGE | {'S': 1e5})
  floor = (6.5e13 / 3e9) ** 0.077
  assert said['least_loss'] == pytest.approx(floor, rel=1e-3)
  least = 2.1e3 * (2.6 - floor) ** (-1 / 0.76)
  critical = 2.1e8 / 2.6 ** (1 / 0.21)
  assert said['B_crit'] == pytest.approx(critical, rel=2e-3)
  assert said['steps'] == pytest.approx(least * (1 + critical / 2e6), rel=1e-2)
  assert said['tokens'] == pytest.approx(2e6 * said['steps'])
  assert said['loss'] == pytest.approx(
      float(trajectory.LAW.predict(TRUTH, {'N': 3e9, 'B': 2e6, 'S': 1e5})), rel=1e-3)


def test_a_loss_below_the_least_is_never_reached():
  assert stepwise.predict(TRUTH, {'N': 1e6, 'B': 1e6, 'loss': 2.0})['steps'] == np.inf


def test_recovers_from_noisy_curves():
  """Runs of 11 lineages, noise of .3 % an evaluation: the constants' spread over ten seeds."""
  found = [stepwise.estimate(*prepared(table(noise=0.003, seed=seed))).params
           for seed in range(10)]
  for name, bias in (('alpha_N', 0.02), ('alpha_S', 0.02), ('alpha_B', 0.05), ('S_c', 0.02)):
    errors = [f[name] / TRUTH[name] - 1 for f in found]
    assert abs(np.mean(errors)) < bias and np.std(errors) < 3 * bias
  for params in found:
    said, true = stepwise.predict(params, LARGE), stepwise.predict(TRUTH, LARGE)
    assert said['least_loss'] == pytest.approx(true['least_loss'], rel=0.03)
    assert said['B_crit'] == pytest.approx(true['B_crit'], rel=0.5)


def test_without_a_batch_sweep_the_first_step_stands_alone():
  found = stepwise.estimate(*prepared(table(batches=())))
  assert set(found.params) == {'N_c', 'alpha_N'} and not found.corners
  assert stepwise.predict(found.params, LARGE).keys() == {'least_loss'}


def test_weights_of_runs_are_counts():
  runs, ends, found = prepared(table(noise=0.002))
  twice = np.ones(len(runs.whole)) * 2
  assert stepwise.estimate(runs, ends, found, twice).params == pytest.approx(
      stepwise.estimate(runs, ends, found).params)


def test_runs_are_one_size_and_batch():
  rows = table().assign(run='the same')
  with pytest.raises(InputError, match='run the same: its N changes'):
    prepared(rows)


def command(*flags):
  return run('analysis.stepwise', *flags)


COLUMNS = '--columns=N=params,S=step,B=batch,loss=val_loss,run=run'


def test_the_command_with_a_larger_run_held_out(tmp_path):
  rows = table(noise=0.001)
  steps = np.geomspace(1e3, 1e5, 30)
  large = pd.DataFrame({'params': 1e9, 'step': steps, 'batch': 1e6, 'run': 'large',
                        'val_loss': trajectory.LAW.predict(TRUTH, {'N': 1e9, 'S': steps,
                                                                   'B': 1e6})})
  large.loc[3, 'params'] = np.nan
  rows.loc[[5, 6], 'batch'] = [np.nan, 0]
  path, out = tmp_path / 'curves.csv', tmp_path / 'stepwise.json'
  pd.concat([rows, large]).to_csv(path, index=False)
  done = command(f'--data={path}', COLUMNS, '--hold_out=run == "large"', '--warmup=0.005',
                 '--bootstrap=40', '--N=3e9', '--B=2e6', '--loss=2.6', '--S=1e5', f'--out={out}')
  assert done.returncode == 0, done.stderr
  answer = json.loads(out.read_text())
  for name in ('alpha_N', 'alpha_S', 'alpha_B'):
    low, high = answer['intervals'][name]
    assert low <= answer['params'][name] <= high and low / 1.1 < TRUTH[name] < high * 1.1
  assert answer['held_out']['rmse_log'] < 0.01
  assert answer['prediction']['B_crit'] == pytest.approx(
      critical_batch.batch(TRUTH, 2.6), rel=0.2)
  assert len(answer['prediction']['curve']['loss']) == 61
  assert answer['runs'] == 11 and answer['columns']['N'] == 'params'
  assert 'B_star' in done.stdout and 'held out: 29 rows' in done.stdout
  assert '1 held-out rows could not be used (N missing: 1)' in done.stdout
  assert answer['dropped'] == {'B missing': 1, 'B not positive': 1}
  assert answer['held_out']['dropped'] == {'N missing': 1}


def test_absurd_values_are_predicted_as_zero_or_infinite():
  said = stepwise.predict(TRUTH, {'N': 1e300, 'loss': 1e-300, 'B': 1e-300, 'S': 1e300})
  assert said['B_crit'] == np.inf and said['steps'] == np.inf and said['least_loss'] > 0
  assert stepwise.predict(TRUTH, {'N': 1e-300, 'loss': 1e300})['B_crit'] == 0


def test_the_command_says_what_is_not_identified(tmp_path):
  path = tmp_path / 'curves.csv'
  table(batches=(), sizes=(1e6, 3e6)).to_csv(path, index=False)
  done = command(f'--data={path}', COLUMNS)
  assert done.returncode == 0
  assert '(a) 2 sizes of model: three or more' in done.stdout
  assert '(b) no size of model has curves of 3 batch sizes' in done.stdout


@pytest.mark.parametrize('flags, said', [
    (['--data=none.csv'], 'no such file'), ([], '--logs=WORKDIR or --data=FILE'),
    (['--data=none.csv', '--tail=1'], '--tail'), (['--data=none.csv', '--N=-1'], '--N')])
def test_what_is_wrong_is_one_line(flags, said):
  done = command(*flags)
  assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_workdir_of_one_batch_size(tmp_path):
  done = command(f'--logs={workdirs.write(tmp_path / "work")}', '--bootstrap=0')
  assert done.returncode == 0, done.stderr
  assert '(a) N_c' in done.stdout and '(b) no size of model' in done.stdout


def test_odd_tables_are_estimated_or_refused():
  """Flat, rising, random, short and repeated curves: warnings or an InputError, nothing else."""
  random = np.random.default_rng(3)
  for _ in range(60):
    count, rows = random.integers(1, 10), random.integers(1, 120)
    run = random.integers(0, count, rows)
    size, batch = 10.0 ** random.integers(5, 9, count), 10.0 ** random.integers(3, 8, count)
    steps = np.round(10 ** random.uniform(0, 6, rows))
    loss = [np.full(rows, 3.0), 1 + steps / 1e6, random.normal(size=rows),
            2 + (1e3 / steps) ** 0.7 * (1 + 1e5 / batch[run]) ** 0.7][random.integers(4)]
    points = Points(inputs={'N': size[run], 'S': steps, 'B': batch[run]}, loss=loss, groups=run,
                    columns={}, data={})
    try:
      answer = stepwise_command.of_points(points, run, Options(), 20, 0.9, LARGE)
    except InputError:
      continue
    assert stepwise_command.text(answer)
    assert all(np.isfinite(v) and v > 0 for v in answer['params'].values())
    assert answer['warnings'] or len(answer['params']) == 6
