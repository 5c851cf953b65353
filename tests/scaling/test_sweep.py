"""The sweep as a command: plan, status, what a run leaves, and bad input in one line."""

import json
import math
import pathlib
import shutil

import pytest

from analysis.reading import events
from scaling import specs
from tests.scaling import sweeps

TINY = ('--config=configs/tiny.py', '--cpu_devices=1', '--pack=2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, markov_store) -> pathlib.Path:
  workdir = tmp_path_factory.mktemp('trained')
  planned = json.loads(sweeps.sweep(workdir, markov_store, '--mode=plan', '--json',
                                    study=TINY).stdout)
  assert planned['runs'] == planned['runs_left'] == 4 and planned['seconds'] is None
  assert planned['tokens'] == 4 * 24 * 4 * 32
  assert not list(workdir.rglob('*'))  # a plan leaves nothing behind
  sweeps.sweep(workdir, markov_store, '--tensorboard', study=TINY)
  return workdir


def test_what_a_run_leaves(trained):
  runs = sorted((trained / 'runs').iterdir())
  assert len(runs) == 4
  for run in runs:
    spec = specs.from_dict(json.loads((run / 'spec.json').read_text()))
    assert specs.run_id(spec) == run.name
    lines = [json.loads(line) for line in (run / 'curve.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == list(spec.eval_steps) == [8, 16, 24]
    for line in lines:
      markov = line['domains']['markov']
      assert line['D'] == line['step'] * 4 * 32 == markov['D'] == line['H'] == line['U']
      assert line['C'] == 6 * line['N'] * line['D']
      assert line['N'] == line['N_nonembedding'] + line['N_v'] and line['N_v'] == 64 * 16
      # A symbol is one byte, and never more than ln 64 + a little from a model that has begun.
      assert markov['bits_per_byte'] == pytest.approx(markov['loss'] / math.log(2))
      assert 2.34 < markov['loss'] < math.log(64) + 0.1
    result = json.loads((run / 'result.json').read_text())
    assert result == {'run_id': run.name, 'step': 24, 'curve_lines': 3}
    assert json.loads((run / 'environment.json').read_text())['lanes'] == 2


def test_train_and_validation_losses_agree_at_first(trained):
  for path in trained.glob('runs/*/curve.jsonl'):
    first = json.loads(path.read_text().splitlines()[0])
    assert first['train_loss'] == pytest.approx(first['domains']['markov']['loss'], abs=0.1)


def test_tensorboard_holds_the_same_numbers(trained):
  table = events.read_folder(str(trained / 'tensorboard'))
  assert not table.attrs['notes'] and table['run'].nunique() == 4
  for path in trained.glob('runs/*/curve.jsonl'):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = table[table['run'] == path.parent.name]
    assert rows['step'].tolist() == [line['step'] for line in lines]
    assert rows['loss/markov'].tolist() == pytest.approx(
        [line['domains']['markov']['loss'] for line in lines])


def test_status_and_plan_of_a_finished_study(trained, markov_store):
  status = json.loads(sweeps.sweep(trained, markov_store, '--mode=status', '--json',
                                   study=TINY).stdout)
  assert status['states'] == {'done': 4, 'running': 0, 'planned': 0, 'blocked': 0, 'failed': 0}
  assert all(row['step'] == 24 for row in status['runs'])
  plan = json.loads(sweeps.sweep(trained, markov_store, '--mode=plan', '--json',
                                 study=TINY).stdout)
  assert plan['runs_left'] == 0 and plan['seconds'] == 0
  assert plan['shapes'][0]['tokens_per_second'] > 0


def test_a_recorded_program_wins_over_the_flag(trained, markov_store, tmp_path):
  copy = tmp_path / 'w'
  shutil.copytree(trained, copy)
  shutil.rmtree(next((copy / 'runs').iterdir()))
  again = sweeps.sweep(copy, markov_store, study=(*TINY[:2], '--pack=4'))
  assert '--pack=4: this workdir trains the shape with 2' in again.stdout
  assert sweeps.curves(copy) == sweeps.curves(trained)


@pytest.mark.parametrize('keep, saves', [
    ('none', 0), pytest.param('all', 4, marks=pytest.mark.slow)])
def test_keep_decides_which_checkpoints_stay(markov_store, tmp_path, keep, saves):
  sweeps.sweep(tmp_path, markov_store, f'--keep={keep}', '--checkpoint_seconds=0', study=TINY)
  lists = [json.loads(p.read_text()) for p in tmp_path.glob('runs/*/checkpoints.json')]
  assert len(lists) == 4
  assert all(not entries if keep == 'none' else len(entries) >= 2 for entries in lists)
  assert len(list(tmp_path.glob('checkpoints/*'))) >= saves
  assert bool(list(tmp_path.glob('checkpoints/*'))) == bool(saves)


def test_checkpoints_of_one_shape_do_not_lie_over_anothers(markov_store, tmp_path):
  sweeps.sweep(tmp_path, markov_store, "--config.axes=('axis', 'base.model.width', (8, 16))",
               study=TINY)
  lists = list(tmp_path.glob('runs/*/checkpoints.json'))
  assert len(lists) == 2
  for path in lists:
    for entry in json.loads(path.read_text()):
      index = json.loads((tmp_path / entry['folder'] / 'index.json').read_text())
      assert index['runs'][path.parent.name]['step'] == entry['step']


def _other_tokenizer(store: pathlib.Path) -> None:
  path = store / 'symbols-64/markov/manifest.json'
  manifest = json.loads(path.read_text())
  path.write_text(json.dumps({**manifest, 'tokenizer': 'symbols-65', 'vocab_size': 65}))


def _truncate(store: pathlib.Path) -> None:
  path = store / 'symbols-64/markov/train.bin'
  path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize('name, flags, says', [
    ('no store', ('--store=/nowhere/tokens',), ('scaling.data.prepare', 'markov')),
    ('other tokenizer', (_other_tokenizer,), ('symbols-65',)),
    ('truncated store', (_truncate,), ('train.bin',)),
    ('workdir below a file', ('--workdir=/dev/null/w',), ('--workdir', '/dev/null/w')),
    ('no workdir', ('--workdir=',), ('--workdir',)),
    ('no bucket', ('--workdir=ftp://host/w',), ('--workdir', 'ftp://host/w', 's3://')),
    ('unknown field', ('--config.base.modle.width=3',), ('config.base.modle', 'model')),
    ('wrong type', ('--config.base.steps=many',), ('config.base.steps', 'many', 'int')),
    ('zero steps', ('--config.base.steps=0',), ('config.base.steps', '0')),
    ('heads', ('--config.base.model.heads=3',), ('config.base.model.heads', '3')),
    ('weights', ('--config.base.data.domains.markov.weight=0.5',), ('sum to 1',)),
    ('a flag against an axis', ('--config.base.seed=7',), ('config.base.seed', 'axis')),
    ('more than the data', ('--config.base.steps=100000000',), ('epoch',)),
    ('too many windows', ('--config.base.evaluation.windows=100000000',), ('windows',)),
    ('lanes', ('--pack=0',), ('--pack', '0')),
    ('lanes in another script', ('--pack=²',), ('--pack', '²')),
    ('more devices than there are', ('--mesh=data=2',), ('--mesh', 'data=2')),
    ('batch does not divide', ('--accumulation=3',), ('data.batch', '4')),
    ('status of nothing', ('--mode=status',), ('--workdir', 'nothing has been trained')),
    ('stray argument', ('run',), ("'run'",)),
])
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, markov_store, name, flags, says):
  store, workdir = tmp_path / 'tokens', tmp_path / 'w'
  given = [flag for flag in flags if isinstance(flag, str)]
  if len(given) < len(flags):
    shutil.copytree(markov_store, store)
    for damage in flags:
      damage(store)
  else:
    store.symlink_to(markov_store)
  failed = sweeps.sweep(workdir, str(store), *given, study=TINY, expect=2)
  lines = failed.stderr.strip().splitlines()
  assert len(lines) == 1 and lines[0].startswith('error: '), failed.stderr
  assert all(word in lines[0] for word in says), lines[0]
  assert not workdir.exists() or not list(workdir.rglob('*'))
