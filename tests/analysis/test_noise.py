"""Noise known apart from the fit: components, replicates, lack of fit, and what uses them."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import fit, laws
from analysis.commands import fit as fit_command
from analysis.fitting import noise, shift
from analysis.reading import points
from analysis.reading.sampling import Options
from scaling.errors import InputError

CHINCHILLA = laws.get('chinchilla')
SIGMA = {'run': 0.010, 'shared': 0.006, 'residual': 0.004}


def study(random, layout, share=1.0, cells=5, replicates=3, windows=6):
  """y of runs scored on windows; the cells' own levels are anything."""
  runs = cells * replicates
  run = np.repeat(np.arange(runs), windows)
  window = np.tile(np.arange(windows), runs) if layout == 'crossed' else np.arange(len(run))
  y = (random.normal(0, 1, cells)[run // replicates] + random.normal(0, SIGMA['run'], runs)[run]
       + random.normal(0, SIGMA['shared'], window.max() + 1)[window]
       + random.normal(0, SIGMA['residual'], len(run)))
  keep = random.random(len(run)) < share
  return y[keep], run[keep], window[keep], (run // replicates)[keep]


@pytest.mark.parametrize('layout', ['crossed', 'nested'])
@pytest.mark.parametrize('share', [1.0, 0.6])
def test_components_are_recovered_without_bias(layout, share):
  """Means over 500 studies, within four of their standard errors; also with evaluations missing."""
  random = np.random.default_rng(0)
  found = [noise.components(*study(random, layout, share)) for _ in range(500)]
  assert {f.layout for f in found} == {layout}
  truth = {name: value**2 for name, value in SIGMA.items()}
  if layout == 'nested':
    truth = {'run': truth['run'], 'shared': 0.0, 'residual': truth['residual'] + truth['shared']}
  for name, value in truth.items():
    estimates = np.array([getattr(f, name) for f in found])
    assert abs(estimates.mean() - value) <= 4 * estimates.std() / np.sqrt(500) + 1e-15, name


def test_components_of_a_balanced_study_are_those_of_the_mean_squares():
  random = np.random.default_rng(1)
  y = random.normal(size=(4, 5)) + random.normal(size=(4, 1)) + random.normal(size=5)
  run, window = (v.ravel() for v in np.indices(y.shape))
  found = noise.components(y.ravel(), run, window, np.zeros(20, int))
  rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
  residual = np.sum(rest**2) / 12
  assert found.residual == pytest.approx(residual)
  assert found.run == pytest.approx(y.mean(1).var(ddof=1) - residual / 5)
  assert found.shared == pytest.approx(y.mean(0).var(ddof=1) - residual / 4)
  assert (found.run_freedom, found.shared_freedom, found.residual_freedom) == (3, 4, 12)
  assert found.noise**2 == pytest.approx(max(found.run, 0) + residual / 5)
  assert found.shift()**2 == pytest.approx(max(found.shared, 0) / 5)


def test_layouts_are_recognised_by_the_ids():
  run = np.repeat([0, 1, 2], 2)
  for window, layout in (([0, 1] * 3, 'crossed'), (range(6), 'nested'),
                         ([0, 1, 0, 1, 0, 2], 'crossed'), ([0, 1, 0, 2, 3, 4], 'nested')):
    assert noise.recognised(run, np.array(window)) == layout
  unknown = noise.components(np.arange(6.0)**2, run, [0, 1] * 3)
  assert np.isnan(unknown.run) and unknown.noise > 0
  for window, said in (([0, 0] * 3, 'same resample twice'), (range(6), 'more than one')):
    with pytest.raises(InputError, match=said):
      noise.components(np.arange(6.0), run if said[0] == 's' else np.arange(6), list(window))


def test_means_do_not_depend_on_which_window_a_run_lacks():
  effect, level = np.array([0.0, 1.0, 3.0]), np.array([5.0, 6.0, 7.0, 8.0])
  run, window = (v.ravel() for v in np.indices((4, 3)))
  y = level[run] + effect[window]
  full = noise.run_means(y, run, window)
  np.testing.assert_allclose(full, level + 4 / 3)
  keep = np.arange(12) != 5
  np.testing.assert_allclose(noise.run_means(y[keep], run[keep], window[keep]), full)
  y[5] = np.nan
  np.testing.assert_allclose(noise.run_means(y, run, window), full)
  own = noise.run_means(y[keep], run[keep], np.arange(11))
  assert own[1] == pytest.approx(6.5)  # nested: nothing is known of what is not there


def test_lack_of_fit_has_its_size_and_power():
  """Textbook F for least squares; right size from a robust fit's residuals too."""
  random = np.random.default_rng(2)
  x = np.repeat(np.linspace(-1, 1, 6), 3)
  cell, jacobian = np.repeat(np.arange(6), 3), np.stack([np.ones(18), x], 1)
  small, large = [], []
  for _ in range(1500):
    y = random.normal(0, 0.1, 18)
    small.append(noise.lack_of_fit(np.median(y) - y, jacobian, cell)['p'])
    large.append(noise.lack_of_fit(-y - 0.3 * x**2, jacobian, cell)['p'])
  assert np.mean(np.array(small) < 0.05) == pytest.approx(0.05, abs=0.02)
  assert np.mean(np.array(small) < 0.5) == pytest.approx(0.5, abs=0.05)
  assert np.mean(np.array(large) < 0.05) > 0.8
  line = np.polyfit(x, y, 1)
  rest, means = y - np.polyval(line, x), y.reshape(6, 3).mean(1)
  pure = np.sum((y - np.repeat(means, 3))**2)
  found = noise.lack_of_fit(rest, jacobian, cell)
  assert found['df'] == [4, 12]
  assert found['F'] == pytest.approx((np.sum(rest**2) - pure) / 4 / (pure / 12))
  weighted = noise.lack_of_fit(rest, jacobian, cell, np.full(18, 7.0))
  assert weighted['F'] == pytest.approx(found['F'])
  assert noise.lack_of_fit(rest, jacobian, np.arange(18)) is None
  assert noise.lack_of_fit(rest[::3], jacobian[::3], np.zeros(6)) is None


def test_a_shared_shift_belongs_in_the_interval_of_the_level():
  """90 % intervals of a mean over runs that share 6 windows: .9 with the shift, far less without;
  on a new run on the same windows without it."""
  random, covered = np.random.default_rng(3), np.zeros((600, 3))
  for trial in range(600):
    runs, windows = 12, 6
    b = random.normal(0, 0.02, windows)
    y = random.normal(0, 0.01, (runs + 1, 1)) + b + random.normal(0, 0.005, (runs + 1, windows))
    run, window = (v.ravel() for v in np.indices((runs, windows)))
    found = noise.components(y[:-1].ravel(), run, window, np.zeros(runs * windows, int))
    centre, t = y[:-1].mean(), 1.796
    half = t * found.noise / np.sqrt(runs)
    low, high = shift.widened(centre - half, centre + half, centre, found.half_width(0.9), False)
    again = t * found.noise * np.sqrt(1 + 1 / runs)
    covered[trial] = low <= 0 <= high, abs(centre) <= half, abs(y[-1].mean() - centre) <= again
  with_shift, without, new = covered.mean(0)
  assert 0.87 < with_shift < 0.94 and without < 0.6 and 0.86 < new < 0.94


def write(path, random, window_sigma=0.01, seeds=(0, 1), bend=0.0):
  rows = ['N,D,seed,window,val_loss']
  effect = random.normal(0, window_sigma, 4)
  for n in (1e7, 3e7, 1e8, 3e8):
    for d in (1e9, 4e9, 16e9):
      for seed in seeds:
        loss = np.exp(random.normal(0, 0.004) + effect + random.normal(0, 0.001, 4))
        loss = loss * (1.8 + 480 * n**-.35 + 2100 * d**-.37 + bend * (np.log10(n) == 8))
        rows += [f'{n:g},{d:g},{seed},w{i},{float(v)!r}' for i, v in enumerate(loss)]
  path.write_text('\n'.join(rows))
  return str(path)


def test_resamples_and_seeds_of_a_table(tmp_path):
  path = write(tmp_path / 'runs.csv', np.random.default_rng(4))
  options = Options(seed='seed', resample='window')
  found = points.of_table(CHINCHILLA, path, 'loss=val_loss', options=options)
  assert len(found.loss) == 24 and len(np.unique(found.cells)) == 12
  parts = found.components
  assert parts.layout == 'crossed' and (parts.runs, parts.resamples) == (24, 4)
  assert 0.002 < found.noise < 0.007 and found.noise == parts.noise
  assert any('shared by all runs' in note for note in found.notes)
  swept = (tmp_path / 'runs.csv').read_text().splitlines()  # a setting is no noise of runs
  rates = [f'{swept[0]},lr'] + [f'{line},{lr}' for line in swept[1:] for lr in (1, 2)]
  (tmp_path / 'rates.csv').write_text('\n'.join(rates))
  best = points.of_table(CHINCHILLA, str(tmp_path / 'rates.csv'), 'loss=val_loss * lr',
                         options=dataclasses.replace(options, best_over='lr'))
  assert best.noise == pytest.approx(found.noise, rel=0.01) and len(best.loss) == 24
  seeds = points.of_table(CHINCHILLA, path, 'loss=val_loss', "window == 'w0'",
                          options=Options(seed='seed'))
  assert 0.002 < seeds.noise < 0.007 and seeds.left_out == {'not chosen by --where': 72}
  for wrong, said in ((Options(seed='sed'), 'did you mean seed'),
                      (Options(resample='window'), 'same resample twice'),
                      (Options(resample='N', seed='seed'), 'same resample twice|more than one')):
    with pytest.raises(InputError, match=said):
      points.of_table(CHINCHILLA, path, 'loss=val_loss', options=wrong)


def test_the_shift_widens_what_it_should(tmp_path):
  path = write(tmp_path / 'runs.csv', np.random.default_rng(5))
  data = points.of_table(CHINCHILLA, path, 'loss=val_loss',
                         options=Options(seed='seed', resample='window'))
  plain, shifted = (fit.fit(CHINCHILLA, data.inputs, data.loss, bootstrap=40, components=c,
                            noise_floor=data.noise) for c in (None, data.components))
  extra = data.components.half_width(0.9)
  assert extra > 0.003
  for name in ('alpha', 'beta'):
    assert shifted.intervals[name] == plain.intervals[name]
  for name in ('E', 'A', 'B'):
    before, after = (np.log(f.intervals[name]) - np.log(f.params[name]) for f in (plain, shifted))
    np.testing.assert_allclose(np.abs(after), np.hypot(before, extra))
  x = {'N': [1e8], 'D': [4e9]}
  assert shifted.interval(x) == plain.interval(x)
  assert shifted.interval(x, 'confidence')[0] < plain.interval(x, 'confidence')[0]
  assert shifted.interval(x, resamples=4)[1] > shifted.interval(x)[1]
  shifted.save(str(tmp_path / 'fit.json'))
  again = fit.Fit.load(str(tmp_path / 'fit.json'))
  assert again.components == data.components and again.extra == shifted.extra
  bare = dataclasses.replace(shifted, components=dataclasses.replace(data.components, run=np.nan))
  bare.save(str(tmp_path / 'fit.json'))
  assert np.isnan(fit.Fit.load(str(tmp_path / 'fit.json')).components.run)


@pytest.mark.slow
def test_coverage_of_a_fit_to_runs_that_share_windows():
  """90 % intervals over 200 studies: of the law .31 without the shift and .88 with it, of E .89 and
  .90, of alpha .90 either way."""
  truth = {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
  grid = [(n, d) for n in (5e7, 1e8, 2e8, 5e8, 1e9, 2e9) for d in (1e9, 5e9, 2e10, 4e10)]
  n, d = np.repeat(np.array(grid), 2, 0).T
  x, at = {'N': n, 'D': d}, {'N': np.array([5e8]), 'D': np.array([2e10])}
  run, window = (v.ravel() for v in np.indices((len(n), 6)))
  random, hits = np.random.default_rng(0), []
  for _ in range(200):
    y = np.log(CHINCHILLA.predict(truth, x))[:, None] + random.normal(0, 0.004, (len(n), 1))
    y = y + random.normal(0, 0.01, 6) + random.normal(0, 0.001, (len(n), 6))
    parts = noise.components(y.ravel(), run, window, run // 2)
    inside = []
    for known in (None, parts):
      found = fit.fit(CHINCHILLA, x, np.exp(y).mean(1), objective='mse_log', bootstrap=60,
                      components=known, noise_floor=parts.noise)
      low, high = found.interval(at, 'confidence')
      inside += [low[0] <= CHINCHILLA.predict(truth, at)[0] <= high[0]]
      inside += [found.intervals[p][0] <= truth[p] <= found.intervals[p][1] for p in ('E', 'alpha')]
    hits.append(inside)
  without, _, _, law, level, exponent = np.mean(hits, 0)
  assert without < 0.5
  assert 0.83 < law < 0.95 and 0.83 < level < 0.96 and 0.83 < exponent < 0.96


@pytest.mark.parametrize('bend, rejected', [(0.0, False), (0.1, True)])
def test_lack_of_fit_is_reported(tmp_path, bend, rejected):
  """A size that trained worse than its neighbours: replicates tell it from noise."""
  path = write(tmp_path / 'runs.csv', np.random.default_rng(6), bend=bend)
  data = points.of_table(CHINCHILLA, path, 'loss=val_loss', "window == 'w1'",
                         options=Options(seed='seed'))
  found = fit.fit(CHINCHILLA, data.inputs, data.loss, bootstrap=0)
  found = fit_command.with_lack_of_fit(found, data)
  test = json.loads(json.dumps(found.to_dict()['lack_of_fit']))
  assert test['df'] == [7, 12] and (test['p'] < 0.05) == rejected
  assert any('lack of fit' in w for w in found.warnings) == rejected


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3),
                               st.floats(-1e6, 1e6)), max_size=12))
def test_no_design_gives_a_traceback(rows):
  run, window, y = (np.array([r[i] for r in rows]) for i in range(3))
  if not len(rows):
    return
  try:
    found = noise.components(y, run, window, run // 2)
    assert found.noise >= 0 and found.shift() >= 0 and found.half_width(0.9) >= 0
  except InputError as error:
    assert '\n' not in str(error)
  assert len(noise.run_means(y, run, window)) == len(np.unique(run))
