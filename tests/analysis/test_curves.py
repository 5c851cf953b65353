"""Loss curves under schedules: the rates, the law's sum and its nodes, fits, and the command."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis.laws import multi_power
from analysis.training_curves import schedules
from scaling import specs
from scaling.errors import InputError
from scaling.specs import OptimSpec, RunSpec
from tests.analysis import workdirs
from tests.analysis.commands import run

TRUTH = {'L0': 3.0, 'A': 0.6, 'alpha': 0.5, 'B': 60.0, 'C': 1.5, 'beta': 0.5, 'gamma': 0.6}
WARM = 'linear:60:3e-3'
FITTED = (f'{WARM} cosine:600:3e-4', f'{WARM} constant:600', f'{WARM} constant:299 '
          'constant:600:6e-4')
OTHER = f'{WARM} constant:400 exponential:600:1e-4'


def curve(schedule, unit=1.0, noise=0.0, seed=0):
  rate = schedules.parse(schedule)
  step = np.arange(70, len(rate), 22)
  loss = multi_power.loss(TRUTH, rate, step) * np.exp(
      noise * np.random.default_rng(seed).normal(size=len(step)))
  return curves.Curve.of(schedule.split(':')[-2], schedule, rate * unit, step, loss)


def test_schedules_are_those_of_the_trainer():
  """Update k there is k - 1; its warm-up reaches the peak one update later."""
  spec = dict(peak_lr=3e-3, final_lr=0.1, warmup_steps=59)
  for text, optim in [
      (f'{WARM} cosine:600:3e-4', OptimSpec(schedule='cosine', **spec)),
      (f'{WARM} linear:600:3e-4', OptimSpec(schedule='linear', **spec)),
      (f'{WARM} constant:600', OptimSpec(schedule='constant', **spec)),
      (f'{WARM} constant:450 linear:600:3e-4', OptimSpec(schedule='wsd', decay_fraction=0.25,
                                                         **spec))]:
    rates = schedules.of_run(RunSpec(optim=optim, steps=600))
    np.testing.assert_allclose(schedules.parse(text), rates, rtol=1e-12)


def test_pieces_of_a_schedule():
  rate = schedules.parse('linear:2:4 exponential:4:1 constant:6:3 constant:7')
  np.testing.assert_allclose(rate, [0, 2, 4, 2, 1, 3, 3, 3])
  assert schedules.of_column(np.array([4, 2]), np.array([1.0, 3.0])).tolist() == [0, 1.5, 3, 2, 1]


@pytest.mark.parametrize('text', ['', 'linear:60', 'linear', 'sine:3:1', 'linear:60:1 cosine:9:2',
                                  'linear:nan:1', 'linear:1e99:1', 'linear:2.5:1', 'linear:9:-1',
                                  'exponential:9:1', 'linear:9:1:1', 'linear:9:inf', '::', 'a=b'])
def test_a_bad_schedule_is_one_line(text):
  with pytest.raises(InputError) as error:
    schedules.parse(text)
  assert '\n' not in str(error.value)


def test_the_law_of_a_step_is_its_one_term():
  rate = np.full(101, 2e-3)
  rate[51:] = 5e-4
  before, after = multi_power.loss(TRUTH, rate, np.array([50, 80]))
  power = lambda s: 3 + 0.6 * s**-0.5  # noqa: E731
  assert before == pytest.approx(power(51 * 2e-3))
  distance = 30 * 5e-4
  fall = 60 * 1.5e-3 * (1 - (1 + 1.5 * 5e-4**-0.6 * distance) ** -0.5)
  assert after == pytest.approx(power(51 * 2e-3 + distance) - fall)


STAIRS = 'linear:200:1e-3 ' + ' '.join(f'constant:{k}:{1e-3 * .8 ** i}'
                                       for i, k in enumerate(range(900, 9000, 900)))
WAVES = 'linear:200:1e-3 ' + ' '.join(f'cosine:{k}:{1e-3 if i % 2 else 1e-5}'
                                      for i, k in enumerate(range(2000, 16001, 2000)))


@pytest.mark.parametrize('text', [
    'linear:2160:3e-4 cosine:24000:3e-5', 'linear:2160:3e-4 constant:20000 exponential:24000:3e-5',
    'linear:2160:3e-4 constant:7999 constant:16000:3e-5', STAIRS, WAVES, f'{WARM} linear:600:0'])
def test_nodes_give_the_sum_to_two_millionths_of_a_nat(text):
  rate = schedules.parse(text)
  step = np.unique(np.r_[[1, 2, 61], np.geomspace(70, len(rate) - 1, 25)]).astype(int)
  law, x = multi_power.law([rate], [step]), multi_power.inputs([rate], [step])
  for c, beta, gamma in [(2.07, 0.58, 0.64), (0.3, 0.1, 0.9), (20.0, 1.0, 0.5), (10.0, 2.0, 0.3)]:
    # B such that the whole rate is worth .11 nats, as in the published fits.
    p = TRUTH | {'A': 1e-3, 'B': 0.11 / rate.max(), 'C': c, 'beta': beta, 'gamma': gamma}
    np.testing.assert_allclose(law.predict(p, x), multi_power.loss(p, rate, step), rtol=0,
                               atol=2e-6)
  assert multi_power.compress(rate, step).weight.shape[1] < 200


def test_gradients_agree_with_finite_differences():
  rates, steps = [schedules.parse(text) for text in FITTED], [np.arange(61, 600, 30)] * 3
  law, x = multi_power.law(rates, steps), multi_power.inputs(rates, steps)
  with jax.enable_x64(True):
    total = jax.jit(lambda p: jnp.sum(law.equation(p, x)))
    gradient = jax.grad(total)(TRUTH)
    for name, value in TRUTH.items():
      ends = [float(total(TRUTH | {name: value * (1 + k * 1e-5)})) for k in (-1, 1)]
      assert float(gradient[name]) == pytest.approx((ends[1] - ends[0]) / (2e-5 * value), rel=1e-6)


@pytest.mark.parametrize('unit', [1.0, 1e4])
def test_recovers_curves_of_schedules_it_has_not_seen(unit):
  """Whatever the unit of the rates; the law gives back noiseless curves to 1e-6."""
  found = curves.fit([curve(text, unit) for text in FITTED])
  rate = schedules.parse(OTHER)
  step = np.arange(70, 601)
  np.testing.assert_allclose(found.predict(rate * unit, step), multi_power.loss(TRUTH, rate, step),
                             rtol=1e-6)
  assert found.params['L0'] == pytest.approx(3, rel=1e-3)
  assert found.params['alpha'] == pytest.approx(0.5, rel=1e-3)
  if unit == 1:
    assert found.params == pytest.approx(TRUTH, rel=1e-3)


def test_fixed_parameters_stay_and_flat_rates_are_warned_about():
  found = curves.fit([curve(f'{WARM} constant:600', noise=1e-3)], fixed={'gamma': 0.6, 'C': 1.5})
  assert found.params['gamma'] == 0.6 and found.params['C'] == 1.5
  assert any('decay' in w for w in found.warnings)


@pytest.mark.parametrize('step, loss', [([601], [3.0]), ([0], [3.0]), ([1.5], [3.0]),
                                        ([70], [-1.0]), ([70], [np.nan])])
def test_rows_that_cannot_be(step, loss):
  with pytest.raises(InputError, match='mine'):
    curves.Curve.of('mine', WARM, schedules.parse(FITTED[0]), step, loss)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp('curves')
  for name, text in zip('abcd', (*FITTED, OTHER)):
    made = curve(text)
    pd.DataFrame({'t': made.step, 'loss': made.loss}).to_csv(folder / f'{name}.csv', index=False)
  (folder / 's.json').write_text(json.dumps(dict(zip('ab', FITTED))))
  return folder


@pytest.mark.slow
def test_the_command(files):
  done = run('analysis.curves', '--folder', files, '--columns=step=t',
             f'--schedules={files}/s.json', f'--fit=a.csv,b.csv,c.csv={FITTED[2]}',
             f'--predict=d.csv={OTHER}',
             f'--rank=flat={WARM} constant:600,down={WARM} linear:600:0', f'--out={files}/out.json',
             f'--plot={files}/out.png')
  assert done.returncode == 0, done.stderr
  found = json.loads((files / 'out.json').read_text())
  assert found['params'] == pytest.approx(TRUTH, rel=1e-3)
  other, = found['predicted']
  assert other['curve'] == 'd.csv' and other['r2'] > 0.999999 and other['mae'] < 1e-6
  # At rates this high what the decay gains is less than what the smaller sum of rates loses.
  assert [e['name'] for e in found['rank']] == ['flat', 'down']
  assert (files / 'out.png').stat().st_size > 10_000 and 'lowest first' in done.stdout
  again = run('analysis.curves', f'--params={files}/out.json', f'--rank=flat={WARM} constant:600',
              '--json')
  assert json.loads(again.stdout)['rank'][0]['loss'] == pytest.approx(
      multi_power.loss(TRUTH, schedules.parse(FITTED[1]), np.array([600]))[0], rel=1e-6)


@pytest.mark.parametrize('arguments', [
    [], ['--fit=a.csv'], ['--fit=a.csv=linear:9:1'], ['--params=L0=1'], ['--params=none.json'],
    ['--schedules=no.json'], ['--fix=D=1', '--params=none.json'],
    ['--params=L0=1,A=1,alpha=-900,B=1,C=1,beta=1,gamma=1', '--rank=a=linear:9:9']])
def test_mistakes_are_one_line(files, arguments):
  done = run('analysis.curves', '--columns=step=t', *arguments, cwd=files)
  assert done.returncode == 2
  assert len(done.stderr.strip().splitlines()) == 1 and 'Traceback' not in done.stderr


def test_one_row_can_be_compared(files):
  done = run('analysis.curves', f'--folder={files}', '--columns=step=t', '--where=t == 70',
             '--json', '--params=L0=3,A=1,alpha=.5,B=10,C=1,beta=1,gamma=.5',
             f'--predict=a.csv={FITTED[0]}')
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout)['predicted'][0]['r2'] is None


def test_runs_of_a_workdir_have_the_rates_of_their_specs(tmp_path):
  runs = []
  for schedule, held in (('cosine', False), ('constant', False), ('linear', True)):
    spec = specs.from_dict({'model': {'width': 16}, 'steps': 400, 'optim': {
        'schedule': schedule, 'peak_lr': 3e-3, 'warmup_steps': 40}, 'data': {
            'batch': 4, 'domains': {'d': {'weight': 1.0}}}})
    name = specs.run_id(spec)
    rate = schedules.of_run(spec)
    steps = np.arange(50, 401, 10)
    lines = [json.dumps({'step': int(t), 'lr': rate[t], 'domains': {'d': {'loss': float(y)}}})
             for t, y in zip(steps, multi_power.loss(TRUTH, rate, steps))]
    workdirs.put(tmp_path, f'runs/{name}/spec.json', json.dumps(specs.canonical(spec)))
    workdirs.put(tmp_path, f'runs/{name}/curve.jsonl', '\n'.join(lines) + '\n')
    workdirs.put(tmp_path, f'runs/{name}/result.json', '{}')
    runs.append({'run_id': name, 'point': {}, 'held_out': held})
  workdirs.put(tmp_path, 'studies/s.json', json.dumps({'name': 's', 'runs': runs}))
  parent = runs[1]['run_id']
  child = dataclasses.replace(spec, steps=100, init=specs.InitSpec(parent, 200, schedule=True))
  name = specs.run_id(child)
  lines = [{'step': 50, 'domains': {'d': {'loss': 3.0}}},
           {'step': 100, 'domains': {'d': {'loss': 2.0, 'loss_along': 2.5}}}]
  workdirs.put(tmp_path, f'runs/{name}/spec.json', json.dumps(specs.canonical(child)))
  workdirs.put(tmp_path, f'runs/{name}/curve.jsonl', '\n'.join(map(json.dumps, lines)) + '\n')
  workdirs.put(tmp_path, f'runs/{name}/result.json', '{}')
  stages = [{'run_id': parent, 'point': {}, 'held_out': False, 'stage': -1},
            {'run_id': name, 'point': {}, 'held_out': False}]
  workdirs.put(tmp_path, 'studies/staged.json', json.dumps({'name': 'staged', 'runs': stages}))
  (found,), _ = curves.of_logs(str(tmp_path), 'staged')
  assert found.loss.tolist() == [3.0, 2.5]
  np.testing.assert_array_equal(found.rate[1:], schedules.of_run(
      dataclasses.replace(spec, steps=300))[201:])

  fitted, held = curves.of_logs(str(tmp_path), 's')
  assert len(fitted) == 2 and [c.name for c in held] == [runs[2]['run_id']]
  found = curves.fit(fitted)
  assert found.score(held[0])['mae'] < 1e-3
