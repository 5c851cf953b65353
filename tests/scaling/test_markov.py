"""Training against the truth: on the synthetic corpus the best possible loss is known."""

import json
import math

import pytest

from scaling.data import token_store
from tests.scaling import sweeps


def _last_lines(workdir):
  return [json.loads(path.read_text().splitlines()[-1])
          for path in workdir.glob('runs/*/curve.jsonl')]


def _never_below_the_entropy_rate(workdir, entropy_rate):
  """No validation loss may lie below it by more than sampling error, 4 standard errors."""
  for path in workdir.glob('runs/*/curve.jsonl'):
    for line in path.read_text().splitlines():
      markov = json.loads(line)['domains']['markov']
      assert markov['loss'] > entropy_rate - 4 * markov['loss_se']


def test_small_models_approach_the_entropy_rate_from_above(tmp_path, markov_store):
  store = token_store.TokenStore.open(
      token_store.folder(markov_store, 'symbols', 64, (), 'markov'))
  sweeps.sweep(tmp_path, markov_store, study=(
      '--config=configs/tiny.py', '--config.base.steps=4000',
      '--config.base.evaluation.windows=128'))
  _never_below_the_entropy_rate(tmp_path, store.entropy_rate)
  for line in _last_lines(tmp_path):
    unigram = line['domains']['markov']['loss'] - line['domains']['markov']['loss_unigram']
    assert unigram < math.log(64)  # what knowing only the frequencies of symbols would give
    assert store.entropy_rate < line['domains']['markov']['loss'] < unigram - 0.5


@pytest.mark.slow
def test_the_largest_model_comes_within_three_percent(tmp_path, markov_store):
  store = token_store.TokenStore.open(
      token_store.folder(markov_store, 'symbols', 64, (), 'markov'))
  sweeps.sweep(tmp_path, markov_store, study=('--config=configs/markov.py',), timeout=1800)
  _never_below_the_entropy_rate(tmp_path, store.entropy_rate)
  best = max(_last_lines(tmp_path), key=lambda line: line['N'])
  assert best['domains']['markov']['loss'] < 1.03 * store.entropy_rate
