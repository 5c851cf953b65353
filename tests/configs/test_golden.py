"""Run ids, defaults and named configs stay as they are unless a change is meant."""

from __future__ import annotations

import dataclasses
import difflib
import json

import pytest

from scaling import specs
from tests.configs import golden


def _diff(old: str, new: str, name: str) -> str:
  return ''.join(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                      f'tests/golden/{name}', 'now', n=4))


@pytest.fixture(scope='module')
def now():
  return golden.files()


@pytest.mark.parametrize('name', ['defaults.json', 'run_ids.json', 'configs.json'])
def test_nothing_changed(name, now):
  old, new = (golden.FOLDER / name).read_text(), golden.text(now[name])
  if old != new:
    pytest.fail(f'{_diff(old, new, name)}\nIf this is meant: {golden.COMMAND}', pytrace=False)


def test_a_changed_default_is_caught(monkeypatch):
  """Although it changes no run id: a field at its default is not in the hash."""
  old = golden.files()

  @dataclasses.dataclass(frozen=True)
  class OptimSpec(specs.OptimSpec):
    b2: float = 0.99

  field = specs.RunSpec.__dataclass_fields__['optim']
  monkeypatch.setattr(specs.RunSpec.__init__, '__defaults__', tuple(
      OptimSpec() if isinstance(value, specs.OptimSpec) else value
      for value in specs.RunSpec.__init__.__defaults__))
  monkeypatch.setattr(field, 'default', OptimSpec())
  diff = _diff(golden.text(old['defaults.json']), golden.text(golden.files()['defaults.json']), '')
  assert '-  "b2": 0.95' in diff and '+  "b2": 0.99' in diff


def test_golden_specs_rebuild():
  for entry in json.loads((golden.FOLDER / 'run_ids.json').read_text()).values():
    spec = specs.from_dict(entry['spec'])
    assert specs.run_id(spec) == entry['run_id']
    assert specs.canonical(spec) == entry['spec']
