"""Studies: rules, conflicts, what the stores can give, and what is refused."""

from __future__ import annotations

import functools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from scaling import accounting, grid, specs, study
from scaling.errors import InputError
from scaling.grid import axis, product, zip_
from scaling.model import sizes
from tests.scaling import probe
from tests.scaling.probe import stores


def config(**fields: Any) -> ConfigDict:
  made = study.new_config('some', {'docs': 1.0})
  for path, value in fields.items():
    made[path] = value
  return made


def two_domains() -> ConfigDict:
  return study.new_config('two', {'docs': 0.5, 'code': 0.5})


def build(made: ConfigDict, overrides: dict[str, Any] | None = None, **store: Any) -> study.Study:
  return study.build(made, overrides or {}, functools.partial(stores, **store))


def test_the_base_config_is_the_default_run():
  values = study.base_config({'docs': 1.0}).to_dict()
  domains = {'docs': specs.DomainSpec()}
  assert specs.from_dict(values) == specs.RunSpec(data=specs.DataSpec(domains=domains))
  assert values == specs.to_dict(specs.from_dict(values))


def test_a_study_of_one_run():
  built = build(config(laws=('chinchilla',)))
  assert (built.name, built.laws, len(built.runs)) == ('some', ('chinchilla',), 1)
  run = built.runs[0]
  assert run.point == {} and not run.held_out
  assert run.run_id == specs.run_id(run.spec)
  assert run.spec.data.domains['docs'].fingerprint == '0123456789abcdef'


def test_axes_and_held_out_runs():
  built = build(config(axes=product(axis('base.seed', (0, 1)), axis('base.steps', (100, 200))),
                       held_out=axis('base.steps', (400,))))
  assert [(r.spec.seed, r.spec.steps, r.held_out) for r in built.runs] == [
      (0, 100, False), (0, 200, False), (1, 100, False), (1, 200, False), (0, 400, True)]
  assert built.runs[3].point == {'base.seed': 1, 'base.steps': 200}


def test_equal_specs_are_one_run():
  built = build(config(axes=axis('base.seed', (0, 1, 0)), tokens=1_024_000))
  assert [r.spec.seed for r in built.runs] == [0, 1]
  assert build(config(base=study.base_config({'docs': 1.0}), axes=axis('base.steps', (500,)),
                      )).runs[0].run_id == build(config(tokens=1_024_000)).runs[0].run_id


def test_the_name_and_the_axes_are_not_in_the_id():
  a = build(config(name='a', axes=axis('base.seed', (3,))))
  b = config(name='b')
  b.base.seed = 3
  assert a.runs[0].run_id == build(b).runs[0].run_id


def test_a_size_sets_shape_batch_and_learning_rate():
  for size in (6e3, 6e4, 1e6):
    spec = build(config(size=size)).runs[0].spec
    count = accounting.non_embedding(spec.model)
    assert spec.model == sizes.shape(size)
    assert spec.data.batch == sizes.CPU.batch(count, spec.data.length)
    assert spec.optim.peak_lr == sizes.CPU.learning_rate(count)


def test_a_size_follows_the_rest_of_the_model():
  made = config(axes=product(axis('size', (2e4, 6e4)), axis('base.model.feed_forward', (None, 64)),
                             axis('base.data.length', (64, 128))))
  for run in build(made).runs:
    model, target = run.spec.model, run.point['size']
    assert model.feed_forward == run.point['base.model.feed_forward']
    assert accounting.non_embedding(model) == pytest.approx(target, rel=0.35)
    assert run.spec.data.tokens_per_step == 512


def test_an_axis_takes_the_place_of_a_rule():
  built = build(config(axes=product(axis('size', (6e3, 2e4)),
                                    axis('base.optim.peak_lr', (1e-3, 2e-3)))))
  assert [r.spec.optim.peak_lr for r in built.runs] == [1e-3, 2e-3] * 2
  assert len({r.spec.model for r in built.runs}) == 2


def test_a_flag_may_set_the_ladder():
  made = config(size=200_000)
  made.ladder.peak_lr = 1e-3
  made.ladder.smallest_batch_tokens = 2048.0
  spec = build(made, {'ladder.peak_lr': 1e-3}).runs[0].spec
  count = accounting.non_embedding(spec.model)
  assert spec.optim.peak_lr == pytest.approx(1e-3 * (count / 2e5) ** (-1 / 3), rel=5e-3)
  assert spec.data.tokens_per_step == 2048


@settings(deadline=None)
@given(st.integers(10_000, 2_000_000), st.sampled_from([1, 4, 16]), st.sampled_from([32, 128]))
def test_tokens_set_the_steps(tokens, batch, length):
  made = config(tokens=tokens)
  made.base.data.batch, made.base.data.length = batch, length
  made.base.evaluation.points = 1
  spec = build(made).runs[0].spec
  assert abs(spec.tokens - tokens) <= batch * length / 2


def test_a_mixture_as_an_axis():
  made = two_domains()
  made.axes = zip_(axis('base.data.domains.docs.weight', (0.2, 1.0)),
                   axis('base.data.domains.code.weight', (0.8, 0.0)))
  weights = [{n: d.weight for n, d in r.spec.data.domains.items()} for r in build(made).runs]
  assert weights == [{'code': 0.8, 'docs': 0.2}, {'code': 0.0, 'docs': 1.0}]
  bundled = two_domains()
  bundled.axes = axis('base.data.domains', [{'docs.weight': 0.2, 'code.weight': 0.8},
                                            {'docs': {'weight': 1.0}, 'code': {'weight': 0.0}}])
  assert [r.run_id for r in build(bundled).runs] == [r.run_id for r in build(made).runs]


def test_a_function_as_a_condition_is_only_used_to_build():
  made = config(axes=grid.where(axis('base.seed', range(6)), lambda p: p['base.seed'] % 2))
  assert [r.spec.seed for r in build(made).runs] == [1, 3, 5]


def test_a_store_is_opened_once_a_tokenizer():
  opened = []

  def counting(spec):
    opened.append(spec.data.vocab_size)
    return stores(spec)

  vocabularies = axis('base.data.vocab_size', (512, 1024))
  made = config(axes=product(axis('base.seed', range(10)), vocabularies))
  study.build(made, {}, counting)
  assert sorted(opened) == [512, 1024]


def test_max_epochs_lets_data_repeat():
  tokens = 12_000_000  # of a store of 9,000,000
  with pytest.raises(InputError, match=r'config\.base\.steps: .*1\.33 epochs.*max_epochs is 1'):
    build(config(tokens=tokens))
  assert build(config(tokens=tokens, max_epochs=2)).runs[0].spec.steps == round(tokens / 2048)


def test_epochs_are_counted_of_the_unique_tokens_and_the_weight():
  made = two_domains()
  made.tokens = 1_000_000
  made.base.data.domains.docs.unique_tokens = 600_000
  build(made)  # half of it is 500,000 tokens of docs
  made.base.data.domains.docs.unique_tokens = 400_000
  with pytest.raises(InputError, match=r'499,712 tokens of docs are 1\.25 epochs of 399,872'):
    build(made)


def _changed(path: str, value: Any, made: ConfigDict | None = None) -> ConfigDict:
  made = made or config()
  here, parts = made, path.split('.')
  for part in parts[:-1]:
    here = here[part]
  here[parts[-1]] = value
  return made


BAD = {
    'unknown path of an axis': (
        config(axes=axis('base.model.depth', (1,))),
        r'config\.base\.model\.depth: unknown field, set by an axis \(base\.model\.depth\); '
        r'allowed are activation'),
    'without base': (config(axes=axis('model.width', (8,))),
                     r'config\.model: unknown field.*allowed are base, size, tokens'),
    'path of a group': (config(axes=axis('base.model', (3,))), r'config\.base\.model: an axis'),
    'path below a value': (config(axes=axis('base.seed.x', (3,))), r'config\.base\.seed\.x'),
    'unknown domain of an axis': (config(axes=axis('base.data.domains.code.weight', (1.0,))),
                                  r'config\.base\.data\.domains\.code: unknown field'),
    'impossible value of an axis': (
        config(axes=axis('base.data.batch', (4, 0))),
        r'config\.base\.data\.batch: 0 is not allowed; it must be positive \(at base\.data\.b'),
    'wrong type of an axis': (config(axes=axis('base.seed', (1, 2.5))),
                              r'config\.base\.seed: 2\.5 is not allowed; it must be int'),
    'list for a number': (config(axes=axis('base.seed', ([1],))), r'config\.base\.seed: \[1\]'),
    'list in a shape': (config(size=2e4, axes=axis('base.model.feed_forward', ([1],))),
                        r'config\.base\.model\.feed_forward: \[1\]'),
    'no points': (config(axes=grid.where(axis('size', (1e4,)), 'size > 1e5')),
                  r'config\.axes: .* it must leave at least one point'),
    'empty axis': (config(axes=axis('size', ())), r'config\.axes: axis size: \(\)'),
    'no grid': (config(axes='size'), r"config\.axes: 'size' is not allowed; it must be a grid"),
    'bad held-out grid': (config(held_out=(1, 2)), r'config\.held_out: \(1, 2\)'),
    'held out of itself': (
        config(axes=axis('base.seed', (0, 1)), held_out=axis('base.seed', (1,))),
        r"config\.held_out: the point \{'base\.seed': 1\} is also one of config\.axes"),
    'negative size': (config(size=-5), r'config\.size: -5 is not allowed; it must be a positive'),
    'size too small': (config(size=20), r'config\.size: 20\.0 is not allowed; no shape has about'),
    'text for a size': (config(size='6k'), r"config\.size: '6k' is not allowed; it must be a pos"),
    'zero tokens': (config(tokens=0), r'config\.tokens: 0 is not allowed; it must be a positive'),
    'less than a step': (config(tokens=100), r'config\.tokens: 100 .* takes 16 x 128 tokens'),
    'bool for tokens': (config(tokens=True), r'config\.tokens: True'),
    'steps and tokens': (config(tokens=10**6, axes=axis('base.steps', (100,))),
                         r'config\.base\.steps: an axis sets it, and config\.tokens = 1000000'),
    'width and size': (config(size=1e4, axes=axis('base.model.width', (64,))),
                       r'config\.base\.model\.width: an axis sets it, and config\.size = 10000'),
    'name': (config(name='a/b'), r"config\.name: 'a/b' is not allowed"),
    'epochs': (config(max_epochs=0.0), r'config\.max_epochs: 0\.0'),
    'laws': (_changed('laws', (1, 2)), r'config\.laws: \(1, 2\)'),
    'ladder': (_changed('ladder.reference', -1.0, config(size=1e4)),
               r'config\.ladder\.reference: -1\.0'),
    'unknown ladder': (_changed('ladder', ConfigDict({'slope': 1})),
                       r'config\.ladder\.slope: unknown field; allowed are reference'),
    'unknown field': (ConfigDict({**config().to_dict(), 'axis': 1}),
                      r'config\.axis: unknown field; allowed are axes'),
    'missing field': (ConfigDict({'name': 'x'}), r'config\.base: the config must have this field'),
    'unknown spec field': (_changed('base.model.depth', 3),
                           r'config\.base\.model\.depth: unknown field; allowed are activation'),
    'group gone': (_changed('base', ConfigDict({'steps': 3})), r'config\.base\.model: None'),
    'too few validation windows': (_changed('base.evaluation.windows', 800),
                                   r'config\.base\.evaluation\.windows: 800 .* has 781 of 128'),
    'more unique tokens than there are': (
        _changed('base.data.domains.docs.unique_tokens', 15_000_000),
        r'config\.base\.data\.domains\.docs\.unique_tokens: 15000000 .* has 9000000 tokens'),
    'fewer unique tokens than a window': (
        _changed('base.data.domains.docs.unique_tokens', 100),
        r'config\.base\.data\.domains\.docs\.unique_tokens: 100 .* takes 129 tokens'),
    'another fingerprint': (_changed('base.data.domains.docs.fingerprint', 'ff'),
                            r"fingerprint: 'ff' is not allowed; the token store has 0123456789"),
    'longer than the text': (_changed('base.data.length', 10_000_000),
                             r'config\.base\.evaluation\.windows: 256 .* has 0 of 10000000'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_studies(name):
  made, message = BAD[name]
  with pytest.raises(InputError, match=message) as caught:
    build(made)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('flag, made', [
    ('base.seed', config(axes=axis('base.seed', (0,)))),
    ('base.model', config(axes=axis('base.model.width', (64,)))),
    ('size', config(axes=axis('size', (1e4,)))),
    ('base.optim.peak_lr', config(size=1e4)),
    ('base.data.batch', config(axes=axis('size', (1e4,)))),
    ('base.model.heads', config(axes=axis('size', (1e4,)))),
    ('base.optim.peak_lr', config(axes=product(axis('size', (1e4,)),
                                               axis('base.optim.peak_lr', (1e-3,))))),
    ('base.steps', config(tokens=10**6)),
    ('base.steps', config(axes=axis('tokens', (10**6,)))),
    ('base.data.domains.docs.weight', config(axes=axis('base.data.domains',
                                                       [{'docs.weight': 1.0}]))),
    ('base.seed', config(held_out=axis('base.seed', (1,)))),
    ('ladder.peak_lr', config()),
])
def test_a_flag_never_fights_an_axis_or_a_rule(flag, made):
  with pytest.raises(InputError, match=rf'^--config\.{flag}: 7 is not allowed; '):
    build(made, {flag: 7})


def test_flags_that_fight_nothing():
  made = config(axes=product(axis('size', (1e4,)), axis('tokens', (10**6,))))
  made.base.optim.b2 = 0.99
  assert build(made, {'base.optim.b2': 0.99}).runs[0].spec.optim.b2 == 0.99


def test_a_store_of_another_tokenizer():
  with pytest.raises(InputError, match=r"tokenizer: 'bpe-512-docs' .* docs was built with bytes"):
    build(config(), tokenizer='bytes')
  with pytest.raises(InputError, match=r'config\.base\.data\.vocab_size: 512 .* docs has 256'):
    build(config(), vocab_size=256)
  with pytest.raises(InputError, match=r'config\.base\.data\.domains\.docs: there is no token'):
    study.build(config(), {}, lambda spec: {})


def test_the_tokenizer_is_named_by_what_it_was_trained_on():
  made = two_domains()
  build(made, tokenizer='bpe-512-code+docs')
  made.base.data.tokenizer_corpora = 'docs'
  build(made, tokenizer='bpe-512-docs')


def test_a_training_split_too_short():
  with pytest.raises(InputError, match=r'config\.base\.data\.length: 128 .* takes 129 tokens'):
    build(config(), train=128)


def test_a_domain_of_weight_0_is_only_evaluated():
  made = study.new_config('two', {'docs': 1.0, 'code': 0.0})

  def short(spec):
    found = stores(spec)
    return {**found, 'code': probe.FakeStore('code', found['code'].tokenizer, 512, train=10)}

  study.build(made, {}, short)
  with pytest.raises(InputError, match='of code has'):
    study.build(made, {}, functools.partial(stores, valid=200))


def test_ten_thousand_runs_take_seconds():
  made = config(axes=product(axis('base.optim.peak_lr', [1e-3 * 1.001**i for i in range(100)]),
                             axis('base.seed', range(100))))
  start = time.perf_counter()
  assert len(build(made).runs) == 10_000
  assert time.perf_counter() - start < 8  # 0.8 s on one quiet core
