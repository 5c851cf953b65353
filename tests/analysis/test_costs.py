"""What a report says of speed, of the time spent, of sharing and of lineages."""

import glob
import json
import os

import numpy as np
import pytest

from analysis import fit, laws, logs, report
from analysis.pictures import costs
from analysis.reading import points
from tests.analysis import workdirs

SECONDS = {'compile': 1.0, 'data': 0.5, 'train': 7.0, 'evaluate': 1.0, 'checkpoint': 0.5}


def recorded(folder, peak=None, **options):
  """A workdir whose runs each trained 1,000 tokens in 10 s, in one sweep of 250 s."""
  workdir = workdirs.write(folder, held=(), **options)
  runs = sorted(os.listdir(f'{workdir}/runs'))
  for run in runs:
    workdirs.put(folder, f'runs/{run}/timing.jsonl',
                 json.dumps({'tokens': 1000, 'seconds': SECONDS}) + '\n')
  workdirs.put(folder, 'usage/worker.json', json.dumps({
      'study': 'quickstart', 'wall': 250.0, 'tokens': 12_000, 'flops': 5e9, 'peak': peak,
      'compilations': 4, 'seconds': {k: 12 * v for k, v in SECONDS.items()}}))
  return workdir, runs


def test_the_study_and_every_run(tmp_path):
  workdir, runs = recorded(tmp_path, peak=2e8)
  table = logs.load(workdir)
  page = costs.of_workdir(workdir, table)
  # 12,000 tokens / 250 s; 5e9 / (250 * 2e8); 12 * 7 / 250 of the time in training, 48 % of it idle.
  for word in ('48', '10.0%', '33.6%', '52.0%', 'wall seconds × peak'):
    assert f'>{word}<' in page or word in page, word
  assert 'empty where' not in page
  assert all(run[:8] in page for run in runs)
  row = page[page.index(runs[0][:8]):].split('</tr>')[0]
  one = table[table['run_id'] == runs[0]].iloc[-1]
  mfu = 1000 * one['C_counted'] / one['D'] / (10 * 2e8)
  for cell in ('1,000', '100', f'{mfu:.1%}', '70.0%', '0.0%'):
    assert f'<td>{cell}</td>' in row, cell


def test_many_runs_are_taken_together_by_shape(tmp_path, monkeypatch):
  workdir, runs = recorded(tmp_path)
  monkeypatch.setattr(costs, 'MOST_ROWS', 3)
  page = costs.of_workdir(workdir, logs.load(workdir))
  assert page.count('<td>3,000</td>') == 4  # three budgets of four widths
  assert 'empty where' in page and runs[0][:8] not in page


def test_tokens_with_shared_prefixes(tmp_path):
  """Runs of 800, 1,600 and 3,200 steps that share 400, and the longer two 600 more."""
  workdir = workdirs.write(tmp_path, held=(), widths=(16,))
  per_step = 4 * 128
  for path in glob.glob(f'{workdir}/runs/*/result.json'):
    with open(path) as file:
      found = json.load(file)
    parent, step = ('prefix-a', 400) if found['step'] == 800 else ('prefix-b', 1000)
    workdirs.put(tmp_path, f'runs/{found["run_id"]}/origin.json',
                 json.dumps({'parent': parent, 'step': step}))
  for name, first, last, parent in (('a', 0, 400, None), ('b', 400, 1000, 'prefix-a')):
    workdirs.put(tmp_path, f'prefixes/prefix-{name}/segment.json',
                 json.dumps({'first': first, 'last': last, 'parent': parent}))
  table = logs.load(workdir)
  last = table[table['final']]
  assert costs.tokens(workdir, last) == (
      5600 * per_step, (400 + 600 + 400 + 600 + 2200) * per_step)


@pytest.mark.parametrize('lost', ['D', 'B'])
def test_a_line_without_tokens_does_not_count(tmp_path, lost):
  workdir, runs = recorded(tmp_path)
  path = tmp_path / 'runs' / runs[0] / 'curve.jsonl'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  before, *_ = [line.pop(lost) for line in lines]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  page = costs.of_workdir(workdir, logs.load(workdir))
  assert runs[0][:8] not in page and runs[1][:8] in page
  path.write_text(json.dumps({**lines[0], lost: before}) + '\n'
                  + ''.join(json.dumps(line) + '\n' for line in lines[1:]))
  assert runs[0][:8] in costs.of_workdir(workdir, logs.load(workdir))


def test_a_workdir_without_usage_shows_nothing_of_it(tmp_path):
  workdir = workdirs.write(tmp_path, held=())
  assert costs.of_workdir(workdir, logs.load(workdir)) == ''
  workdirs.put(tmp_path, 'usage/worker.json', '{"study": "quickstart"')
  assert costs.of_workdir(workdir, logs.load(workdir)) == ''


@pytest.mark.parametrize('groups, said', [
    (12, ('each trained on its own', 'fewer than three for each of the 5', 'profile likelihood')),
    (4, ('√(12/4) = 1.7 times', 'Too few for intervals'))])
def test_lineages(tmp_path, groups, said):
  workdir = workdirs.write(tmp_path, held=())
  law = laws.get('chinchilla')
  data = points.of_logs(law, workdir, None, None)
  names = np.array([str(i % groups) for i in range(12)])
  made = fit.fit(law, data.inputs, data.loss, groups=names, extra={'data': data.data})
  text = costs.lineages(made)
  assert f'12 runs of {groups} independent lineages' in text
  for word in said:
    assert word in text, word


def test_the_same_workdir_gives_the_same_report(tmp_path):
  workdir, _ = recorded(tmp_path)
  pages = {report.report([], logs.load(workdir), 'command', workdir=workdir) for _ in range(2)}
  assert len(pages) == 1 and 'What the runs cost' in pages.pop()
