"""Runs that start from other runs: studies, forests, and sweeps of them."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
import types

import numpy as np
import pytest

from analysis import logs
from scaling import files, grid, prefixes, runs, segments, specs, stages, study
from scaling.errors import InputError
from scaling.leases import Worker
from scaling.optim import schedules
from scaling.runs import Run
from scaling.specs import DataSpec, DomainSpec, InitSpec, MixtureSpec, OptimSpec, RunSpec
from scaling.train import lanes
from tests.scaling import staged, sweeps
from tests.scaling.probe import stores

STUDY = ('--config=tests/scaling/staged.py', '--pack=2', '--cpu_devices=1')
TINY = ('--config=configs/tiny.py', '--pack=2', '--cpu_devices=1')
DATA = DataSpec(domains={'any': DomainSpec()})


def built(train=10**6, **fields):
  config = staged.get_config()
  with config.unlocked():
    for path, value in fields.items():
      config.update_from_flattened_dict({path.replace('__', '.'): value})
  return study.build(config, {}, functools.partial(stores, train=train, valid=10**5)).runs


def test_a_parent_is_one_run_however_many_start_from_it():
  runs = built(base__init__optimizer=True)
  base, *children = runs
  assert [run.stage for run in runs] == [-1, 0, 0, 0, 0]
  assert base.spec.steps == 80 and base.spec.init == InitSpec()
  assert {run.spec.init for run in children} == {InitSpec(base.run_id, 80, optimizer=True)}
  assert base.point == {} and len({run.run_id for run in runs}) == 5


def test_three_stages_are_a_chain():
  runs = built(stages=({'base.steps': 80}, {'base.steps': 40, 'base.optim.peak_lr': 1e-3}))
  assert [run.stage for run in runs][:3] == [-2, -1, 0]
  by_id = {run.run_id: run.spec for run in runs}
  for run in runs:
    if run.stage == 0:
      assert by_id[run.spec.init.run].init.run in by_id
      assert stages.before(run.spec, by_id).tokens == (80 + 40) * 4 * 32


def test_a_chain_counts_the_schedule_from_its_first_run():
  optim = {'base.optim.schedule': 'constant', 'base.optim.warmup_steps': 50}
  runs = built(stages=({'base.steps': 80, **optim}, {'base.steps': 40, **optim}), axes=None,
               base__init__schedule=True, base__optim__warmup_steps=100)
  first, second, last = runs
  assert second.spec.init == InitSpec(first.run_id, 80, schedule=True)  # As it is without a chain.
  assert last.spec.init == InitSpec(second.run_id, 40, schedule=True, schedule_step=120)
  whole = schedules.learning_rate(last.spec.optim, 120 + last.spec.steps, np.arange(120, 140))
  np.testing.assert_array_equal(schedules.of_run(last.spec, np.arange(20)), whole)
  np.testing.assert_array_equal(prefixes._acting(last.spec)[:20, 0], whole)
  with pytest.raises(InputError, match='which has counted 120 updates'):
    stages.check(dataclasses.replace(last.spec, init=dataclasses.replace(
        last.spec.init, schedule_step=None)), second.spec)


def test_a_long_warm_up_may_lie_in_the_parent():
  runs = built(axes=None, base__steps=20, base__init__schedule=True, base__optim__warmup_steps=70)
  assert [run.spec.steps for run in runs] == [80, 20]
  with pytest.raises(InputError, match='must be below steps = 100'):
    built(axes=None, base__steps=20, base__init__schedule=True, base__optim__warmup_steps=100,
          stages=({'base.steps': 80, 'base.optim.warmup_steps': 5},))


def test_tokens_of_a_stage_displace_the_steps_of_the_points():
  steps = grid.axis('base.steps', (60, 120))
  assert [run.spec.steps for run in built(axes=steps, stages=({'tokens': 80 * 128},))] == [
      80, 60, 120]
  tokens = grid.axis('tokens', (60 * 128, 120 * 128))
  assert [run.spec.steps for run in built(axes=tokens, stages=({'base.steps': 80},))] == [
      80, 60, 120]


@pytest.mark.parametrize('fields, message', [
    ({'stages': ({3: 80},)}, 'config.stages: 3 is not allowed; a stage sets fields by'),
    ({'stages': ({'base.init.run': '0' * 16},)}, 'config.stages sets it, so no axis'),
    ({'axes': ('axis', 'base.init.run', ('0' * 16,))}, 'config.stages sets it, so no axis'),
    ({'stages': ({'base.seed': 1},)}, 'config.base.seed: 0 is not allowed; the parent'),
    ({'stages': ({'base.data.domains.markov.unique_tokens': 50_000},)},
     'domains.markov.unique_tokens: None is not allowed; the parent'),
    ({'stages': ({'base.model.width': 32},)}, 'base.model.width: 16 is not allowed; the parent'),
    ({'stages': ({'base.data.length': 16},)}, 'base.data.length: 32 is not allowed; the parent'),
    ({'stages': ({'base.nothing': 1},)}, 'config.base.nothing: unknown field'),
    ({'stages': (3,)}, 'config.stages: (3,) is not allowed'),
    ({'base__init__step': 100}, 'base.init.step: 100 is not allowed; the parent'),
    ({'base__init__run': '0' * 16}, 'config.stages sets it'),
    ({'stages': (), 'base__init__run': '0' * 16}, 'names its parent names the step'),
    ({'stages': (), 'base__init__optimizer': True}, 'it has no effect without a parent'),
])
def test_what_does_not_go_together_is_one_line(fields, message):
  with pytest.raises(InputError, match=re.escape(message)):
    built(**fields)


def test_what_parents_took_counts_in_the_epochs():
  # 10,000 training tokens are 312 windows of 32; 4 go into a step.
  built(10_000, stages=({'base.steps': 40},), axes=None, base__steps=38)
  with pytest.raises(InputError, match=r"tokens of markov, its parents' among them, are 1\.0\d ep"):
    built(10_000, stages=({'base.steps': 40},), axes=None, base__steps=42)
  built(10_000, stages=({'base.steps': 40},), axes=None, base__steps=42, base__init__data=False)


def chain(*parts):
  """Runs by id, each going on from the one before at the step given."""
  found, parent = [], None
  for spec, step in parts:
    if parent is not None:
      spec = dataclasses.replace(spec, init=dataclasses.replace(spec.init, run=parent, step=step))
    parent = specs.run_id(spec)
    found.append((parent, spec))
  return found


def test_a_parent_is_cut_where_others_start_from():
  constant = OptimSpec(schedule='constant')
  listed = chain((RunSpec(data=DATA, optim=constant, steps=100), None),
                 (RunSpec(data=DATA, optim=constant, steps=30), 60))
  for share in (True, False):
    forest = prefixes.forest(reversed(listed), share)
    base, child = forest[listed[0][0]], forest[listed[1][0]]
    trunk = forest[child.parent]
    assert trunk.shared and (trunk.first, trunk.last, trunk.parent) == (0, 60, None)
    assert base.parent == trunk.name and (base.first, base.last) == (60, 100)
    assert (child.first, child.last) == (0, 30)
    assert next(iter(forest)) == trunk.name
    assert {prefixes.lineage(forest, run_id) for run_id, _ in listed} == {trunk.name}


def test_children_that_agree_share_what_they_agree_in():
  wsd = OptimSpec(schedule='wsd', decay_fraction=0.2)
  base = RunSpec(data=DATA, steps=100)
  listed = [*chain((base, None), (RunSpec(data=DATA, optim=wsd, steps=50), 100)),
            chain((base, None), (RunSpec(data=DATA, optim=wsd, steps=100), 100))[1]]
  forest = prefixes.forest(listed)
  shared = [s for s in forest.values() if s.shared]
  assert [(s.first, s.last, s.parent) for s in shared] == [(0, 40, listed[0][0])]
  assert prefixes.lineage(forest, listed[2][0]) == listed[0][0]


def test_shares_that_move_are_shared_until_they_differ():
  domains = {'a': DomainSpec(0.9, late_weight=0.5), 'b': DomainSpec(0.1, late_weight=0.5)}
  listed = []
  for change in (0.4, 0.8):
    data = DataSpec(domains=domains, mixture=MixtureSpec('step', change_at=change))
    spec = RunSpec(data=data, optim=OptimSpec(schedule='constant'), steps=100)
    listed.append((specs.run_id(spec), spec))
  forest = prefixes.forest(listed)
  assert [(s.first, s.last) for s in forest.values()] == [(0, 40), (40, 100), (40, 100)]


LEASE = types.SimpleNamespace(check=lambda: None)


def stored(tmp_path, spec, *written):
  """The run of a spec in the workdir, with some files in its folder."""
  run = Run(str(tmp_path), specs.run_id(spec))
  run.prepare(spec)
  for name, value in written:
    files.replace(run.path(name), json.dumps(value) + '\n')
  return run


def of_parent(parent, steps=10, **init):
  return RunSpec(data=DATA, steps=steps, evaluation=specs.EvalSpec(points=1),
                 init=InitSpec(run=parent, step=10, **init))


def test_a_child_never_begins_at_random(tmp_path):
  """Its own checkpoint is there but damaged, and what it starts from is not there."""
  spec = of_parent('0' * 16)
  run = stored(tmp_path, spec, ('checkpoints.json', [{'step': 5, 'folder': 'checkpoints/a-1'}]))
  files.make_folder(f'{tmp_path}/checkpoints/a-1')
  files.replace(f'{tmp_path}/checkpoints/a-1/index.json', '{')
  assert run.kept()
  claimed = segments.Claimed(
      run, prefixes.Segment(run.run_id, spec, 0, 10, '0' * 16, spec.eval_steps), LEASE)
  said = []
  with pytest.raises(segments.Unsound, match='what it starts from is gone'):
    lanes.begin(claimed, None, said.append)
  assert 'damaged' in said[0] and not run.kept()  # So the queue asks for the parent.


def test_parents_outside_the_study(tmp_path):
  base = RunSpec(data=DATA, steps=20)
  parent = stored(tmp_path, base).run_id
  children = {specs.run_id(spec): spec for spec in (of_parent(parent), of_parent(parent, 12))}
  # Reopened because its end was lost, or in the hands of another worker: trained or waited for.
  assert stages.parents(children, str(tmp_path)) == {parent: base}
  stored(tmp_path, base, ('failure.json', {'reason': 'memory', 'step': 3, 'message': ''}))
  assert stages.parents(children, str(tmp_path))
  stored(tmp_path, base, ('failure.json', {'reason': 'diverged', 'step': 3, 'message': ''}))
  with pytest.raises(InputError, match='it has failed'):
    stages.parents(children, str(tmp_path))
  with pytest.raises(InputError, match='there is no such run'):
    stages.parents(children, f'{tmp_path}/elsewhere')


@pytest.mark.parametrize('last', [True, False])
def test_every_child_of_a_parent_is_checked(tmp_path, last):
  parent = stored(tmp_path, RunSpec(data=DATA, steps=20)).run_id
  good, wrong = of_parent(parent), of_parent(parent)
  wrong = dataclasses.replace(wrong, model=specs.ModelSpec(width=32))
  listed = [(specs.run_id(spec), spec) for spec in (good, wrong)]
  with pytest.raises(InputError, match='32 is not allowed; the parent'):
    stages.parents(dict(listed if last else reversed(listed)), str(tmp_path))


def test_what_others_need_is_kept(tmp_path):
  """With --keep=none only the ends of the study's own parents go."""
  entry = 'checkpoints.json', [{'step': 20, 'folder': 'checkpoints/a-1'}]
  done = 'result.json', {}
  bases = [RunSpec(data=DATA, steps=10, seed=seed) for seed in range(3)]
  own, listed, outside = (stored(tmp_path, spec, entry, done).run_id for spec in bases)
  pairs = [(name, of_parent(name)) for name in (own, listed, outside)]
  children = [(stored(tmp_path, spec, done).run_id, spec) for _, spec in pairs]
  runs.write_study(str(tmp_path), 'other', (), [{'run_id': listed}])
  planned = dict([*zip((own, listed), bases, strict=False), *children])
  runs.write_study(str(tmp_path), 'this', (), [{'run_id': name} for name in planned])
  forest = prefixes.forest([(outside, bases[2]), *planned.items()], share=False)
  assert runs.of_others(str(tmp_path), 'this') == {listed}
  segments.drop_ends(str(tmp_path), Worker(str(tmp_path)), forest, set(planned) - {listed})
  assert [bool(Run(str(tmp_path), name).checkpoints()) for name in (own, listed, outside)] == [
      False, True, True]


def test_what_outside_parents_took_counts_in_the_epochs():
  listed = dict(chain((RunSpec(data=DATA, steps=40), None), (RunSpec(data=DATA, steps=30), 40),
                      (RunSpec(data=DATA, steps=30), 20)))
  (base_id, base), (middle_id, middle), (last_id, last) = listed.items()
  outside = {base_id: base, middle_id: middle}
  assert stages.inherited(last, outside) == {'any': (40 + 20) * 16}
  this = study.Study('this', (study.StudyRun(last, last_id, {}, False),), ())
  few, enough = (functools.partial(stores, train=steps * 16 * 128 + 1) for steps in (89, 90))
  study.check_inherited(this, outside, enough, 1.0)
  with pytest.raises(InputError, match="tokens of any, its parents' among them"):
    study.check_inherited(this, outside, few, 1.0)


def test_counts_that_the_middle_of_a_chain_loses_are_refused():
  two = DataSpec(domains={'any': DomainSpec(0.5), 'x': DomainSpec(0.5)})
  listed = dict(chain((RunSpec(data=two, steps=40), None), (RunSpec(data=DATA, steps=30), 40),
                      (RunSpec(data=two, steps=30), 30)))
  *_, last = listed.values()
  with pytest.raises(InputError, match='lacks the domain x'):
    stages.inherited(last, listed)
  fresh = dataclasses.replace(last, init=dataclasses.replace(last.init, data=False))
  assert stages.inherited(fresh, listed) == {}


def test_an_empty_text_is_refused_even_of_a_domain_that_is_only_evaluated():
  with pytest.raises(InputError, match='training text is empty'):
    built(train=0)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, markov_store):
  workdir = tmp_path_factory.mktemp('staged')
  sweeps.sweep(workdir, markov_store, study=STUDY)
  return workdir


def lines(workdir, run_id):
  text = (workdir / 'runs' / run_id / 'curve.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_what_a_staged_sweep_leaves(trained):
  table = logs.load(str(trained))
  base = table[table['stage'] == -1]
  children = table[table['stage'] == 0]
  assert base['run_id'].nunique() == 1 and children['run_id'].nunique() == 4
  base_id = base['run_id'].iloc[0]
  assert set(table['lineage']) == {base_id} and set(children['parent']) == {base_id}
  assert children.groupby('trunk')['run_id'].nunique().tolist() == [2, 2]  # budgets of a rate
  ends = children[children['final']]
  np.testing.assert_array_equal(ends['D_total'], ends['D'] + 80 * 4 * 32)
  np.testing.assert_allclose(ends['C_total'] / ends['C'], ends['D_total'] / ends['D'])
  assert children['loss/markov'].min() < base['loss/markov'].min()
  # The end is evaluated on 16 windows and on the 8 of the lines before.
  assert (ends['loss_along/markov'] != ends['loss/markov']).all()
  along = children[~children['final']]
  np.testing.assert_array_equal(along['loss_along/markov'], along['loss/markov'])


def test_killed_alone_and_without_sharing_the_curves_are_the_same(trained, tmp_path, markov_store):
  process = sweeps.start(tmp_path, markov_store, '--noshare_prefixes', '--checkpoint_seconds=0',
                         study=STUDY)
  sweeps.wait_for(lambda: len(sweeps.curves(tmp_path)) > 1)
  process.kill()
  process.communicate()
  assert len(sweeps.results(tmp_path)) < 5
  sweeps.sweep(tmp_path, markov_store, '--noshare_prefixes', study=STUDY)
  assert sweeps.curves(tmp_path) == sweeps.curves(trained)


def test_a_lost_parent_is_made_again_once(trained, tmp_path, markov_store):
  sweeps.sweep(tmp_path, markov_store, '--keep=none', '--config.axes=None',
               '--config.base.steps=60', study=STUDY)
  assert not list(tmp_path.glob('checkpoints/*/index.json'))  # The base's, too, once it has served.
  sweeps.sweep(tmp_path, markov_store, study=STUDY)
  shared = sweeps.curves(trained)
  assert {run: curve for run, curve in sweeps.curves(tmp_path).items() if run in shared} == shared


def test_a_child_with_optimizer_and_schedule_is_its_parent_gone_on(tmp_path, markov_store):
  """40 updates and 40 more from there are, bit for bit, the last 40 of 80."""
  flags = ('--config.axes=None', '--config.base.optim.schedule=constant',
           '--config.base.optim.warmup_steps=30', '--config.base.evaluation.points=1')
  sweeps.sweep(tmp_path, markov_store, *flags, '--config.base.steps=80', study=TINY)
  whole = next(iter(sweeps.results(tmp_path)))
  sweeps.sweep(tmp_path, markov_store, *flags, '--config.base.steps=40', study=TINY)
  half = next(iter(sweeps.results(tmp_path) - {whole}))
  there = {whole, half}
  losses = {}
  for optimizer in (True, False):
    sweeps.sweep(tmp_path, markov_store, *flags, '--config.base.steps=40',
                 f'--config.base.init.run={half}', '--config.base.init.step=40',
                 f'--config.base.init.optimizer={optimizer}', '--config.base.init.schedule=True',
                 study=TINY)
    child = next(iter(sweeps.results(tmp_path) - there))
    there.add(child)
    losses[optimizer] = lines(tmp_path, child)[-1]['domains']['markov']['loss']
  assert losses[True] == lines(tmp_path, whole)[-1]['domains']['markov']['loss']
  assert losses[False] != losses[True]
  # One that diverges says so of its own step, whatever the moments have counted.
  done = sweeps.sweep(tmp_path, markov_store, *flags, '--config.base.steps=40',
                      f'--config.base.init.run={half}', '--config.base.init.step=40',
                      '--config.base.init.optimizer=True', '--config.base.optim.peak_lr=1e9',
                      expect=1, study=TINY)
  assert 1 < int(re.search(r'diverged at step (\d+)', done.stderr)[1]) <= 40


@pytest.mark.parametrize('flags, message', [
    (('--config.base.init.run=0123456789abcdef', '--config.base.init.step=3'),
     'config.base.init.run of run'),
    (('--config.base.init.run=BASE', '--config.base.init.step=80',
      '--config.base.model.width=32'), 'base.model.width: 32 is not allowed; the parent'),
    (('--config.base.init.run=BASE', '--config.base.init.step=81'), 'has 80 updates'),
])
def test_a_bad_parent_is_refused_before_training(trained, markov_store, flags, message):
  base = next(r['run_id'] for r in json.loads(
      (trained / 'studies' / 'staged.json').read_text())['runs'] if r.get('stage') == -1)
  done = sweeps.sweep(trained, markov_store, *(flag.replace('BASE', base) for flag in flags),
                      expect=2, study=TINY)
  assert message in done.stderr and done.stderr.count('\n') == 1


def test_a_failed_parent_blocks_what_starts_from_it(tmp_path, markov_store):
  failing = ('--config.stages=({"base.steps": 80, "base.optim.peak_lr": 1e9},)',)
  done = sweeps.sweep(tmp_path, markov_store, *failing, expect=1, study=STUDY)
  assert 'diverged' in done.stderr
  status = json.loads(sweeps.sweep(tmp_path, markov_store, '--mode=status', '--json', *failing,
                                   expect=1, study=STUDY).stdout)
  assert status['states']['blocked'] == 4 and status['states']['failed'] == 1


@pytest.mark.slow  # four sweeps
def test_a_mixture_that_moves_from_the_middle_of_a_parent(tmp_path, markov_store):
  """Shared, alone, killed and resumed: the same curves, and shares and counts as they should be."""
  store = tmp_path / 'tokens'
  shutil.copytree(markov_store, store)
  (folder,) = store.glob('*/markov')
  shutil.copytree(folder, folder.parent / 'other')
  moving = ('--config=tests/scaling/moving.py', '--pack=2', '--cpu_devices=1')
  shared, alone = tmp_path / 'shared', tmp_path / 'alone'
  sweeps.sweep(shared, str(store), study=moving)
  process = sweeps.start(alone, str(store), '--noshare_prefixes', '--checkpoint_seconds=0',
                         study=moving)
  sweeps.wait_for(lambda: len(sweeps.curves(alone)) > 1)
  process.kill()
  process.communicate()
  assert len(sweeps.results(alone)) < 3
  sweeps.sweep(alone, str(store), '--noshare_prefixes', study=moving)
  assert sweeps.curves(alone) == sweeps.curves(shared) and len(sweeps.curves(shared)) == 3
  table = logs.load(str(shared))
  ends = table[(table['stage'] == 0) & table['final']]
  np.testing.assert_array_equal(ends['D_total'], ends['D'] + 60 * 4 * 32)
  assert set(ends['r/other']) == {0.75}
  assert set(table['r/other'][(table['stage'] == 0) & (table['share'] < 0.4)]) == {0.25}
  for run_id, tokens in zip(ends['run_id'], ends['D'], strict=True):
    drawn = lines(shared, run_id)[-1]['domains']['other']['D']
    assert abs(drawn - tokens / 2) <= 3 * 32  # a quarter of one half, three quarters of the other
