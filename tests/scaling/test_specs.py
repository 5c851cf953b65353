"""Specs: round trips, ids, and every check."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling import files, specs
from scaling.errors import InputError
from scaling.specs import (
  DataSpec,
  DomainSpec,
  EvalSpec,
  InitSpec,
  MixtureSpec,
  ModelSpec,
  OptimSpec,
  RunSpec,
  SparsitySpec,
)
from tests.conftest import ROOT

share = st.floats(0, 1, allow_nan=False)
positive = st.floats(1e-12, 1e6)
names = st.text('abcdefghijklmnopqrstuvwxyz_', min_size=1, max_size=8)


def infinite(schedule):
  """What the infinite schedule needs, and a warm-up that leaves room for it."""
  return ({'constant_lr': 1.0, 'cooldown_fraction': 0.25, 'warmup_fraction': 0.5}
          if schedule == 'infinite' else {})


models = st.builds(
    lambda heads, half, **fields: ModelSpec(heads=heads, width=2 * heads * half, **fields),
    heads=st.integers(1, 8), half=st.integers(1, 32), layers=st.integers(1, 20),
    feed_forward=st.none() | st.integers(1, 500), activation=st.sampled_from(specs.ACTIVATIONS),
    qk_norm=st.booleans(), tied_embeddings=st.booleans(), rope_base=positive,
    dtype=st.sampled_from(specs.DTYPES))


@st.composite
def data_specs(draw):
  domains = draw(st.lists(names, min_size=1, max_size=4, unique=True))
  parts = [draw(st.integers(0, 100)) for _ in domains]
  parts[0] += sum(parts) == 0
  return DataSpec(
      domains={name: DomainSpec(part / sum(parts), draw(st.none() | st.integers(1, 10**9)),
                                draw(st.text('0123456789abcdef', max_size=16)))
               for name, part in zip(domains, parts)},
      vocab_size=draw(st.integers(1, 10**5)), length=draw(st.integers(1, 4096)),
      batch=draw(st.integers(1, 4096)), tokenizer=draw(st.sampled_from(('bpe', 'symbols'))),
      tokenizer_corpora=draw(st.none() | st.just('a+b')))


optims = st.builds(
    lambda schedule, **fields: OptimSpec(**{'schedule': schedule, **fields, **infinite(schedule)}),
    peak_lr=positive, schedule=st.sampled_from(specs.SCHEDULES),
    warmup_fraction=st.none() | share, final_lr=st.floats(1e-3, 1), decay_fraction=share,
    b1=st.floats(0, 0.999), b2=st.floats(0, 0.999), eps=positive, weight_decay=positive,
    clip_norm=st.none() | positive)
runs = st.builds(RunSpec, model=models, data=data_specs(), optim=optims,
                 evaluation=st.builds(EvalSpec, points=st.integers(1, 20),
                                      windows=st.integers(1, 500)),
                 steps=st.integers(20, 10**7), seed=st.integers(0, 2**31 - 1))


def _shuffled(value: Any, random: Any) -> Any:
  if not isinstance(value, dict):
    return value
  items = [(k, _shuffled(v, random)) for k, v in value.items()]
  random.shuffle(items)
  return dict(items)


@settings(deadline=None)
@given(runs, st.randoms(use_true_random=False))
def test_a_spec_survives_its_json(spec, random):
  for values in (specs.canonical(spec), specs.to_dict(spec)):
    through = json.loads(json.dumps(_shuffled(values, random)))
    again = specs.from_dict(through)
    assert again == spec
    assert specs.run_id(again) == specs.run_id(spec)
    assert files.to_json(specs.canonical(again)) == files.to_json(specs.canonical(spec))


@settings(deadline=None)
@given(runs, runs)
def test_ids_tell_specs_apart(a, b):
  assert (specs.run_id(a) == specs.run_id(b)) == (a == b)


@settings(deadline=None)
@given(runs)
def test_an_id_is_16_hexadecimal_digits(spec):
  assert len(specs.run_id(spec)) == 16 and int(specs.run_id(spec), 16) >= 0


def test_the_order_of_domains_is_no_matter():
  a = {'data': {'domains': {'x': {'weight': 0.5}, 'y': {'weight': 0.5}}}}
  b = {'data': {'domains': {'y': {'weight': 0.5}, 'x': {'weight': 0.5}}}}
  assert specs.run_id(specs.from_dict(a)) == specs.run_id(specs.from_dict(b))


def test_int_and_float_spell_one_number():
  values = {'data': {'domains': {'x': {}}}, 'optim': {'weight_decay': 1}}
  as_float = {'data': {'domains': {'x': {}}}, 'optim': {'weight_decay': 1.0}}
  assert specs.run_id(specs.from_dict(values)) == specs.run_id(specs.from_dict(as_float))


def test_a_new_field_at_its_default_changes_no_id():
  @dataclasses.dataclass(frozen=True)
  class Newer(RunSpec):
    curriculum: str | None = None

  data = DataSpec(domains={'docs': DomainSpec()})
  assert specs.run_id(Newer(data=data)) == specs.run_id(RunSpec(data=data))
  assert specs.run_id(Newer(data=data, curriculum='x')) != specs.run_id(RunSpec(data=data))


def test_a_changed_meaning_changes_the_id():
  @dataclasses.dataclass(frozen=True)
  class Newer(RunSpec):
    VERSION = 2

  data = DataSpec(domains={'docs': DomainSpec()})
  assert specs.run_id(Newer(data=data)) != specs.run_id(RunSpec(data=data))
  assert specs.canonical(Newer(data=data))['version'] == 2


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 50))
def test_evaluations_end_at_the_last_step(steps, points):
  spec = RunSpec(steps=max(steps, points), evaluation=EvalSpec(points=points))
  found = spec.eval_steps
  assert len(set(found)) == points and found[-1] == spec.steps
  assert list(found) == sorted(found) and found[0] >= 1
  gaps = [b - a for a, b in zip((0, *found), found)]
  assert max(gaps) - min(gaps) <= 1


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 50), st.floats(1e-3, 30))
def test_decaying_evaluations_are_as_many_and_ever_further_apart(steps, points, decay):
  steps = max(steps, points)
  found = EvalSpec(points=points, spacing='decaying', decay=decay).steps(steps)
  assert len(set(found)) == points and found[-1] == steps and found[0] >= 1
  if points > 1 and points < steps / 100:  # Each where the density's integral says, rounded up.
    share = -math.log1p(-(1 - math.exp(-decay)) / points) / decay
    assert found[0] - share * steps < 1 + 1e-6 * steps
  gaps = [b - a for a, b in zip((0, *found), found)]
  assert min(gaps) >= 1
  assert all(b >= a - 1 for a, b in itertools.pairwise(gaps)) or min(gaps) == 1


def test_the_density_of_decaying_evaluations_falls_exponentially():
  found = EvalSpec(points=1000, spacing='decaying', decay=3.0).steps(10**7)
  halves = sum(s <= 5 * 10**6 for s in found) / 1000
  assert abs(halves - (1 - math.exp(-1.5)) / (1 - math.exp(-3))) < 2e-3


@pytest.mark.parametrize('path, value, message', [
    ('model.width', 0, 'base.model.width: 0 is not allowed; it must be positive'),
    ('model.width', 64.0, 'base.model.width: 64.0 is not allowed; it must be int, not float'),
    ('model.width', True, 'base.model.width: True is not allowed; it must be int, not bool'),
    ('model.heads', 3, 'base.model.heads: 3 is not allowed; 2 * heads must divide width = 64'),
    ('model.feed_forward', -1, 'base.model.feed_forward: -1 is not allowed'),
    ('model.activation', 'relu', "base.model.activation: 'relu' is not allowed; allowed are"),
    ('model.dtype', 'float16', "base.model.dtype: 'float16' is not allowed; allowed are float32"),
    ('model.depth', 3, 'base.model.depth: unknown field; allowed are activation'),
    ('model', 3, 'base.model: 3 is not allowed; it must be a group of fields'),
    ('data.domains', {}, 'base.data.domains: {} is not allowed; it must name at least one'),
    ('data.domains', {'a': {'weight': 0.4}, 'b': {'weight': 0.4}}, 'must sum to 1, these sum to'),
    ('data.domains', {'a': {'weight': 1.5}, 'b': {'weight': -0.5}}, 'it must lie in [0, 1]'),
    ('data.domains', {'a': {'weigth': 1.0}}, 'base.data.domains.a.weigth: unknown field'),
    ('data.domains', {'a': {'unique_tokens': 0}}, 'base.data.domains.a.unique_tokens: 0'),
    ('data.tokenizer', 'wordpiece', "base.data.tokenizer: 'wordpiece'"),
    ('data.tokenizer', 'bytes', 'base.data.vocab_size: 512 is not allowed; the bytes tokenizer'),
    ('data.length', 0, 'base.data.length: 0'),
    ('data.batch', -4, 'base.data.batch: -4'),
    ('optim.optimizer', 'sgd', "base.optim.optimizer: 'sgd'"),
    ('optim.schedule', 'step', "base.optim.schedule: 'step'"),
    ('optim.peak_lr', 0, 'base.optim.peak_lr: 0.0 is not allowed; it must be positive'),
    ('optim.peak_lr', math.nan, 'base.optim.peak_lr: nan is not allowed; it must be finite'),
    ('optim.peak_lr', None, 'base.optim.peak_lr: None is not allowed; it must be float'),
    ('optim.peak_lr', '1e-3', "base.optim.peak_lr: '1e-3' is not allowed; it must be float"),
    ('optim.b2', 1.0, 'base.optim.b2: 1.0 is not allowed; it must lie in [0, 1)'),
    ('optim.warmup_fraction', 1.5, 'base.optim.warmup_fraction: 1.5'),
    ('optim.warmup_steps', 1000, 'base.optim.warmup_steps: 1000 is not allowed; it must be below'),
    ('optim.warmup_steps', -1, 'base.optim.warmup_steps: -1'),
    ('optim', {'warmup_steps': 1, 'warmup_fraction': 0.1}, 'give it or warmup_steps (now 1)'),
    ('optim.clip_norm', 0, 'base.optim.clip_norm: 0.0'),
    ('optim.weight_decay', -0.1, 'base.optim.weight_decay: -0.1'),
    ('optim', {'schedule': 'infinite', 'cooldown_steps': 5}, 'base.optim.constant_lr: None'),
    ('optim', {'schedule': 'infinite', 'constant_lr': 0.5}, 'base.optim.cooldown_steps: None'),
    ('optim', {'schedule': 'infinite', 'constant_lr': 0.05, 'cooldown_steps': 5},
     'base.optim.final_lr: 0.1'),
    ('optim', {'schedule': 'infinite', 'constant_lr': 0.5, 'cooldown_steps': 990,
               'warmup_steps': 10}, 'base.optim.cooldown_steps: 990'),
    ('optim', {'schedule': 'infinite', 'constant_lr': 0.5, 'cooldown_fraction': 0.5,
               'warmup_fraction': 0.5}, 'base.optim.cooldown_fraction: 0.5'),
    ('optim.cooldown_fraction', 0.5, 'only the schedule infinite has it'),
    ('data.mixture', {'schedule': 'step'}, 'base.data.mixture.change_at: None'),
    ('data.mixture', {'change_at': 0.5}, 'base.data.mixture.change_at: 0.5'),
    ('data.mixture', {'schedule': 'step', 'change_at': 0.5}, 'domains.docs.late_weight: None'),
    ('data', {'domains': {'docs': {'late_weight': 1.0}},
              'mixture': {'schedule': 'step', 'change_at': 0.5}}, 'it changes nothing'),
    ('data.mixture', {'temperature': 5.0}, 'only the schedule temperature has temperatures'),
    ('data.domains.docs.late_weight', 0.5, 'only the mixture schedule step has it'),
    ('evaluation.decay', 31.0, 'base.evaluation.decay: 31.0'),
    ('init', {'run': '0' * 16, 'step': 5, 'schedule': True, 'schedule_step': 5},
     'base.init.schedule_step: 5'),
    ('evaluation.spacing', 'odd', "base.evaluation.spacing: 'odd'"),
    ('evaluation.final_windows', 256, 'base.evaluation.final_windows: 256'),
    ('init.run', 'abc', "base.init.run: 'abc' is not allowed; it must be a run id"),
    ('init.optimizer', True, 'base.init.optimizer: True is not allowed; it has no effect without'),
    ('init', {'run': '0' * 16, 'step': 0}, 'base.init.step: 0'),
    ('evaluation.points', 0, 'base.evaluation.points: 0'),
    ('evaluation.points', 1001, 'base.evaluation.points: 1001 is not allowed; it must not exceed'),
    ('evaluation.windows', 0, 'base.evaluation.windows: 0'),
    ('steps', 0, 'base.steps: 0'),
    ('seed', -1, 'base.seed: -1'),
    ('seed', 2**31, 'base.seed: 2147483648'),
    ('version', 2, 'base.version: 2 is not allowed; this code knows version 1'),
])
def test_bad_fields(path, value, message):
  values: dict[str, Any] = {'data': {'domains': {'docs': {}}}}
  here, parts = values, path.split('.')
  for part in parts[:-1]:
    here = here.setdefault(part, {})
  here[parts[-1]] = value
  with pytest.raises(InputError) as caught:
    specs.from_dict(values)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_the_documents_list_every_field_and_default():
  text = (ROOT / 'docs' / 'specs.md').read_text()
  for kind in (RunSpec, ModelSpec, DataSpec, DomainSpec, MixtureSpec, OptimSpec, EvalSpec, InitSpec,
               SparsitySpec):
    for field in dataclasses.fields(kind):
      if dataclasses.is_dataclass(field.default):
        continue
      default = {} if field.default is dataclasses.MISSING else field.default
      row = rf'\| `{field.name}` \| [\w ]+ \| `{re.escape(repr(default))}` \| '
      assert re.search(row, text), f'{kind.__name__}.{field.name} = {default!r}'
