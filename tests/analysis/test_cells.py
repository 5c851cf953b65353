"""--best_over: the lowest loss of each cell, its warnings and its counts."""

import json

import numpy as np
import pytest

from analysis import laws
from analysis.reading import cells, points
from analysis.reading.sampling import Options
from scaling import specs
from scaling.errors import InputError
from tests.analysis import workdirs

LAW = laws.get('chinchilla')
RATES = [1e-4, 1e-3, 1e-2]


def table(path, best=1e-3, seeds=(0,), diverged=()):
  """Chinchilla runs whose loss is least at the rate `best`."""
  rows = ['N,D,peak_lr,kind,seed,loss']
  for n in (1e7, 1e8):
    for d in (1e9, 1e10):
      for rate in RATES:
        for seed in seeds:
          loss = 2 + 400 * n**-.35 + 2000 * d**-.37 + 0.1 * np.log10(rate / best)**2 + 0.001 * seed
          shown = 'nan' if rate in diverged else repr(float(loss))
          rows.append(f'{n:g},{d:g},{rate:g},k{rate:g},{seed},{shown}')
  path.write_text('\n'.join(rows))
  return str(path)


def read(path, **options):
  return points.of_table(LAW, path, options=Options(**options))


def test_the_lowest_of_each_cell_is_kept(tmp_path):
  found = read(table(tmp_path / 'a.csv'), best_over='peak_lr')
  assert len(found.loss) == 4 and found.left_out == {'not the best over peak_lr': 8}
  np.testing.assert_allclose(
      found.loss, 2 + 400 * found.inputs['N']**-.35 + 2000 * found.inputs['D']**-.37)
  assert found.notes == ('--best_over=peak_lr: the best of 4 cells kept, 8 other rows left out',)
  assert found.data['best_over'] == 'peak_lr'
  by_name = read(table(tmp_path / 'a.csv'), best_over='kind')
  assert len(by_name.loss) == 4 and len(by_name.notes) == 1  # names have no edge


@pytest.mark.parametrize('best, edge', [(1e-4, 'smallest in 4'), (1e-2, 'largest in 4')])
def test_the_edge_of_the_grid_is_warned_about(tmp_path, best, edge):
  notes = ' '.join(read(table(tmp_path / 'a.csv', best), best_over='peak_lr').notes)
  assert edge in notes and 'of 4 cells' in notes
  # A run that diverged was tried: the best next to it is not at the edge.
  worse = 1e-3 if best == 1e-4 else None
  if worse:
    beyond = read(table(tmp_path / 'b.csv', 1e-3, diverged=(1e-2,)), best_over='peak_lr')
    assert len(beyond.notes) == 1 and np.isfinite(beyond.loss).all()


def test_seeds_are_averaged_before_the_choice(tmp_path):
  path = table(tmp_path / 'a.csv', seeds=(0, 1, 2))
  assert len(read(path, best_over='peak_lr').loss) == 4
  found = read(path, best_over='peak_lr', seed='seed')
  assert len(found.loss) == 12 and found.noise == pytest.approx(0.001 / 3.6, rel=0.05)
  # One lucky seed of a bad setting does not win.
  loss = np.array([1.0, 9.0, 4.0, 4.1])
  keep, _ = cells.best(loss, np.zeros(4), {'lr': np.array([1.0, 1.0, 2.0, 2.0])}, np.arange(4))
  assert list(keep) == [False, False, True, True]
  keep, _ = cells.best(loss, np.zeros(4), {'lr': np.array([1.0, 1.0, 2.0, 2.0])})
  assert list(keep) == [True, False, False, False]


def test_several_settings_an_input_and_missing_losses(tmp_path):
  loss = np.array([3.0, np.nan, 2.0, np.nan, np.nan])
  swept = {'lr': np.array([1.0, 2.0, 3.0, 1.0, 2.0]), 'batch': np.array([8.0] * 5)}
  keep, notes = cells.best(loss, np.array([0, 0, 0, 1, 1]), swept)
  assert list(keep) == [False, False, True, True, True]  # an empty cell is left to the fit
  assert 'batch: 1 of 1 cells tried only one batch' in ' '.join(notes)
  assert len(read(table(tmp_path / 'a.csv'), best_over='D,peak_lr').loss) == 2
  for wrong, said in (('peak_rl', 'did you mean peak_lr'), (' , ', 'at least one')):
    with pytest.raises(InputError, match=said):
      read(table(tmp_path / 'a.csv'), best_over=wrong)


def test_values_equal_to_nine_digits_are_one():
  values = np.array([1e9, 1e9 * (1 + 1e-12), 1e9 * (1 - 1e-12), 1.00001e9, 0.0, -0.0, np.nan,
                     np.nan])
  code = cells.codes([values])
  assert code[0] == code[1] == code[2] != code[3] and code[4] == code[5] and code[6] == code[7]
  assert len(set(cells.codes([values, np.arange(8)]))) == 8
  assert list(cells.codes([np.array(['a', 'b', 'a'], object)])) == [0, 1, 0]


def test_rates_of_a_workdir(tmp_path):
  """A study with an axis `lr` for optim.peak_lr: cells are what is left of its axes."""
  workdir = workdirs.write(tmp_path, noise=0.0, held=())
  study = json.loads((tmp_path / 'studies/quickstart.json').read_text())
  entries = []
  for entry in study['runs']:
    old = tmp_path / 'runs' / entry['run_id']
    spec = json.loads((old / 'spec.json').read_text())
    for rate, factor in ((1e-4, 1.1), (1e-3, 1.0), (1e-2, 1.2)):
      changed = specs.from_dict(spec | {'optim': spec.get('optim', {}) | {'peak_lr': rate}})
      name = specs.run_id(changed)
      lines = [json.loads(line) for line in (old / 'curve.jsonl').read_text().splitlines()]
      for line in lines:
        line['domains']['python_docs']['loss'] *= factor
      workdirs.put(tmp_path, f'runs/{name}/spec.json', json.dumps(specs.canonical(changed)))
      workdirs.put(tmp_path, f'runs/{name}/curve.jsonl', '\n'.join(map(json.dumps, lines)))
      workdirs.put(tmp_path, f'runs/{name}/result.json', (old / 'result.json').read_text())
      entries.append(entry | {'run_id': name, 'point': entry['point'] | {'lr': rate}})
  workdirs.put(tmp_path, 'studies/quickstart.json', json.dumps(study | {'runs': entries}))
  plain = points.of_logs(LAW, workdir, 'quickstart', None)
  best = points.of_logs(LAW, workdir, 'quickstart', None, options=Options(best_over='peak_lr'))
  assert len(plain.loss) == 36 and len(best.loss) == 12
  assert best.left_out == {'not the best over peak_lr': 24} and len(best.notes) == 1
  np.testing.assert_allclose(np.sort(best.loss), np.sort(LAW.predict(workdirs.TRUTH, best.inputs)))
