"""Schedules of pruning, what they leave, and which runs they let share training."""

import dataclasses
import itertools

import numpy as np
import pytest

from scaling import accounting, prefixes, pruning, specs, stages, study
from scaling.errors import InputError
from scaling.specs import DataSpec, DomainSpec, InitSpec, ModelSpec, RunSpec, SparsitySpec
from tests.scaling import probe

DATA = DataSpec(domains={'any': DomainSpec()})
MODEL = ModelSpec(layers=2, width=64)


def run(steps=1000, **sparsity):
  return RunSpec(data=DATA, model=MODEL, steps=steps, sparsity=SparsitySpec(**sparsity))


def test_the_papers_1b_schedule():
  """72,200 steps, half the weights: every 100 steps from 12,500 to 47,200."""
  found = pruning.events(SparsitySpec(0.5), 72_200)
  assert abs(found[0][0] - 12_500) <= 20 and abs(found[-1][0] - 47_200) <= 20
  assert len(found) == 348 and {b - a for (a, _), (b, _) in itertools.pairwise(found)} <= {
      99, 100, 101}
  ratios = np.divide([d for _, d in found[1:]], [d for _, d in found[:-1]])
  np.testing.assert_allclose(ratios, 0.5 ** (1 / 348), rtol=1e-12)
  assert found[-1][1] == pytest.approx(0.5)


@pytest.mark.parametrize('s', [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize('steps', [800, 6400])
def test_the_average_is_the_closed_form(s, steps):
  q = -np.log(1 - s)
  counts = pruning.counts(SparsitySpec(s, every=steps // 80), MODEL, steps)
  average = counts.total(steps) / steps / counts.whole
  assert average == pytest.approx(1 / (0.25 + 0.5 * q / s + 0.25 / (1 - s)), rel=5e-3)
  spent = [counts.total(round(at)) / counts.total(steps) for at in (counts.steps[0],
                                                                   counts.steps[-1])]
  assert spent == pytest.approx([0.25, 0.75], abs=0.01)


def test_counts_are_sums_over_the_updates():
  for spec in (run(), run(sparsity=0.7, every=7), run(sparsity=0.5, schedule='constant'),
               run(sparsity=0.9, schedule='one_shot', start=0.3),
               run(sparsity=0.6, schedule='cubic', unit='steps', scope='layer', every=13)):
    counts = pruning.counts(spec.sparsity, MODEL, spec.steps)
    whole = accounting.linear_weights(MODEL)
    kept = [sum(pruning.keep(spec.sparsity, MODEL, d)) for d in pruning.densities(spec)]
    assert kept[-1] == counts.final and np.all(np.diff(kept) <= 0) and counts.whole == whole
    for step in (1, 123, 300, 301, spec.steps):
      assert counts.total(step) == sum(kept[:step])
      assert counts.at(step) == kept[step - 1]
  assert counts.final == sum(round(0.4 * a * b) for a, b in accounting.linears(MODEL).values())


def test_shares_of_steps_are_steps():
  found = pruning.events(SparsitySpec(0.5, 'cubic', 0.2, 1.0, 'steps', every=10), 100)
  assert found[0][0] == 20 and found[-1] == (99, 0.5)  # an update comes after the last one
  assert pruning.events(SparsitySpec(0.5, 'one_shot', 0.2, unit='steps'), 100) == ((20, 0.5),)


def test_a_dense_schedule_is_no_schedule():
  dense = RunSpec(data=DATA)
  for sparsity in ({'sparsity': 0.0, 'schedule': 'cubic', 'start': 0.1}, {'scope': 'layer'}):
    spec = specs.from_dict({'data': {'domains': {'any': {}}}, 'sparsity': sparsity})
    assert spec == dense and specs.run_id(spec) == specs.run_id(dense)
  for pattern in ({'pattern': '2:4'}, {'pattern': '1:4', 'scope': 'layer'}):  # An axis may go to 0.
    assert SparsitySpec(0.0, 'one_shot', **pattern) == SparsitySpec()
  assert SparsitySpec(0.5, 'cubic', 0.3, 0.3, every=7) == SparsitySpec(0.5, 'one_shot', 0.3)
  a, b = ({'sparsity': 0.5, 'schedule': 'constant', 'start': x} for x in (0.1, 0.2))
  assert SparsitySpec(**a) == SparsitySpec(**b)  # It looks at neither.


@pytest.mark.parametrize('wrong, message', [
    ({'sparsity': 1.0}, r'sparsity: 1.0 is not allowed; it must lie in \[0, 1\)'),
    ({'sparsity': -0.1}, 'sparsity: -0.1'),
    ({'sparsity': 0.5, 'start': 0.6, 'end': 0.5}, 'end: 0.5 is not allowed; it must not lie'),
    ({'start': 0.6, 'end': 0.5}, 'sparsity.end: 0.5'),
    ({'sparsity': 0.5, 'pattern': '2:4'}, 'schedule'),
    ({'sparsity': 0.4, 'pattern': '2:4', 'schedule': 'one_shot'}, 'the pattern 2:4 has 0.5'),
    ({'sparsity': 0.4, 'pattern': '3:5', 'schedule': 'one_shot'}, '5 must divide the inputs'),
    ({'sparsity': 0.5, 'pattern': '4:2'}, 'pattern'),
    ({'sparsity': 0.5, 'every': 0}, 'every: 0'),
])
def test_a_schedule_that_cannot_be_is_one_line(wrong, message):
  with pytest.raises(InputError, match=message) as error:
    specs.from_dict({'data': {'domains': {'any': {}}}, 'sparsity': wrong})
  assert '\n' not in str(error.value)


def test_a_ramp_of_one_pruning_is_refused():
  """It would leave a density far from the closed form: it is another schedule."""
  wrong = run(sparsity=0.5, every=2000)
  with pytest.raises(InputError, match=r'base.sparsity.every: 2000 .* the ramp has 48\d steps'):
    pruning.check(wrong, 'base')
  values = study.new_config('any', {'any': 1.0})
  values.base.sparsity.sparsity, values.base.sparsity.every = 0.5, 2000
  with pytest.raises(InputError, match='the schedule one_shot'):
    study.build(values, {}, probe.stores)
  for right in (run(), run(sparsity=0.5, every=500), run(sparsity=0.5, start=0.5, end=0.5),
                run(sparsity=0.5, schedule='one_shot'), run(sparsity=0.5, schedule='constant')):
    pruning.check(right, 'base')


def test_low_rank_layers_are_not_pruned_and_sized():
  for model in ({'linear': 'low_rank'}, {'linear': 'low_rank', 'rank': 65}, {'rank': 4},
                {'linear': 'sltrain', 'rank': 4}, {'linear': 'low_rank', 'rank': 4, 'support': .1}):
    with pytest.raises(InputError, match=r'rank|support'):
      specs.from_dict({'data': {'domains': {'any': {}}}, 'model': model})
  with pytest.raises(InputError, match='must be 0 with'):
    specs.from_dict({'data': {'domains': {'any': {}}}, 'model': {'linear': 'low_rank', 'rank': 4},
                     'sparsity': {'sparsity': 0.5}})


def test_a_density_never_rises_but_for_a_dense_stage():
  parent = run(sparsity=0.5, schedule='constant')
  start = InitSpec('0' * 16, 1000)
  for sparsity in (SparsitySpec(), parent.sparsity):
    stages.check(dataclasses.replace(parent, init=start, sparsity=sparsity), parent)
  stages.check(dataclasses.replace(run(sparsity=0.7), init=start), run())
  for sparsity in (SparsitySpec(0.7), SparsitySpec(0.3, 'constant'),
                   SparsitySpec(0.5, 'constant', scope='layer')):
    with pytest.raises(InputError, match='a density never rises'):
      stages.check(dataclasses.replace(parent, init=start, sparsity=sparsity), parent)
  child = dataclasses.replace(run(), init=start)
  taken = stages.before(child, {'0' * 16: parent})
  N = accounting.parameters(MODEL, 512) - accounting.linear_weights(MODEL) / 2
  assert taken == (1000 * 2048, pytest.approx(6 * N * 1000 * 2048))


def test_sparse_runs_share_what_comes_before_their_prunings():
  listed = {name: run(**{'every': 10, **sparsity}) for name, sparsity in (
      ('dense', {}), ('half', {'sparsity': 0.5}), ('most', {'sparsity': 0.8}),
      ('random', {'sparsity': 0.5, 'schedule': 'constant'}))}
  forest = prefixes.forest(listed.items())
  assert forest['half'].parent == forest['most'].parent is not None
  trunk = forest[forest['half'].parent]
  first = {name: pruning.events(spec.sparsity, 1000)[0][0]
           for name, spec in listed.items() if not spec.sparsity.dense}
  assert trunk.last == min(first['half'], first['most']) == first['most']
  assert forest['dense'].parent is forest['random'].parent is None
