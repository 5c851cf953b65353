"""Mistakes on the command line end in one line and exit code 2, as processes show."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TINY, QUICKSTART = '--config=configs/tiny.py', '--config=configs/quickstart.py'

FILES = {
    'syntax.py': 'def get_config(:\n  pass\n',
    'no_function.py': 'x = 1\n',
    'no_return.py': 'def get_config():\n  pass\n',
    'a_dict.py': 'def get_config():\n  return {"base": 1}\n',
    'typo.py': 'from scaling import study\n\n\ndef get_config():\n'
               '  config = study.new_config("typo", {"docs": 1.0})\n'
               '  config.base.modle.width = 3\n  return config\n',
    'wrong_type.py': 'from scaling import study\n\n\ndef get_config():\n'
                     '  config = study.new_config("typo", {"docs": 1.0})\n'
                     '  config.base.steps = "many"\n  return config\n',
    'import.py': 'import there_is_no_such_module\n',
    'reads.py': 'def get_config():\n  return open("/there/is/no/such/file")\n',
}

# name: (arguments, what the line on stderr holds)
BAD = {
    'no config': ([], ['--config', 'must be given']),
    'missing file': (['--config=nope.py'], ['--config', "'nope.py'", 'no such file']),
    'a folder': (['--config=configs'], ['--config', "'configs'", 'Python file']),
    'empty path': (['--config='], ['--config', "''"]),
    'syntax error': (['--config=DIR/syntax.py'], ['syntax.py', 'line 1', 'invalid syntax']),
    'no get_config': (['--config=DIR/no_function.py'], ['no_function.py', 'no get_config()']),
    'no return': (['--config=DIR/no_return.py'], ['no_return.py', 'must return a ConfigDict']),
    'no return, a field': (['--config=DIR/no_return.py', '--config.base.steps=3'],
                           ['no_return.py', 'must return a ConfigDict']),
    'another type': (['--config=DIR/a_dict.py'], ['must return a ConfigDict', 'dict']),
    'typo in the file': (['--config=DIR/typo.py'], ['typo.py', 'line 6', 'modle']),
    'type in the file': (['--config=DIR/wrong_type.py'], ['wrong_type.py', 'line 6', 'steps']),
    'broken import': (['--config=DIR/import.py'], ['import.py', 'line 1', 'no_such_module']),
    'reads a missing file': (['--config=DIR/reads.py'], ['reads.py', 'line 2', '/there/is/no']),
    'argument not taken': ([TINY + ':x'], ['configs/tiny.py', "the argument 'x'"]),
    'bad argument': (['--config=configs/markov.py:huge'], ["'huge'", 'allowed are full, tiny']),
    'unknown field': ([TINY, '--config.base.modle.width=3'],
                      ['config.base.modle', 'unknown field', 'did you mean model', 'optim']),
    'unknown leaf': ([TINY, '--config.base.model.widht=3'],
                     ['config.base.model.widht', 'did you mean width']),
    'below a value': ([TINY, '--config.base.steps.x=3'], ['config.base.steps.x', 'holds a value']),
    'unknown domain': ([TINY, '--config.base.data.domains.docs.weight=1'],
                       ['config.base.data.domains.docs', 'allowed are markov']),
    'not a path': ([TINY, '--config.base..steps=3'], ['config.base..steps', 'is written as']),
    'wrong type': ([TINY, '--config.base.steps=abc'], ['config.base.steps', "'abc'", 'int']),
    'a float for an int': ([TINY, '--config.base.steps=2.5'], ['config.base.steps', "'2.5'"]),
    'wrong type, None-able': ([TINY, '--config.base.model.feed_forward=9.5'],
                              ['config.base.model.feed_forward', '9.5', 'int or None']),
    'text for a float': ([TINY, '--config.base.optim.warmup_fraction=some'],
                         ['config.base.optim.warmup_fraction', "'some'", 'float or None']),
    'a group set to a value': ([TINY, '--config.base=5'], ['config.base', "'5'"]),
    'zero': ([TINY, '--config.base.data.batch=0'], ['config.base.data.batch', '0', 'positive']),
    'negative': ([TINY, '--config.base.model.width=-8'], ['config.base.model.width', '-8']),
    'heads': ([TINY, '--config.base.model.heads=3'], ['config.base.model.heads', '3', 'divide']),
    'weights': ([TINY, '--config.base.data.domains.markov.weight=0.5'],
                ['config.base.data.domains', '0.5', 'sum to 1']),
    'unknown choice': ([TINY, '--config.base.optim.schedule=cosin'],
                       ['config.base.optim.schedule', "'cosin'", 'wsd']),
    'a flag against an axis': ([TINY, '--config.base.seed=3'],
                               ['--config.base.seed', '3', 'an axis sets base.seed']),
    'a flag against the size': ([QUICKSTART, '--config.base.model.width=32'],
                                ['--config.base.model.width', '32', 'config.size sets it']),
    'a flag against the tokens': ([QUICKSTART, '--config.base.steps=5'],
                                  ['--config.base.steps', '5', 'config.tokens sets it']),
    'more than the data': ([TINY, '--config.base.steps=1000000000'],
                           ['config.base.steps', '1000000000', 'epochs', 'max_epochs is 1']),
    'nan': ([TINY, '--config.max_epochs=nan'], ['config.max_epochs', 'nan', 'positive']),
    'a name that is no file name': ([TINY, '--config.name=../x'], ['config.name', "'../x'"]),
    'field before config': (['--config.base.steps=5', TINY],
                            ['--config.base.steps=5', 'must be given before']),
    'unknown flag': ([TINY, '--wrkdir=/tmp'], ['wrkdir', 'workdir']),
    'bad choice of a flag': ([TINY, '--fail=maybe'], ['--fail', 'maybe', 'input']),
    'positional': ([TINY, 'steps=3'], ["'steps=3'", 'unexpected']),
    'no value': ([TINY, '--config.base.steps'], ['--config.base.steps']),
    'missing folder': ([TINY, '--workdir=/there/is/none'], ['/there/is/none', 'No such file']),
    'an input error of two lines': ([TINY, '--fail=input'], ['some input']),
}

GOOD = {
    'help': [TINY, '--help'],
    'as it is': [TINY],
    'int for a float': [TINY, '--config.base.optim.weight_decay=1'],
    'a fraction for None': [TINY, '--config.base.optim.warmup_fraction=0.1'],
    'an int for None': [TINY, '--config.base.model.feed_forward=96'],
    'None for a number': [TINY, '--config.base.optim.clip_norm=None'],
    'exponent': [TINY, '--config.base.optim.eps=1e-7'],
    'a space in place of =': [TINY, '--config.base.steps', '30'],
    'bool': [TINY, '--config.base.model.qk_norm'],
    'size': [TINY, '--config.size=2e4'],
    'tokens': [TINY, '--config.tokens=12800'],
    'ladder': [QUICKSTART, '--config.ladder.peak_lr=2e-3'],
    'domain by name': [TINY, '--config.base.data.domains.markov.unique_tokens=1000000'],
    'domain by subscript': [TINY, "--config.base.data.domains['markov'].weight=1"],
    'axes': [TINY, "--config.axes=('axis', 'base.seed', (1, 2, 3))"],
    'no axes': [TINY, '--config.axes=None'],
    'argument': ['--config=configs/markov.py:tiny'],
    'an exit code': [TINY, '--fail=code'],
    'a bug': [TINY, '--fail=bug'],
}


@pytest.fixture(scope='module')
def results(tmp_path_factory) -> dict[str, tuple[int, str, str]]:
  """Every case as a process of its own, forked from one that has done the imports."""
  folder = tmp_path_factory.mktemp('configs')
  for name, text in FILES.items():
    (folder / name).write_text(text)
  arguments = {**{name: given for name, (given, _) in BAD.items()}, **GOOD}
  cases = [[a.replace('DIR', str(folder)) for a in given] for given in arguments.values()]
  done = subprocess.run([sys.executable, '-m', 'tests.scaling.probe', 'cases'], cwd=ROOT, text=True,
                        input=json.dumps(cases), capture_output=True, check=True)
  assert [p.name for p in folder.iterdir() if p.name not in {*FILES, '__pycache__'}] == []
  return dict(zip(arguments, map(tuple, json.loads(done.stdout))))


@pytest.mark.parametrize('name', BAD)
def test_a_mistake_is_one_line_and_code_2(name, results):
  code, out, err = results[name]
  assert code == 2, err
  assert out == ''
  assert 'Traceback' not in err
  assert err.count('\n') == 1 and err.endswith('\n'), err
  for part in BAD[name][1]:
    assert part in err, err


@pytest.mark.parametrize('name', [n for n in GOOD if n not in ('help', 'an exit code', 'a bug')])
def test_what_is_allowed_works(name, results):
  code, out, err = results[name]
  assert (code, err) == (0, '')
  assert len(out.split()) >= 1


def test_flags_change_what_they_say(results):
  """None of the good changes gives the runs of the unchanged config; two spellings of 1 do."""
  unchanged = results['as it is'][1]
  assert results['domain by subscript'][1] == unchanged
  assert results['axes'][1].count('\n') == 3 and results['no axes'][1].count('\n') == 1
  for name in ('int for a float', 'a fraction for None', 'an int for None', 'None for a number',
               'exponent', 'a space in place of =', 'bool', 'size', 'tokens'):
    assert not set(results[name][1].split()) & set(unchanged.split()), name


def test_help_lists_the_flags(results):
  code, out, _ = results['help']
  assert code == 0 and '--config' in out


def test_the_code_of_main_is_the_exit_code(results):
  assert results['an exit code'] == (3, '', '')


def test_a_bug_keeps_its_traceback(results):
  code, _, err = results['a bug']
  assert code == 1 and 'Traceback' in err and 'ZeroDivisionError: a bug' in err


def _module(*arguments: str, **options) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, '-m', 'tests.scaling.probe', *arguments], cwd=ROOT,
                        text=True, capture_output=True, **options)


def test_as_a_user_starts_it(tmp_path: pathlib.Path):
  """Three of the cases without the forks, and a file where there is one already."""
  assert _module(TINY).returncode == 0
  bad = _module(TINY, '--config.base.steps=0')
  assert (bad.returncode, bad.stderr.count('\n')) == (2, 1)
  assert _module(TINY, f'--workdir={tmp_path}').returncode == 0
  again = _module(TINY, f'--workdir={tmp_path}')
  assert again.returncode == 2 and again.stderr == f'error: {tmp_path}/study.json: File exists\n'


def test_a_full_disk_is_code_1():
  """/dev/full refuses every write: what had been finished is not bad input."""
  program = ('import sys; from scaling import cli\n'
             'def main(argv):\n  with open("/dev/full", "w") as file: file.write("x")\n'
             'sys.argv = ["x"]; cli.run(main)\n')
  done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, text=True, capture_output=True)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and 'no room left' in done.stderr
  assert done.stderr.count('\n') == 1
