"""The cut after the peak that re-warming makes in the losses of continued runs."""

import json

import numpy as np
import pytest

from analysis import laws
from analysis.reading import points, rewarming
from scaling import specs
from scaling.errors import InputError
from tests.analysis.workdirs import put

STEPS = np.array([20, 50, 100, 200, 400, 800])
BUMP = 100  # the step of the highest general loss
SHARES = (1.0, 0.5, 0.0)  # of docs


def general_loss(step, share):
  """A base at 3.0, a bump that is highest at BUMP, and what is forgotten: that grows to the end."""
  bump = 0.4 * (step / BUMP) * np.exp(1 - step / BUMP)
  return 3.0 + bump + 1.2 * (1 - share) * (step / 800) ** 0.7


def line(step, lr, n, share, loss):
  found = dict.fromkeys(('N', 'N_nonembedding', 'N_average', 'N_v'), n)
  found |= {'step': step, 'lr': lr, 'V': 512, 'D': 512 * step, 'C': n * step, 'C_counted': n * step,
            'H': step, 'U': step, 'B': 512, 'D_total': step, 'C_total': step, 'train_loss': loss}
  return found | {'domains': {
      name: {'loss': value, 'loss_se': 0.01, 'bits_per_byte': 1.0, 'loss_unigram': -1.0, 'r': r}
      for name, r, value in (('docs', share, loss), ('code', 1 - share, 4 - loss / 4 - share))}}


def write(folder, rate=1e-2):
  """Two bases, trained at 1e-2 and ended at 1e-3, and their children at `rate`; their ids."""
  bases, runs = [], []
  for width, n in ((16, 1e5), (32, 4e5)):
    base = {'model': {'width': width}, 'steps': 1000, 'data': {'domains': {'docs': {}}}}
    jobs = [(base, 1.0, [line(1000, 1e-3, n, 1.0, 3.0)], -1)]
    name = specs.run_id(specs.from_dict(base))
    bases.append(name)
    jobs += [({**base, 'steps': 800, 'init': {'run': name, 'step': 1000}, 'data': {'domains': {
        'docs': {'weight': r}, 'code': {'weight': 1 - r}}}}, r,
        [line(int(s), rate * (0.1 if s == 800 else 1), n, r, general_loss(s, r)) for s in STEPS],
        0) for r in SHARES]
    for spec, _, lines, stage in jobs:
      run = specs.from_dict(spec)
      name = specs.run_id(run)
      runs.append({'run_id': name, 'point': {}, 'held_out': False, 'stage': stage})
      put(folder, f'runs/{name}/spec.json', json.dumps(specs.canonical(run)))
      put(folder, f'runs/{name}/curve.jsonl', ''.join(json.dumps(x) + '\n' for x in lines))
      put(folder, f'runs/{name}/result.json', json.dumps({'run_id': name, 'step': run.steps}))
  put(folder, 'studies/s.json', json.dumps({'name': 's', 'laws': ['dcpt'], 'runs': runs}))
  return str(folder), bases


def read(workdir, **options):
  return points.of_logs(laws.get('dcpt'), workdir, 's', 'code', 'all', group='trunk', **options)


def test_the_points_before_the_peak_go_and_are_counted(tmp_path):
  """The peak is that of the runs that forget nothing, though others' losses climb to the end."""
  assert np.argmax(general_loss(STEPS, 0.0)) > np.argmax(general_loss(STEPS, 1.0)) == 2
  workdir, bases = write(tmp_path)
  every, found = read(workdir, after='none'), read(workdir)
  assert len(every.loss) == 2 * len(SHARES) * len(STEPS)
  assert sorted(set(found.inputs['D'])) == [512 * s for s in STEPS if s >= BUMP]
  assert len(found.loss) == len(every.loss) - 2 * 2 * len(SHARES)
  assert found.left_out == {'before the peak of re-warming (--after=peak)': 12}
  assert found.data['after'] == 'peak' and found.data['peaks'] == dict.fromkeys(bases, BUMP)
  # --where is counted apart, and the peak is still sought in the runs that it leaves out.
  some = read(workdir, where='`r/docs` < 1')
  assert some.data['peaks'] == found.data['peaks']
  assert some.left_out == {'not chosen by --where': 12,
                           'before the peak of re-warming (--after=peak)': 8}
  assert not any('is chance' in note for note in found.notes)
  few = read(workdir, where='step <= 100')
  assert any('--after=peak leaves 6 of 18 points' in note for note in few.notes)


def test_a_share_of_each_run(tmp_path):
  found = read(write(tmp_path)[0], after='0.2')
  assert sorted(set(found.inputs['D'])) == [512 * 200, 512 * 400, 512 * 800]
  assert found.left_out == {'share < 0.2 (--after)': 18}


def test_runs_at_no_higher_rate_have_no_peak(tmp_path):
  found = read(write(tmp_path, rate=1e-3)[0])
  assert not found.left_out and 'peaks' not in found.data and len(found.loss) == 36


def test_when_no_run_goes_on_with_the_parents_mixture_that_is_said(tmp_path):
  table = points.logs.load(write(tmp_path)[0])
  table = table[(table['r/docs'] < 0.4) | (table['stage'] < 0)]
  cut = rewarming.cut(table, table[table['stage'] == 0], 'peak')
  assert len(cut.notes) == 3 and 'forget may put it late' in cut.notes[0]
  assert '--after=peak leaves 2 of 12 points' in cut.notes[-1]
  orphans = table[table['stage'] == 0]
  said = rewarming.cut(orphans, orphans, 'peak')
  assert said.keep.all() and 'is not in these logs' in said.notes[0]


@pytest.mark.parametrize('rows, after', [('all', '2'), ('all', 'x'), ('all', 'nan'),
                                         ('final', 'peak')])
def test_cuts_that_make_no_sense(tmp_path, rows, after):
  with pytest.raises(InputError, match='--after'):
    points.of_logs(laws.get('dcpt'), str(tmp_path), None, None, rows, after=after)
