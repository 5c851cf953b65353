"""Reading the run store where another hand has been at it."""

import json

import pytest

from scaling import plans, runs

SHARED = {'metrics': {}, 'drawn': [1], 'loss_sum': 5, 'loss_count': 2}


@pytest.mark.parametrize('name, rest', [('a', {'domains': {}}), (f'{runs.PREFIX}a', SHARED)])
def test_a_curve_ends_before_what_is_not_a_line(tmp_path, name, rest):
  run = runs.Run(str(tmp_path), name)
  path = tmp_path / ('runs' if name == 'a' else 'prefixes') / name / 'curve.jsonl'
  path.parent.mkdir(parents=True)
  lines = [{'step': step, **rest} for step in (10, 20, 30)]
  first, second, third = (json.dumps(line).encode() + b'\n' for line in lines)
  path.write_bytes(first + second + third)
  assert run.curve() == lines
  for other in (b'[10]', b'7', b'null', b'{', b'{"step": "20"}', b'{"step": 20}', b'[' * 10**5,
                json.dumps({**lines[1], 'step': 20.0}).encode()):
    path.write_bytes(first + other + b'\n' + third)
    assert run.curve() == lines[:1], other
  path.write_bytes(first + b'\xff\xfe\n' + third)
  assert run.curve() == []


def test_a_speed_is_that_of_the_entries_that_can_be_read(tmp_path):
  workdir = str(tmp_path)
  assert plans.recorded_speed(workdir, ['a', 'b']) is None
  for name, text in (('a', b'{"tokens": 50, "seconds": {"compile": 9, "train": 2}}\n'
                      b'{"seconds": {"train": 1}}\n[]\n{"tokens": 1, "seconds": 3}\n'
                      b'{"tokens": "x", "seconds": {"train": 1}}\n{"tokens": 30, "sec'),
                     ('b', b'\xff\n')):
    (tmp_path / 'runs' / name).mkdir(parents=True)
    (tmp_path / 'runs' / name / 'timing.jsonl').write_bytes(text)
  assert plans.recorded_speed(workdir, ['a', 'b', 'c']) == 25.0
