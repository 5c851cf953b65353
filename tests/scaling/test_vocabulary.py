"""Vocabularies compared on one text: budgets, batches and evaluations in characters."""

from __future__ import annotations

import functools
import json
import math

import jax
import numpy as np
import pytest

from analysis import logs
from scaling import accounting, prefixes, specs, study
from scaling.data import compression, corpora, embedded, tokenizers
from scaling.data.feed import Feed
from scaling.data.job import Job
from scaling.data.prepare import prepare_all
from scaling.data.token_store import TokenStore
from scaling.errors import InputError
from scaling.grid import axis
from scaling.train import step
from scaling.train.program import Program, Shape
from tests.scaling import probe, sweeps
from tests.scaling.vocabularies import get_config as config

SIZES = (110, 150, 250)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  """Token stores of a made-up text under three vocabularies."""
  folder = tmp_path_factory.mktemp('text')
  rng = np.random.default_rng(0)
  words = [''.join(rng.choice(list('etaoinshrdlu'), rng.integers(2, 8))) for _ in range(300)]
  with open(folder / 'mine.jsonl', 'w') as file:
    for i in range(800):
      text = ' '.join(rng.choice(words, rng.integers(10, 30))) + ('.\n\tEnd' if i % 3 else ' café')
      print(json.dumps({'text': text}), file=file)
  jobs = [Job.of(str(folder / 'tokens'), ['mine_ascii'], vocab_size=V,
                 path=[str(folder / 'mine.jsonl')]) for V in SIZES]
  prepare_all(jobs)
  return folder / 'tokens'


def stores(root, spec):
  return {'mine_ascii': TokenStore.open(str(
      root / f'bpe-{spec.data.vocab_size}-mine_ascii' / 'mine_ascii'))}


def built(root, made, **overrides):
  return study.build(made, overrides, functools.partial(stores, root)).runs


def test_only_ascii_documents_are_in_the_store_and_all_sizes_hold_the_same_text(store):
  opened = [stores(store, specs.RunSpec(data=specs.DataSpec(vocab_size=V)))['mine_ascii']
            for V in SIZES]
  for split in ('train', 'valid'):
    assert len({s.characters(split) for s in opened}) == 1
    assert sum(s.documents(split) for s in opened) == 3 * opened[0].documents(split)
  assert sum(opened[0].documents(split) for split in ('train', 'valid')) == 533
  assert opened[0].manifest['source']['alphabet'] == 'ascii'
  for s in opened:
    bpe = tokenizers.Bpe((store / s.tokenizer / 'tokenizer.model').read_bytes())
    texts = bpe.decode(s.tokens('valid').tolist())  # Ends of documents decode to nothing.
    assert len(texts) == s.characters('valid') and texts.isascii() and '\n\t' in texts
    assert bpe.vocab_size == s.vocab_size


def test_compression_is_measured_and_fitted(store):
  found = json.loads((store / 'compression-mine_ascii-mine_ascii.json').read_text())
  assert [row['V'] for row in found['sizes']] == list(SIZES)
  for row in found['sizes']:  # Three points determine the quadratic.
    x = math.log(row['V'])
    assert row['ratio'] == pytest.approx(found['a'] * x**2 + found['b'] * x + found['c'])
    assert row['ratio'] == row['tokens'] / row['characters'] < 1
  V = np.array([128, 512, 2048, 8192])
  fitted = compression.fit(V, 0.006 * np.log(V)**2 - 0.15 * np.log(V) + 1.2)
  assert fitted == pytest.approx({'a': 0.006, 'b': -0.15, 'c': 1.2, 'r2': 1.0})


def test_every_vocabulary_reads_the_same_prefix_of_the_text_once(store):
  runs = built(store, config())
  assert {specs.canonical(r.spec)['data']['block_characters'] for r in runs} == {10_000}
  for short, long in zip(runs[::2], runs[1::2]):
    found = stores(store, short.spec)
    one, two = Feed(short.spec, found), Feed(long.spec, found)
    read = [feed.indices(0, r.spec.steps, (0,))[1].ravel() // 32
            for feed, r in ((one, short), (two, long))]
    np.testing.assert_array_equal(read[0], read[1][:len(read[0])])  # They share their updates.
    assert (np.diff(read[0][:40]) != 1).mean() > 0.8  # Shuffled, and
    for windows, wanted in zip(read, (2e4, 4e4)):
      assert len(np.unique(windows)) == len(windows)  # each once,
      end = found['mine_ascii'].tokens_for_characters('train', wanted) / 32
      assert (windows < end + 0.5).mean() > 0.99 and abs(len(windows) - end) <= 2.5  # the first.
    assert two.seen((len(read[1]),))['mine_ascii']['characters'] == pytest.approx(4e4, abs=3 * 64)
  forest = prefixes.forest((r.run_id, r.spec) for r in runs)
  assert len({prefixes.lineage(forest, r.run_id) for r in runs}) == 2


def test_every_token_of_the_validation_text_is_predicted_once(store):
  spec = built(store, config())[0].spec
  found = stores(store, spec)['mine_ascii']
  windows = Feed(spec, {'mine_ascii': found}).eval_text('mine_ascii', 3000.0)
  targets = windows[:, 1:][windows[:, 1:] >= 0]
  documents, tokens = found.first_documents('valid', 3000.0)
  np.testing.assert_array_equal(targets, found.tokens('valid')[:tokens])
  assert found.characters_before('valid', tokens) >= 3000 and targets[-1] == windows[0, 0] == 1
  assert (targets == 1).sum() == documents
  other = stores(store, built(store, config())[-1].spec)['mine_ascii']
  assert other.first_documents('valid', 3000.0)[0] == documents  # The same ones.
  np.testing.assert_array_equal(windows[1:, 0], windows[:-1, -1])
  assert tokens % 32  # The last window is filled up: its loss is that of its own tokens alone.
  program = Program(Shape.of(spec), 1, 1)
  pack = program.init([0])
  sums = np.asarray(program.evaluate(pack, windows))[0]
  params = jax.tree.map(lambda leaf: leaf[0], pack.params)
  rest = windows[-1:, :1 + tokens % 32]
  alone = step.window_losses(spec.model, spec.data.vocab_size, params, rest)
  assert sums[-1] == pytest.approx(float(alone[0]), rel=1e-5)
  whole = step.window_losses(spec.model, spec.data.vocab_size, params, windows[:-1])
  np.testing.assert_allclose(sums[:-1], whole, rtol=1e-5)


def test_a_sweep_logs_what_the_law_needs(tmp_path, store):
  flags = ('--config=tests/scaling/vocabularies.py',)
  plan = json.loads(sweeps.sweep(tmp_path, str(store), '--mode=plan', '--json', study=flags).stdout)
  runs = built(store, config())
  assert [row['steps'] for row in plan['shapes']] == [
      [runs[i].spec.steps, runs[i + 1].spec.steps] for i in (0, 2)]
  assert [row['V'] for row in plan['shapes']] == list(SIZES[:2])
  sweeps.sweep(tmp_path, str(store), study=flags)
  table = logs.load(str(tmp_path))
  assert len(table) == 8 and set(table['V']) == set(SIZES[:2])
  np.testing.assert_array_equal(table['width'], 16)
  np.testing.assert_array_equal(table['N_v'], table['V'] * table['width'])
  np.testing.assert_array_equal(  # one matrix, tied
      table['C'], 6 * (table['N_nonembedding'] + table['N_v']) * table['D'])
  final = table[table['final']]
  np.testing.assert_allclose(final['H'], final['point/characters'], atol=2 * 128)
  for _, row in final.iterrows():
    found = stores(store, specs.RunSpec(data=specs.DataSpec(vocab_size=int(row['V']))))[
        'mine_ascii']
    tokens = found.tokens('valid')[:found.first_documents('valid', 3000.0)[1]]
    nats = row['loss/mine_ascii'] * len(tokens)
    counts = np.bincount(found.tokens('train'), minlength=found.vocab_size)
    unigram = -np.log(counts[tokens] / counts.sum()).sum()
    assert row['loss_unigram/mine_ascii'] == pytest.approx((nats - unigram) / len(tokens))
    size = found.bytes('valid') * found.characters_before('valid', len(tokens)) / (
        found.characters('valid'))  # ASCII: a byte a character
    assert row['bits_per_byte/mine_ascii'] == pytest.approx(nats / math.log(2) / size)
    assert 0 < row['loss_se/mine_ascii'] < 0.2


def changed(**fields):
  made = config()
  made.base.data.vocab_size = SIZES[0]
  for name, value in fields.items():
    if name in ('characters', 'batch_characters', 'tokens', 'axes'):
      made[name] = value
    else:
      group, field = name.split('__')
      made.base[group][field] = value
  return made


@pytest.mark.parametrize('fields, message', [
    ({'axes': None, 'characters': 1e9}, 'config.characters: 1000000000.0 .* training text of '
     'mine_ascii has [0-9,]+ characters, and each is read once'),
    ({'axes': None, 'characters': 15_000.0}, 'block_characters: 10000.0 .* whole blocks'),
    ({'axes': None, 'characters': 2e4, 'tokens': 1e4}, 'config.characters: config.tokens'),
    ({'axes': axis('base.steps', (9,)), 'characters': 2e4}, 'config.base.steps: an axis sets it'),
    ({'data__block_characters': None}, 'block_characters: None .* whole blocks'),
    ({'data__block_characters': 1e9}, 'block_characters: 1000000000.0'),
    ({'batch_characters': 3.0}, 'batch_characters: 3.0 .* less than half a sequence'),
    ({'evaluation__characters': 1e9}, 'evaluation.characters: 1000000000.0 .* validation text'),
    ({'evaluation__windows': 8}, 'evaluation.windows: 8 .* no effect beside characters'),
])
def test_what_the_text_cannot_give_is_refused(store, fields, message):
  with pytest.raises(InputError, match=message):
    built(store, changed(**fields))


def test_a_batch_of_characters_is_as_many_sequences_as_hold_them(store):
  runs = built(store, changed(batch_characters=1000.0))
  for r in runs[1::2]:
    s = stores(store, r.spec)['mine_ascii']
    per_step = r.spec.data.tokens_per_step * s.characters('train') / s.count('train')
    assert abs(per_step - 1000) <= 32
    assert r.spec.steps == pytest.approx(40, abs=2)  # of 40,000
  assert len({r.spec.data.batch for r in runs}) == 2
  with pytest.raises(InputError, match=r'data.batch: 8 .* config.batch_characters sets it'):
    built(store, changed(batch_characters=1000.0), **{'base.data.batch': 8})


def test_a_vocabulary_of_pieces_that_never_occur_is_refused():
  class Sparse(probe.FakeStore):
    @property
    def seen(self):
      return np.arange(self.vocab_size) < 700

  def sparse(spec):
    return {name: Sparse(**vars(s)) for name, s in probe.stores(spec).items()}

  made = study.new_config('some', {'docs': 1.0})
  made.base.data.vocab_size = 720
  assert study.build(made, {}, sparse).runs
  made.base.data.vocab_size = 1024
  with pytest.raises(InputError, match=r'vocab_size: 1024 .* 324 of its pieces never occur'):
    study.build(made, {}, sparse)


def test_sizes_that_the_text_has_no_merges_for_are_refused_before_any_is_built(tmp_path, store):
  path = [str(store.parent / 'mine.jsonl')]
  for V, message in ((90, '90 .* at least 99 .* 2 reserved ids, and its 97'),
                     (60_000, '60000 .* this text gives 99 to')):
    jobs = [Job.of(str(tmp_path / 't'), ['mine_ascii'], vocab_size=v, path=path) for v in (V, 9000)]
    with pytest.raises(InputError, match=f'--vocab_size: ({message}|9000 .* gives 99 to)'):
      prepare_all(jobs)
    assert not (tmp_path / 't').exists()


@pytest.mark.parametrize('corpus, packages', [
    ('python_docs', ('optax', 'seqio')), ('python_code', ('seqio',)), ('cpp_code', ('numpy',)),
    ('licences', ('pillow', 'numpy'))])
def test_samples_of_every_corpus_come_back(monkeypatch, corpus, packages):
  monkeypatch.setitem(embedded.PACKAGES, corpus, packages)
  for name, sizes in ((corpus, (600, 900)), (f'{corpus}_ascii', (99, 300))):
    texts = sorted(set(corpora.documents(name)))[:150]
    for V in sizes:
      bpe = tokenizers.Bpe(tokenizers.train_bpe(texts[::2], V, name.endswith('_ascii')))
      assert [bpe.decode(ids) for ids in bpe.encode(texts)] == texts and bpe.vocab_size == V
  with pytest.raises(InputError, match="the text holds 'é'"):
    bpe.encode(['café'])


def test_the_law_counts_one_matrix_of_two():
  model = specs.ModelSpec(width=64, tied_embeddings=False)
  assert accounting.vocabulary(model, 1000) == 64_000
  assert accounting.parameters(model, 1000) == accounting.non_embedding(model) + 128_000
