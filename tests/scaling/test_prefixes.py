"""Shared prefixes: what is shared, what it saves, and that no curve can tell."""

import contextlib
import dataclasses
import json
import signal
import subprocess
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import logs
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
  assert prefixes._OTHERS == ()


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


@pytest.mark.parametrize('delay', [pytest.param(0.05, marks=pytest.mark.slow), 0.7])
def test_killed_and_resumed_curves_are_the_same(tmp_path, alone, markov_store, delay):
  process = sweeps.start(tmp_path, markov_store, '--checkpoint_seconds=0.1', study=STUDY)
  sweeps.wait_for(lambda: list(tmp_path.glob('prefixes/*/curve.jsonl')))
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(delay)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  sweeps.sweep(tmp_path, markov_store, study=STUDY)
  assert sweeps.curves(tmp_path) == alone.curves


def test_a_damaged_prefix_is_passed_over(tmp_path, alone, markov_store):
  """The runs go back to what is before it, and their curves stay the same."""
  process = sweeps.start(tmp_path, markov_store, study=STUDY)
  sweeps.wait_for(lambda: list(tmp_path.glob('prefixes/*/result.json')))
  process.kill()
  process.communicate()
  assert not sweeps.results(tmp_path)
  for path in tmp_path.glob('checkpoints/*/index.json'):
    path.write_text('{')
  done = sweeps.sweep(tmp_path, markov_store, study=STUDY)
  assert 'damaged' in done.stdout and sweeps.curves(tmp_path) == alone.curves


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
