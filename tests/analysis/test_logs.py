"""Reading a workdir: the tidy table, and what half-written or corrupt files do to it."""

import itertools
import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import laws, logs
from analysis.reading import points, sampling
from scaling import prefixes, specs
from scaling.errors import InputError
from tests.analysis import workdirs

CHINCHILLA = laws.get('chinchilla')


def read(workdir, domain=None, rows='final', where='', study=None):
  return points.of_logs(CHINCHILLA, workdir, study, domain, rows, where, '')


def run_folder(workdir, i=0):
  return os.path.join(workdir, 'runs', sorted(os.listdir(os.path.join(workdir, 'runs')))[i])


def test_windows_are_shares_of_the_compute_whatever_unit_they_were_given_in():
  given = {'sparsity': 0.5, 'start': 12_500 / 72_200, 'end': 47_200 / 72_200, 'unit': 'steps'}
  found = logs._pruning({'sparsity': given})
  assert (found['prune_start'], found['prune_end']) == pytest.approx((0.25, 0.75), abs=3e-4)
  assert found['kind'] == 'sparse' and found['sparsity'] == 0.5
  default = logs._pruning({'sparsity': {'sparsity': 0.5}})
  assert (default['prune_start'], default['prune_end']) == (0.25, 0.75)
  static = logs._pruning(specs.canonical(specs.RunSpec(
      sparsity=specs.SparsitySpec(0.75, 'constant'))))
  assert (static['kind'], static['prune_start'], static['prune_end']) == ('static', 0, 0)
  broken = logs._pruning({'sparsity': given | {'end': 'x'}})
  assert np.isnan(broken['prune_start'])


def test_columns(tmp_path):
  table = logs.load(workdirs.write(tmp_path))
  wanted = ('run_id study lineage parent seed state step final lr peak_lr N N_nonembedding '
            'N_average N_v V D C C_counted H U B D_total C_total loss/python_docs '
            'bits_per_byte/python_docs loss_unigram/python_docs r/python_docs')
  assert set(wanted.split()) <= set(table)
  assert len(table) == 13 * 8 and table['final'].sum() == 13
  assert table['held_out'].sum() == 8 and set(table['state']) == {'done'}
  assert (table['lineage'] == table['run_id']).all() and set(table['study']) == {'quickstart'}
  assert table.attrs['skipped'] == {} and logs.domains(table) == ['python_docs']
  assert table['peak_lr'].eq(3e-3).all()
  assert np.allclose(table['C'], 6 * table['N'] * table['D'])


def test_final_rows_of_done_runs_are_fitted_and_held_out_runs_kept_apart(tmp_path):
  workdir = workdirs.write(tmp_path)
  found = read(workdir)
  assert len(found.loss) == 12 and len(found.held_out.loss) == 1
  assert found.held_out.inputs['N'].max() > found.inputs['N'].max()
  assert len(np.unique(found.groups)) == 12
  every = read(workdir, rows='all')
  assert len(every.loss) == 96 and len(np.unique(every.groups)) == 12
  os.remove(os.path.join(run_folder(workdir), 'result.json'))
  assert len(read(workdir).loss) + len(read(workdir).held_out.loss) == 12
  assert any('1 running' in note for note in read(workdir).notes)


def test_states(tmp_path):
  workdir = workdirs.write(tmp_path)
  folder = run_folder(workdir)
  os.remove(os.path.join(folder, 'result.json'))
  name = os.path.basename(folder)
  state = logs.load(workdir).drop_duplicates('run_id').set_index('run_id')['state']
  assert state[name] == 'running'
  workdirs.put(workdir, f'runs/{name}/failure.json', '{"reason": "diverged"}')
  state = logs.load(workdir).drop_duplicates('run_id').set_index('run_id')['state']
  assert state[name] == 'failed'


def test_broken_files_are_skipped_and_counted(tmp_path):
  workdir = workdirs.write(tmp_path)
  folders = [run_folder(workdir, i) for i in range(5)]
  curve = os.path.join(folders[0], 'curve.jsonl')
  with open(curve) as file:
    text = file.read()
  with open(curve, 'w') as file:
    file.write('\n[1]\nnull\n{"step": 1}\n' + text[:-30])
  with open(os.path.join(folders[1], 'curve.jsonl'), 'wb') as file:
    file.write(b'\xff\xfe\x00')
  os.remove(os.path.join(folders[2], 'curve.jsonl'))
  with open(os.path.join(folders[3], 'spec.json'), 'w') as file:
    file.write('{"model"')
  with open(os.path.join(folders[4], 'spec.json'), 'w') as file:
    file.write('{"evaluation": "often"}')
  workdirs.put(workdir, 'studies/other.json', '{"runs": 3}')
  table = logs.load(workdir)
  assert table.attrs['skipped'] == {
      'unreadable study files': 1, 'unreadable curve lines': 5, 'unreadable curve files': 1,
      'runs without an evaluation': 2, 'unreadable spec files': 2}
  assert len(read(workdir).loss) >= 7


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.one_of(st.text(max_size=40), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(
        inner, max_size=3) | st.dictionaries(st.sampled_from(
            ['step', 'domains', 'loss', 'N', 'lr', 'docs']), inner, max_size=4),
    max_leaves=12).map(json.dumps)))
def test_no_curve_line_gives_a_traceback(tmp_path, line):
  workdirs.put(tmp_path, 'runs/a/curve.jsonl', line + '\n')
  workdirs.put(tmp_path, 'runs/a/spec.json', line)
  workdirs.put(tmp_path, 'studies/a.json', line)
  assert isinstance(logs.load(str(tmp_path)), pd.DataFrame)
  with pytest.raises(InputError):
    read(str(tmp_path))


def test_seed_replicates_give_a_noise_floor():
  """Three pairs or more that differ in their seed alone; their spread is the floor."""
  table = pd.DataFrame({'peak_lr': 0.1, 'seed': [0, 1] * 3, 'point/seed': [0, 1] * 3})
  inputs = {'N': np.repeat([1.0, 2.0, 3.0], 2), 'D': np.ones(6)}
  loss = np.exp(np.tile([0, 0.02], 3))

  def floor(rows, **columns):
    sample = sampling.Sample(table.assign(**columns), inputs, loss, np.zeros(6, bool))
    sample = sampling.runs(sample.take(np.arange(rows)), sampling.Options(), '', of_workdir=True)
    return sampling.floor(sample, True)

  assert floor(6) == pytest.approx(0.02 / np.sqrt(2))
  assert floor(4) == 0.0
  assert floor(6, seed=1) == 0.0  # what differs is something else than the seed
  assert floor(6, peak_lr=[1, 2] * 3) == floor(6, **{'point/depth': [1, 2] * 3}) == 0.0


@pytest.mark.parametrize('arguments, said', [
    ({'domain': 'cpp'}, 'code, docs'), ({}, 'choose one of code, docs'),
    ({'domain': 'docs', 'study': 'nope'}, 'quickstart'),
    ({'domain': 'docs', 'rows': 'some'}, 'all'),
    ({'domain': 'docs', 'where': 'N < 0'}, 'none of the'),
    ({'domain': 'docs', 'where': 'N + 1'}, 'not a condition'),
    ({'domain': 'docs', 'where': 'held_out'}, 'nothing to fit')])
def test_bad_requests_are_one_line(tmp_path, arguments, said):
  workdir = workdirs.write(tmp_path, domains=('docs', 'code'))
  with pytest.raises(InputError, match=said) as error:
    read(workdir, **arguments)
  assert '\n' not in str(error.value)


def test_a_folder_that_is_no_workdir(tmp_path):
  for path, said in ((tmp_path / 'no', 'no such workdir'), (tmp_path, 'not a workdir')):
    with pytest.raises(InputError, match=said):
      logs.load(str(path))
  workdirs.put(tmp_path, 'runs/a/spec.json', '{}')
  assert len(logs.load(str(tmp_path))) == 0
  with pytest.raises(InputError, match='no run has an evaluation'):
    read(str(tmp_path))


def test_lineages_reach_beyond_the_study_and_end_in_circles(tmp_path):
  def run(name, parent, along=None):
    init = {'init': {'run': parent, 'step': 5}} if parent else {}
    domain = dict.fromkeys(('loss', 'loss_se', 'bits_per_byte', 'loss_unigram', 'r'), 1.0)
    line = {'step': 10, 'domains': {'d': domain | ({'loss_along': along} if along else {})}}
    workdirs.put(tmp_path, f'runs/{name}/spec.json', json.dumps(
        {'steps': 10, 'data': {'domains': {'d': {}}}, **init}))
    workdirs.put(tmp_path, f'runs/{name}/curve.jsonl', json.dumps(line) + '\nnothing\n')

  base, middle, child, circle, other = (c * 16 for c in 'abcde')
  run(base, None)
  run(middle, base)
  run(child, middle, along=1.5)
  run(circle, circle)
  run(other, circle)
  workdirs.put(tmp_path, 'studies/s.json', json.dumps({'name': 's', 'runs': [
      {'run_id': name, 'point': {}, 'held_out': False} for name in (child, circle, other)]}))
  table = logs.load(str(tmp_path), 's').set_index('run_id')
  assert table.loc[child, 'lineage'] == base and table.loc[child, 'loss_along/d'] == 1.5
  assert table.loc[[circle, other], 'lineage'].tolist() == [circle, circle]


def test_groups_that_differ_in_seeds_part_as_each_would_alone():
  listed = {}
  for seed, rates in ((0, (1e-3,)), (1, (1e-3,)), (2, (1e-3, 2e-3))):
    for steps, rate in itertools.product((100, 200, 400), rates):
      spec = specs.from_dict({'data': {'domains': {'a': {}}}, 'seed': seed,
                              'steps': steps, 'optim': {
          'schedule': 'wsd', 'warmup_steps': 10, 'peak_lr': rate}})
      listed[specs.run_id(spec)] = spec
  found = [{'run_id': run} for run in sorted(listed)]
  logs._join_lineages(found, {run: specs.canonical(spec) for run, spec in listed.items()})
  forest = prefixes.forest(listed.items())
  both = {(row['lineage'], prefixes.lineage(forest, row['run_id'])) for row in found}
  assert len(both) == 4 == len({a for a, _ in both}) == len({b for _, b in both})
