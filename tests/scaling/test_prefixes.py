"""Shared prefixes: what is shared, what it saves, and that no curve can tell."""

import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import logs
from analysis.reading import events
from scaling import prefixes, segments, specs
from scaling.optim import schedules
from scaling.runs import Run
from scaling.specs import DomainSpec, OptimSpec, RunSpec
from tests.scaling import sweeps

# Four budgets (1, 2, 4, 8 units) of a decay over the last fifth, on the tiny model, in two lanes.
STUDY = ('--config=tests/scaling/budgets.py', '--pack=2', '--cpu_devices=1')


def budgets(lengths=(100, 200, 400, 800), **fields):
  data = specs.DataSpec(domains={'any': DomainSpec(1.0)})
  optim = OptimSpec(schedule='wsd', warmup_steps=10, **fields)
  found = [RunSpec(data=data, optim=optim, steps=steps) for steps in lengths]
  return [(specs.run_id(spec), spec) for spec in found]


def test_four_budgets_cost_what_one_trunk_and_four_decays_do():
  listed = budgets()
  forest = prefixes.forest(listed)
  shared = [s for s in forest.values() if s.shared]
  # The last fifth decays, and its first update is already below the peak.
  assert [(s.first, s.last) for s in shared] == [(0, 80), (80, 160), (160, 320)]
  assert [s.parent for s in shared] == [None, shared[0].name, shared[1].name]
  trained = sum(s.last - s.first for s in forest.values())
  assert trained == 320 + 20 + 40 + 80 + 480
  assert trained / sum(spec.steps for _, spec in listed) < 0.68
  assert {prefixes.lineage(forest, run_id) for run_id, _ in listed} == {shared[0].name}


@pytest.mark.parametrize('change', [
    {'seed': 1}, {'model': specs.ModelSpec(width=32)}, {'optim': OptimSpec(b2=0.99)},
    {'optim': OptimSpec(schedule='wsd', warmup_steps=10, peak_lr=1e-3)},
    {'data': specs.DataSpec(domains={'any': DomainSpec(1.0)}, batch=8)}])
def test_nothing_is_shared_across_what_acts_from_the_start(change):
  listed = budgets((100,))
  other = dataclasses.replace(listed[0][1], steps=200, **change)
  forest = prefixes.forest([*listed, (specs.run_id(other), other)])
  assert not any(s.shared for s in forest.values())


def test_a_warm_up_as_a_fraction_forbids_sharing():
  data = specs.DataSpec(domains={'any': DomainSpec(1.0)})
  listed = [(str(steps), RunSpec(data=data, steps=steps, optim=OptimSpec(
      schedule='wsd', warmup_fraction=0.1))) for steps in (100, 200)]
  assert not any(s.shared for s in prefixes.forest(listed).values())
  assert prefixes.forbidden(listed) == 2 and prefixes.forbidden(budgets()) == 0


def test_every_field_of_a_spec_is_known_or_acts_from_the_start():
  """A new field of RunSpec is compared as a whole until this module learns when it acts."""
  assert prefixes._OTHERS == ('init',)  # which does act from the start


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(['wsd', 'constant', 'cosine', 'inverse_sqrt']),
                          st.integers(12, 300), st.sampled_from([1e-3, 3e-3]),
                          st.sampled_from([0.1, 0.2, 0.5]), st.integers(1, 5)),
                min_size=1, max_size=9))
def test_the_rates_of_a_run_are_those_of_its_prefixes(rows):
  data = specs.DataSpec(domains={'any': DomainSpec(1.0)})
  listed = {}
  for schedule, steps, peak, decay, points in rows:
    spec = RunSpec(data=data, steps=steps, evaluation=specs.EvalSpec(points=points),
                   optim=OptimSpec(schedule=schedule, warmup_steps=5, peak_lr=peak,
                                   decay_fraction=decay))
    listed[specs.run_id(spec)] = spec
  forest = prefixes.forest(listed.items())
  assert [name for name in forest if not forest[name].shared] == list(listed)
  alone = sum(spec.steps for spec in listed.values())
  assert sum(s.last - s.first for s in forest.values()) <= alone
  for run_id, spec in listed.items():
    segment = forest[run_id]
    assert segment.last == spec.steps
    while segment.parent is not None:
      child, segment = segment, forest[segment.parent]
      assert child.first == segment.last
      t = np.arange(segment.last)
      np.testing.assert_array_equal(schedules.learning_rate(spec.optim, spec.steps, t),
                                    schedules.learning_rate(segment.spec.optim,
                                                            segment.spec.steps, t))
      past = {s for s in spec.eval_steps if segment.first < s <= segment.last}
      assert past <= set(segment.eval_steps)
    assert segment.first == 0


def test_a_thousand_nested_budgets_are_one_lineage(monkeypatch):
  monkeypatch.setattr(prefixes, 'LEAST_SAVING', 0.0)
  listed = budgets(range(20, 3020, 3))
  forest = prefixes.forest(listed)
  depth, name = 0, listed[-1][0]
  while (name := forest[name].parent) is not None:
    depth += 1
  assert depth == 999 and len(forest) == 1999  # each budget branches off the one trunk
  assert len({prefixes.lineage(forest, run_id) for run_id, _ in listed}) == 1


def planned(workdir):
  """The segments of the runs in a workdir."""
  return prefixes.forest((path.parent.name, specs.from_dict(json.loads(path.read_text())))
                         for path in sorted(workdir.glob('runs/*/spec.json')))


@pytest.fixture(scope='module')
def alone(tmp_path_factory, markov_store):
  """The curves of the study with every run trained by itself."""
  workdir = tmp_path_factory.mktemp('alone')
  sweeps.sweep(workdir, markov_store, '--noshare_prefixes', study=STUDY)
  return types.SimpleNamespace(curves=sweeps.curves(workdir),
                               lineages=logs.load(str(workdir))['lineage'])


def test_curves_are_those_of_separate_runs(tmp_path, alone, markov_store):
  plan = json.loads(sweeps.sweep(tmp_path, markov_store, '--mode=plan', '--json',
                                 study=STUDY).stdout)
  assert plan['prefixes'] == 6 and plan['lineages'] == 2 and plan['runs'] == 8
  assert plan['tokens'] / plan['tokens_alone'] < 0.68
  sweeps.sweep(tmp_path, markov_store, study=STUDY)
  assert sweeps.curves(tmp_path) == alone.curves
  table = logs.load(str(tmp_path))
  assert table['lineage'].nunique() == 2
  np.testing.assert_array_equal(table['lineage'], alone.lineages)  # However they were trained.
  assert set(table['parent'].str[:7]) == {'prefix-'}
  status = json.loads(sweeps.sweep(tmp_path, markov_store, '--mode=status', '--json',
                                   study=STUDY).stdout)
  assert status['states']['done'] == 8
  assert {row['state'] for row in status['prefixes']} == {'done'}
  again = json.loads(sweeps.sweep(tmp_path, markov_store, '--mode=plan', '--json',
                                  study=STUDY).stdout)
  assert again['tokens_left'] == 0


def growing(*lengths):
  """Budgets of one seed."""
  return (*STUDY, f"--config.axes=('axis', 'base.steps', {lengths})")


def trained(workdir):
  """Steps that all sweeps in a workdir have trained, for prefixes and runs."""
  return sum(json.loads(path.read_text())['tokens']
             for path in workdir.glob('usage/*')) // (4 * 32)


def left(workdir, *lengths):
  """Steps that a sweep of these budgets would train."""
  listed = []
  for steps in lengths:
    spec = dataclasses.replace(specs.from_dict(json.loads(next(workdir.glob(
        'runs/*/spec.json')).read_text())), steps=steps)
    listed.append((specs.run_id(spec), spec))
  found = segments.remaining(str(workdir), prefixes.forest(listed))
  return sum(segment.tokens for segment in found.values()) // (4 * 32)


@pytest.fixture(scope='module')
def three(tmp_path_factory, markov_store):
  """Three budgets of one seed, trained."""
  workdir = tmp_path_factory.mktemp('three')
  sweeps.sweep(workdir, markov_store, '--tensorboard', study=growing(100, 200, 800))
  assert trained(workdir) == 160 + 20 + 40 + 640  # the trunk, and what follows alone
  return workdir


def test_a_budget_in_between_goes_on_from_the_trunk(tmp_path, three, alone, markov_store):
  workdir = tmp_path / 'w'
  shutil.copytree(three, workdir)
  assert left(workdir, 100, 200, 800) == 0
  assert left(workdir, 100, 200, 400, 800) == 400 - 160
  # Evaluated after 75 and 150: the lines of its siblings of 100 and 200 steps.
  assert left(workdir, 300) == left(workdir, 100, 200, 300, 800) == 300 - 160
  assert left(workdir, 500) == 500 - 80  # after 125 there is no line: it starts before that
  before = trained(workdir)
  sweeps.sweep(workdir, markov_store, '--tensorboard', study=growing(100, 200, 400, 800))
  assert trained(workdir) - before == 400 - 160
  curves = sweeps.curves(workdir)
  assert len(curves) == 4 and curves.items() <= alone.curves.items()
  table = events.read_folder(str(workdir / 'tensorboard'))
  assert not table.attrs['notes']  # No step twice, among them.
  for run_id, curve in curves.items():
    found = table['step'][table['run'] == run_id].tolist()
    assert found == [json.loads(line)['step'] for line in curve.splitlines()]


@pytest.mark.parametrize('damage', ['checkpoint', *(pytest.param(kind, marks=pytest.mark.slow)
                                                    for kind in ('curve', 'bytes', 'gone'))])
def test_a_damaged_prefix_is_made_again_once(tmp_path, three, markov_store, damage):
  workdir = tmp_path / 'w'
  shutil.copytree(three, workdir)
  for path in workdir.glob('runs/*/result.json'):
    if json.loads(path.read_text())['step'] != 800:
      for file in path.parent.iterdir():
        if file.name != 'spec.json':
          file.unlink()
  for path in workdir.glob('prefixes/*/checkpoints.json'):
    index = workdir / json.loads(path.read_text())[-1]['folder'] / 'index.json'
    extent = json.loads((path.parent / 'segment.json').read_text())
    if damage == 'gone':
      index.unlink()
    elif damage == 'checkpoint':
      index.write_text('{')
    elif extent['last'] == 80:
      curve = path.parent / 'curve.jsonl'
      curve.write_bytes(curve.read_bytes()[:-9] + (b'' if damage == 'curve' else b'\xff\xfe'))
  # A plan sees what is gone, and does not look into files.
  assert left(workdir, 100, 200, 800) == 20 + 40 + (160 if damage == 'gone' else 0)
  before = trained(workdir)
  sweeps.sweep(workdir, markov_store, study=growing(100, 200, 800))
  assert trained(workdir) - before == 20 + 40 + (80 if damage in ('curve', 'bytes') else 160)
  assert sweeps.curves(workdir) == sweeps.curves(three)


@pytest.mark.slow
def test_no_checkpoint_of_a_prefix_stays_with_keep_none(tmp_path, alone, markov_store):
  sweeps.sweep(tmp_path, markov_store, '--keep=none', study=growing(100, 200))
  curves = sweeps.curves(tmp_path)
  assert len(curves) == 2 and curves.items() <= alone.curves.items()
  assert list(tmp_path.glob('prefixes/*/result.json'))
  assert not list(tmp_path.glob('checkpoints/*'))
  assert left(tmp_path, 100, 200) == 0 and left(tmp_path, 100, 200, 400) == 400


@pytest.mark.slow
def test_two_workers_share_prefixes(tmp_path, alone, markov_store):
  both = [sweeps.start(tmp_path, markov_store, study=STUDY) for _ in range(2)]
  outputs = [process.communicate(timeout=300) for process in both]
  assert [process.returncode for process in both] == [0, 0], outputs
  assert sweeps.curves(tmp_path) == alone.curves
  total = sum(s.last - s.first for s in planned(tmp_path).values())
  assert trained(tmp_path) == total  # nothing twice


@pytest.mark.slow
def test_a_prefix_is_taken_over_from_a_worker_that_sleeps(tmp_path, alone, markov_store):
  flags = ('--lease_seconds=2', '--checkpoint_seconds=0')
  sleeper = sweeps.start(tmp_path, markov_store, *flags, study=STUDY)
  sweeps.wait_for(lambda: list(tmp_path.glob('prefixes/*/curve.jsonl')))
  sleeper.send_signal(signal.SIGSTOP)
  assert not sweeps.results(tmp_path)
  sweeps.sweep(tmp_path, markov_store, *flags, study=STUDY)
  assert sweeps.curves(tmp_path) == alone.curves
  sleeper.send_signal(signal.SIGCONT)
  out, err = sleeper.communicate(timeout=120)
  assert sleeper.returncode == 0 and 'taken over by another worker' in out, err
  assert sweeps.curves(tmp_path) == alone.curves


@pytest.mark.parametrize('delay', [pytest.param(0.05, marks=pytest.mark.slow), 0.7])
def test_killed_and_resumed_curves_are_the_same(tmp_path, alone, markov_store, delay):
  process = sweeps.start(tmp_path, markov_store, '--checkpoint_seconds=0.1', study=STUDY)
  sweeps.wait_for(lambda: list(tmp_path.glob('prefixes/*/curve.jsonl')))
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(delay)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert len(sweeps.results(tmp_path)) < 8  # It was killed before its end.
  sweeps.sweep(tmp_path, markov_store, study=STUDY)
  assert sweeps.curves(tmp_path) == alone.curves


def test_a_prefix_that_diverges_blocks_its_runs(tmp_path, markov_store):
  study = (*STUDY, '--config.base.optim.peak_lr=1e12', '--config.base.optim.clip_norm=None')
  done = sweeps.sweep(tmp_path, markov_store, study=study, expect=1)
  assert 'diverged' in done.stderr and 'prefix-' in done.stderr
  status = json.loads(sweeps.sweep(tmp_path, markov_store, '--mode=status', '--json', study=study,
                                   expect=1).stdout)
  assert status['states']['blocked'] == 8
  workdir, forest = str(tmp_path), planned(tmp_path)
  everything = {name for name, segment in forest.items() if segment.parent is not None}
  assert segments.blocked(workdir, forest, retry_failed=False) == everything
  assert not segments.blocked(workdir, forest, retry_failed=True)
  again = sweeps.sweep(tmp_path, markov_store, '--retry_failed', study=study, expect=1)
  assert again.stdout.count(': diverged: ') == 2  # The two trunks are tried again, and fail again.
  assert all(Run(workdir, row['run_id']).curve() == [] for row in status['runs'])
  for path in tmp_path.glob('prefixes/*/failure.json'):  # Such a failure is always tried again.
    path.write_text(path.read_text().replace('diverged', 'memory'))
  assert not segments.blocked(workdir, forest, retry_failed=False)
  assert segments.remaining(workdir, forest).keys() == forest.keys()
