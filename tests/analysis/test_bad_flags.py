"""Bad input to every command: exit code 2 and one line, no traceback."""

import os

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from analysis import fit, laws
from tests.analysis import sparse_runs
from tests.analysis.commands import run
from tests.analysis.law_cases import CASES, grid

PLACES = ['', '/nowhere/a.png', 'FOLDER', 'a.png/b.png']  # where nothing can be written
COMMANDS = {
    'fit': ['--data=RUNS', '--bootstrap=0'],
    'predict': ['--fit=FIT', '--N=1e8', '--D=1e9'],
    'compare': ['--data=RUNS', '--laws=chinchilla', '--bootstrap=0'],
    'report': ['--fit=FIT'],
    'isoflop': ['--data=RUNS'],
    'stepwise': ['--data=CURVES', '--bootstrap=0'],
    'curves': ['--folder=FOLDER', '--fit=curve.csv=cosine:100:1e-3'],
    'ladder': ['--loss_fit=FIT', '--accuracy_fit=ACCURACY', '--N=1e8', '--D=1e9'],
    'vocabulary': ['--data=VOCABULARY', '--approach=2', '--bootstrap=0'],
    'mixture': ['--fit=MIXTURE', '--flops=1e18', '--r=.5'],
    'offset': ['--data=MIXING'],
    'sparse': ['--data=SPARSE', '--bootstrap=0'],
}
OWN = {
    'fit': ['--law=none', '--rows=all', '--after=peak', '--format=xml', '--columns=N',
            '--columns=Q=N',
            '--where=N >',
            '--where=N > 1e30', '--group=none', '--hold_out=N > 0', '--weight=-N',
            '--best_over=none',
            '--seed=none', '--resample=none', '--fix=Z=1', '--fix=alpha=-5', '--fix=A=x', '--tie=A',
            '--objective=best', '--huber_delta=-1', '--huber_delta=nan', '--bootstrap=1',
            '--bootstrap=-1', '--bootstrap=x', '--level=2', '--level=0', '--level=nan',
            '--interval=none', '--stratify=none', '--test=Z=1', '--test=alpha=9', '--validate=none',
            '--nothing=1', '--logs=x', '--data='],
    'predict': ['--fit=none', '--fit=', '--fit=FOLDER', '--fit=RUNS', '--N=-1', '--N=nan', '--N=x',
                '--D=0', '--r=.5', '--flops=1e20', '--resamples=3', '--resamples=-1'],
    'compare': ['--laws=', '--laws=none', '--data=none', '--columns=Z=N', '--where=N > 1e30',
                '--group=none', '--hold_out=N > 0', '--splits=none', '--folds=1',
                '--objective=best',
                '--bootstrap=1', '--bootstrap=-1', '--logs=x'],
    'report': ['--fit=none', '--fit=RUNS', '--logs=none', '--mark=A', '--mark=x: A=b',
               '--formats=bmp',
               '--domain=none'],
    'isoflop': ['--data=none', '--format=xml', '--columns=Z=N', '--where=N > 1e30', '--group=none',
                '--best_over=none', '--seed=none', '--approach=none', '--minimum=none',
                '--window=1',
                '--window=nan', '--tolerance=-1', '--noise=2', '--interval=none', '--draws=1',
                '--level=2', '--flops=0', '--flops=x', '--rows=all', '--approach=envelope'],
    'stepwise': ['--data=none', '--format=xml', '--columns=Z=N', '--where=N > 1e30',
                 '--hold_out=N > 0',
                 '--group=none', '--warmup=-1', '--tail=1', '--converged=0', '--levels=1',
                 '--bootstrap=1', '--level=1', '--N=0', '--B=-1', '--S=nan', '--loss=inf',
                 '--logs=x'],
    'curves': ['--fit=none', '--fit=none.csv=cosine:1:1', '--predict=none.csv=cosine:9:1',
               '--fit=curve.csv=sine:100:1e-3', '--rank=a', '--rank=a=b', '--schedules=none.json',
               '--schedules=RUNS.json', '--columns=Z=step', '--where=step > 1e30', '--params=none',
               '--params=L0=1', '--fix=Z=1', '--fix=beta=1e9', '--objective=best',
               '--huber_delta=0', '--huber_delta=nan', '--logs=none'],
    'ladder': ['--loss_fit=none', '--accuracy_fit=none', '--accuracy_fit=FIT', '--N=-1', '--N=nan',
               '--D=x', '--r=.5', '--loss_fit=FOLDER', '--level=2', '--level=0'],
    'vocabulary': ['--data=none', '--columns=Z=V', '--where=V > 1e30', '--approach=4',
                   '--tokens_from_chars_mode=x', '--params=x', '--params=-1', '--flops=0',
                   '--params=1e9 --flops=1,2', '--min_flops=-1', '--anchor_flops=0',
                   '--anchor_flops=1e30', '--sizes=', '--sizes=1e9', '--sizes=x', '--tie=A=B',
                   '--bootstrap=1', '--bootstrap=-5', '--level=2'],
    'mixture': ['--fit=none', '--fit=FIT', '--flops=-1', '--flops=nan', '--flops=x', '--r=2',
                '--r=nan', '--N=1e9', '--domain_tokens=1e9', '--general=MIXTURE',
                '--max_general_rise=.1'],
    'offset': ['--data=none', '--columns=Z=r', '--where=r > 9', '--points=0', '--points=-1',
               '--points=x', '--columns=r=1', '--columns=loss=-1'],
    'sparse': ['--data=none', '--data=RUNS', '--columns=Z=N', '--columns=N_initial=-N',
               '--where=D > 1e30', "--where=kind == 'dense'", "--where=kind == 'sparse'",
               '--count=all', '--folds=1', '--tolerance=-1', '--tolerance=nan', '--bootstrap=1',
               '--level=2', '--plot_dir=a.png', '--plot_dir=', '--formats=bmp', '--domain=none',
               '--logs=x', '--study=x'],
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Small data and fits for every command."""
  path = tmp_path_factory.mktemp('inputs')
  os.mkdir(path / 'folder')
  law = laws.get('chinchilla')
  x = grid(N=np.geomspace(1e7, 1e9, 4), D=np.geomspace(1e8, 1e10, 4))
  y = law.predict(CASES['chinchilla'].truth, x)
  pd.DataFrame({**x, 'C': 6 * x['N'] * x['D'], 'loss': y}).to_csv(path / 'runs.csv', index=False)
  fit.fit(law, x, y, bootstrap=0).save(f'{path}/fit.json')
  losses = {'task_loss': np.linspace(0.4, 3, 9)}
  step = laws.get('sigmoid_accuracy')
  fit.fit(step, losses, step.predict({'a': -0.6, 'b': 0.9, 'k': 5.0, 'x0': 0.95}, losses),
          bootstrap=0).save(f'{path}/accuracy.json')
  case = CASES['dcpt']
  values = laws.get('dcpt').predict(case.truth, case.inputs)
  fit.fit(laws.get('dcpt'), case.inputs, values, bootstrap=0).save(f'{path}/mixture.json')
  case = CASES['trajectory']
  pd.DataFrame({**case.inputs, 'loss': laws.get('trajectory').predict(case.truth, case.inputs)}
               ).to_csv(path / 'curves.csv', index=False)
  n, V, at = (v.ravel() for v in np.meshgrid([33e6, 85e6, 151e6], [4e3, 1e4, 3e4],
                                             [0.2, 0.5, 1.0]))
  pd.DataFrame({'N_nv': n, 'V': V, 'H': 100 * n * at,
                'loss_unigram': -3 - at + 1e6 / n}).to_csv(path / 'vocabulary.csv', index=False)
  r = np.linspace(0, 1, 6)
  pd.DataFrame({'r': r, 'loss': 2 + np.exp(-2 * r)}).to_csv(path / 'mixing.csv', index=False)
  sparse_runs.table(0.5, seeds=1).to_csv(path / 'sparse.csv', index=False)
  steps = np.arange(10, 101, 10)
  pd.DataFrame({'step': steps, 'loss': 2 + 5 / steps}).to_csv(path / 'folder' / 'curve.csv',
                                                              index=False)
  return path


def at(folder, text):
  for name in ('RUNS', 'CURVES', 'VOCABULARY', 'MIXING', 'SPARSE'):
    text = text.replace(name, f'{folder}/{name.lower()}.csv')
  for name in ('FIT', 'ACCURACY', 'MIXTURE'):
    text = text.replace(name, f'{folder}/{name.lower()}.json')
  return text.replace('FOLDER', f'{folder}/folder')


def bad(name):
  yield from (f'--{flag}={place}' for flag in OUTPUTS[name] for place in PLACES)
  yield from OWN[name]


OUTPUTS = {'fit': ['out'], 'compare': ['out', 'plot'], 'report': ['out'],
            'isoflop': ['out', 'plot'], 'stepwise': ['out'], 'curves': ['out', 'plot'],
            'vocabulary': ['out'], 'mixture': ['out', 'plot'], 'predict': [], 'ladder': [],
            'offset': [], 'sparse': ['out']}


@pytest.mark.parametrize('name', COMMANDS)
def test_bad_input_is_one_line_and_exit_code_2(folder, name, monkeypatch):
  monkeypatch.chdir(folder)
  (folder / 'a.png').write_text('')
  wrong = []
  for text in bad(name):
    arguments = [at(folder, a) for a in (*COMMANDS[name], *text.split(' --'))]
    arguments = [a if a.startswith('--') else f'--{a}' for a in arguments]
    try:
      done = run(f'analysis.{name}', *arguments)
    except Exception as error:  # every mistake of a command is shown at once
      wrong.append(f'{text}: {type(error).__name__}: {error}'[:300])
      continue
    flag = text.split('=')[0]
    err = done.stderr
    if done.returncode != 2 or len(err.strip().splitlines()) != 1:
      wrong.append(f'{text}: exit code {done.returncode}, {err.strip()[:300]!r}')
    elif flag in ('--out', '--plot') and flag not in err:
      wrong.append(f'{text}: names another flag: {err}')
  assert not wrong, '\n'.join(wrong)


VALUES = st.one_of(st.sampled_from(['', '0', '-1', '1', '2', 'nan', 'inf', '-inf', '1e308',
                                    '1e400', 'x', 'N', 'N=1', 'N=', '=', ',', 'a,b', '.', '/', "'",
                                    'alpha=1', 'E=nan', 'beta=alpha', 'loss > 2', '__import__']),
                   st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=6))
RANDOM = {'fit': ['columns', 'where', 'weight', 'fix', 'tie', 'test', 'level', 'huber_delta'],
          'predict': ['N', 'D', 'flops', 'resamples'], 'mixture': ['flops', 'r', 'N'],
          'ladder': ['N', 'D', 'level'], 'offset': ['columns', 'where'],
          'isoflop': ['columns', 'where', 'window', 'tolerance', 'noise', 'level', 'flops'],
          'vocabulary': ['columns', 'where', 'params', 'flops', 'anchor_flops', 'level', 'sizes']}


@hypothesis.settings(max_examples=100, deadline=None, database=None, derandomize=True,
                     suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(data=st.data())
def test_any_flag_value_is_taken_or_refused_in_one_line(folder, data):
  name = data.draw(st.sampled_from(sorted(RANDOM)))
  flag, value = data.draw(st.sampled_from(RANDOM[name])), data.draw(VALUES)
  done = run(f'analysis.{name}', *(at(folder, a) for a in COMMANDS[name]), f'--{flag}={value}')
  assert done.returncode in (0, 2)
  assert done.returncode == 0 or len(done.stderr.strip().splitlines()) == 1
