"""Compute-optimal sizes without a law: what is recovered, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import fit, isoflop
from analysis.frontiers import frontier, minima
from scaling.errors import InputError
from tests.analysis import isoflop_data as data
from tests.analysis import workdirs
from tests.analysis.commands import run


@pytest.mark.parametrize('minimum', minima.METHODS)
def test_isoflop_gives_the_exponents_of_the_law(minimum):
  found = isoflop.find(*data.isoflop(), minimum=minimum)
  assert found.n_line.slope == pytest.approx(data.SLOPE, abs=1e-3)
  assert found.d_line.slope == pytest.approx(1 - data.SLOPE, abs=1e-3)
  truth = data.LAW.best(data.TRUTH, 1e20)
  answer = found.predict(1e20)
  assert answer['N'] == pytest.approx(truth['N'], rel=0.01)  # a parabola ignores the curve's skew
  assert answer['D'] == pytest.approx(truth['D'], rel=0.01)
  assert found.warnings == [] and answer['warnings'] == []


def test_envelope_gives_the_exponents_of_the_law():
  x, loss, curve = data.curves()
  found = isoflop.find(x, loss, approach='envelope', curves=curve)
  assert found.n_line.slope == pytest.approx(data.SLOPE, abs=1e-3)
  assert found.d_line.slope == pytest.approx(1 - data.SLOPE, abs=1e-3)
  answer, truth = found.predict(1e20), data.LAW.best(data.TRUTH, 1e20)
  assert answer['N'] == pytest.approx(truth['N'], rel=0.01)
  assert answer['D'] == pytest.approx(truth['D'], rel=0.01)


def test_three_approaches_agree():
  """The envelope, the isoFLOP minima and the fitted law, on noisy runs of one law."""
  x, loss, curve = data.curves(noise=0.002)
  rows, losses = data.isoflop(noise=0.002)
  fitted = fit.fit(data.LAW, rows, losses)
  best = fitted.optimum(1e20)
  others = (isoflop.find(rows, losses), isoflop.find(rows, losses, minimum='akima'),
            isoflop.find(x, loss, approach='envelope', groups=curve))
  ends = [(best['N_low'][0], best['N_high'][0]),
          *(found.predict(1e20)['intervals']['N'] for found in others)]
  truth = float(data.LAW.best(data.TRUTH, 1e20)['N'])
  assert all(low < truth < high for low, high in ends), ends
  assert max(low for low, _ in ends) < min(high for _, high in ends)


def test_a_skewed_law_is_recovered_by_akima_to_its_spacing():
  """alpha and beta far apart: an interpolant has no shape to be wrong about."""
  law = data.TRUTH | {'alpha': 0.5, 'beta': 0.28, 'A': 9000.0, 'B': 300.0}
  found = isoflop.find(*data.isoflop(sizes=15, law=law), minimum='akima')
  assert found.n_line.slope == pytest.approx(0.28 / 0.78, abs=1e-3)
  assert found.predict(1e20)['N'] == pytest.approx(data.LAW.best(law, 1e20)['N'], rel=0.01)


def test_units_change_only_the_coefficients():
  x, loss = data.isoflop(noise=0.003)
  raw = isoflop.find(x, loss)
  scaled = isoflop.find({'N': x['N'] / 1e9, 'C': x['C'] / 1e18, 'D': x['D']}, loss / np.log(2))
  assert scaled.n_line.slope == pytest.approx(raw.n_line.slope, rel=1e-9)
  assert scaled.predict(100.0)['N'] == pytest.approx(raw.predict(1e20)['N'] / 1e9, rel=1e-9)


@pytest.mark.parametrize(('interval', 'studies'), [('noise', 60), ('groups', 15)])
def test_intervals_hold_the_truth(interval, studies):
  """90 % intervals, over a few studies: far too narrow ones would be seen."""
  truth = float(data.LAW.best(data.TRUTH, 1e22)['N'])
  inside = []
  for seed in range(studies):
    found = isoflop.find(*data.isoflop(noise=0.004, seed=seed), interval=interval, draws=100)
    low, high = found.n_line.ends('slope', 0.9)
    at_low, at_high = found.predict(1e22)['intervals']['N']
    inside.append((low < data.SLOPE < high, at_low < truth < at_high))
  assert np.all(np.mean(inside, 0) >= 0.8)


def test_a_minimum_known_better_weighs_more():
  line = frontier.line(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0]),
                       np.array([1.0, 1.0, 1e6]), np.zeros((0, 3)))
  assert line.slope == pytest.approx(1.0, abs=1e-6)


def one(losses, n=(1e7, 2e7, 4e7, 8e7, 1.6e8)):
  size = len(losses)
  return minima.Curve.of(np.array(n[:size]), np.ones(size), np.full(size, 1e18), np.array(losses))


@pytest.mark.parametrize(('losses', 'method', 'window', 'reason'), [
    ([3.0, 2.9], 'parabola', 3.0, minima.FEW),
    ([3.0, 2.9], 'akima', 3.0, minima.FEW),
    ([3.4, 3.3, 3.2, 3.1, 3.05], 'akima', 3.0, minima.EDGE),
    ([3.05, 3.1, 3.2, 3.3, 3.4], 'akima', 3.0, minima.EDGE),
    ([3.4, 3.3, 3.2, 3.1, 3.05], 'parabola', 3.0, minima.OUTSIDE),
    ([2.9, 3.0, 3.05, 3.06, 3.0], 'parabola', 20.0, minima.DOWN),
    ([3.3, 3.1, 3.05, 3.02, 3.01], 'parabola', 20.0, minima.EDGE),
    ([1.0, 0.2, 0.02, 0.2, 1.0], 'parabola', 20.0, minima.BELOW)])
def test_no_minimum_is_accepted_unchecked(losses, method, window, reason):
  assert minima.locate(one(losses), method, window) == reason


def test_a_minimum_that_noise_destroys_is_left_out():
  curve = one([3.0002, 3.0, 3.0001])  # then the middle one is lowest a third of the time
  noise = 0.05 * np.random.default_rng(0).normal(size=(500, 3))
  assert minima.minimum(curve, 'akima', 3.0, noise) == minima.LOST


def test_left_out_budgets_are_counted_by_reason():
  x, loss = data.isoflop()
  rows = np.ones(len(loss), bool)
  rows[2:9] = False  # two sizes at the first budget
  low = data.LAW.best(data.TRUTH, 1e21)['N']
  rows &= ~((x['C'] > 9e20) & (x['N'] < 1.1 * low))  # one flank at the last
  found = isoflop.find({k: v[rows] for k, v in x.items()}, loss[rows])
  shown = found.to_dict()
  assert shown['dropped'] == {minima.FEW: 1, minima.OUTSIDE: 1} or shown['dropped'] == {
      minima.FEW: 1, minima.EDGE: 1}
  assert len(found.warnings) == 2 and '1 of 7 budgets left out: fewer than 3' in found.warnings[0]
  assert [b['C'] for b in shown['dropped_budgets']] == pytest.approx([1e18, 1e21])


def test_few_budgets_are_warned_about():
  for count, words in ((4, 'only 4 budgets'), (2, 'too few budgets'), (1, 'no frontier')):
    found = isoflop.find(*data.isoflop(budgets=np.geomspace(1e19, 1e20, count)))
    assert any(words in w for w in found.warnings)
    assert (found.to_dict()['frontier'] is None) == (count == 1)
  two = isoflop.find(*data.isoflop(budgets=np.array([1e19, 1e20])))
  assert two.predict(1e19)['intervals'] == {}
  with pytest.raises(InputError, match='no frontier'):
    isoflop.find(*data.isoflop(budgets=np.array([1e19]))).predict(1e19)


def test_a_far_prediction_is_warned_about():
  found = isoflop.find(*data.isoflop())
  assert 'factor of 100' in found.predict(1e23)['warnings'][0]
  with pytest.raises(InputError, match='flops'):
    found.predict(-1.0)


def test_no_minimum_at_all_is_one_line():
  x, loss = data.isoflop(sizes=5)
  with pytest.raises(InputError, match='7 of 7 budgets left out'):
    isoflop.find(x, -loss + 10)  # upside down


def test_nearly_equal_budgets_are_grouped():
  c = np.array([1e18, 1.04e18, 1.06e18, 5e18, 1.02e18])
  assert [sorted(rows) for rows in minima.budgets(c, 0.05)] == [[0, 1, 4], [2], [3]]
  assert len(minima.budgets(c, 0.0)) == 5


def test_losses_are_moved_to_their_budgets_c():
  """C up to 12 % off within a budget: 1.2 % in the loss, where a factor two in N is worth 1 %."""
  x, _ = data.isoflop()
  off = np.exp(np.random.default_rng(2).uniform(-0.12, 0.12, len(x['N'])))
  x = {'N': x['N'], 'D': x['D'] * off, 'C': x['C'] * off}
  loss = data.LAW.predict(data.TRUTH, x)
  for minimum, near in (('parabola', 0.006), ('akima', 0.015)):
    found = isoflop.find(x, loss, tolerance=0.3, minimum=minimum)
    assert len(found.minima) == 7 and found.warnings == []
    assert found.n_line.slope == pytest.approx(data.SLOPE, abs=near)
  assert loss[0] == data.LAW.predict(data.TRUTH, x)[0]  # what was given is left as it was


def test_the_best_setting_of_each_point_and_the_noise_of_seeds(tmp_path):
  x, loss = data.isoflop()
  random = np.random.default_rng(0)
  table = pd.concat([pd.DataFrame({
      'N': x['N'], 'C': x['C'], 'lr': lr, 'seed': seed,
      'loss': loss * (1 + worse) * np.exp(0.002 * random.normal(size=len(loss)))})
      for lr, worse in ((1e-3, 0.05), (2e-3, 0.0), (4e-3, 0.08)) for seed in (0, 1)])
  table.to_csv(tmp_path / 'runs.csv', index=False)
  done = command(f'--data={tmp_path}/runs.csv', '--best_over=lr', '--seed=seed', '--json')
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found['n_points'] == 126 and sum(found['n_dropped'].values()) == 252
  assert found['noise']['std_ln_loss'] == pytest.approx(0.002, rel=0.2)
  assert 'seed' in found['noise']['from']
  assert found['frontier']['a'] == pytest.approx(data.SLOPE, abs=0.02)


def test_seeds_are_averaged_and_groups_move_together():
  x, loss = data.isoflop(noise=0.004)
  twice = {k: np.tile(v, 2) for k, v in x.items()}
  found = isoflop.find(twice, np.concatenate([loss * 1.01, loss * 0.99]), noise=0.004)
  once = isoflop.find(x, loss, noise=0.004)
  assert found.minima[0].n == pytest.approx(once.minima[0].n, rel=1e-3)
  wide = once.minima[0].draws.std()
  assert found.minima[0].draws.std() == pytest.approx(wide / np.sqrt(2), rel=0.15)
  together = isoflop.find(x, loss, groups=np.zeros(len(loss)), noise=0.004)
  assert together.minima[0].draws.std() == pytest.approx(0, abs=1e-9)  # one factor on every loss


def test_an_envelope_counts_whole_steps_only():
  x, loss, curve = data.curves(sizes=np.geomspace(3e7, 3e9, 3))
  with pytest.raises(InputError, match='too few sizes'):
    isoflop.find(x, loss, approach='envelope', curves=curve)
  x, loss, curve = data.curves()
  short = x['C'] < np.where(x['N'] < 4e8, 2e19, np.inf)  # small models stop before they are passed
  found = isoflop.find({k: v[short] for k, v in x.items()}, loss[short], approach='envelope',
                       curves=curve[short])
  assert found.n_line.slope == pytest.approx(data.SLOPE, abs=0.02)


def test_pairs():
  c = np.geomspace(1e18, 1e21, 8)
  noise = np.exp(0.05 * np.random.default_rng(1).normal(size=8))
  found = isoflop.find({'N': 0.1 * c**0.5 * noise, 'C': c, 'std': np.full(8, 0.1)},
                       approach='pairs')
  low, high = found.n_line.ends('slope', 0.9)
  assert low < 0.5 < high and high - low < 0.1
  assert found.d_line.slope == pytest.approx(1 - found.n_line.slope)
  with pytest.raises(InputError, match='std is missing'):
    isoflop.find({'N': c, 'C': c}, approach='pairs')


@pytest.mark.parametrize('options', [
    {'approach': 'guess'}, {'minimum': 'cubic'}, {'window': 1.0}, {'tolerance': -0.1},
    {'noise': -1.0}, {'interval': 'rows'}, {'draws': 3}, {'level': 1.0}])
def test_bad_options_are_one_line(options):
  with pytest.raises(InputError, match=next(iter(options))):
    isoflop.find(*data.isoflop(), **options)


def test_odd_tables_are_answered_or_refused_in_one_line():
  random = np.random.default_rng(5)
  answered = 0
  for _ in range(150):
    size = random.integers(0, 30)
    n = random.choice([10.0 ** random.integers(5, 10, size), np.exp(random.normal(18, 2, size))])
    c = random.choice([1e-300, 1e18, 1.02e18, 1e19, 1e20], size, p=[0.01, 0.29, 0.2, 0.3, 0.2])
    loss = np.exp(random.normal(1, 0.1, size))
    odd = random.random(size) < 0.03
    loss[odd] = random.choice([np.nan, -1, 0, np.inf, 1e-300, 1e300], odd.sum())
    try:
      found = isoflop.find(
          {'N': n, 'C': c, 'std': np.full(size, 0.1)}, loss, draws=20,
          approach=random.choice(isoflop.APPROACHES), minimum=random.choice(minima.METHODS),
          interval=random.choice(isoflop.INTERVALS), groups=random.integers(0, 5, size))
      json.dumps(found.to_dict())
      answered += 1
    except InputError as error:
      assert '\n' not in str(error)
  assert answered > 30


def test_rows_that_cannot_be_used_are_counted():
  x, loss = data.isoflop()
  loss = loss.copy()
  loss[0], x['N'][1] = np.nan, -1.0
  assert isoflop.find(x, loss).dropped == {'loss missing': 1, 'N not positive': 1}


def command(*arguments):
  return run('analysis.isoflop', *arguments)


def test_the_command_on_a_table(tmp_path):
  x, loss = data.isoflop(noise=0.002)
  pd.DataFrame({'params': x['N'], 'flops': x['C'], 'loss': loss}).to_csv(tmp_path / 'runs.csv')
  done = command(f'--data={tmp_path}/runs.csv', '--columns=N=params,C=flops', '--flops=1e20,1e23',
             f'--out={tmp_path}/isoflop.json', f'--plot={tmp_path}/plot.svg')
  assert done.returncode == 0, done.stderr
  assert 'N = k C^a' in done.stdout and 'warning: C is extrapolated' in done.stdout
  found = json.loads((tmp_path / 'isoflop.json').read_text())
  assert found['frontier']['a'] == pytest.approx(data.SLOPE, abs=0.02)
  low, high = found['frontier']['intervals']['a']
  assert low < found['frontier']['a'] < high and found['frontier']['r2']['N'] > 0.99
  first = found['minima'][0]
  assert len(found['minima']) == 7 and first['interval_N'][0] < first['N']
  assert found['noise']['std_ln_loss'] == pytest.approx(0.002, rel=0.4)
  assert found['predictions'][1]['intervals']['N'] and found['data']['sha256']
  assert (tmp_path / 'plot.svg').read_text().startswith('<?xml')


def test_the_command_on_a_workdir(tmp_path):
  workdir = workdirs.write(tmp_path / 'w', steps=(25600,), noise=0.0005,
                           widths=(16, 24, 32, 40, 48, 64, 80, 96))
  done = command(f'--logs={workdir}', '--approach=envelope', '--noise=0.0005', '--json')
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  truth = workdirs.TRUTH['beta'] / (workdirs.TRUTH['alpha'] + workdirs.TRUTH['beta'])
  assert found['curves'] == found['n_groups'] == 8  # the held-out run is not among them
  assert found['frontier']['a'] == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize('arguments', [
    (), ('--data=nowhere.csv',), ('--data=x.csv', '--plot=p.txt')])
def test_errors_are_one_line_and_exit_code_2(arguments):
  done = command(*arguments)
  assert done.returncode == 2
  assert len(done.stderr.strip().splitlines()) == 1 and 'Traceback' not in done.stderr
