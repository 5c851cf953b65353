"""Four runs of seconds on the synthetic corpus: what the tests of the trainer and sweep train."""

from ml_collections import ConfigDict

from scaling import grid, study


def get_config() -> ConfigDict:
  config = study.new_config('tiny', {'markov': 1.0})
  config.base.model.width = 16
  config.base.model.layers = 1
  config.base.data.tokenizer = 'symbols'
  config.base.data.vocab_size = 64
  config.base.data.length = 32
  config.base.data.batch = 4
  config.base.steps = 24
  config.base.evaluation.points = 3
  config.base.evaluation.windows = 8
  config.axes = grid.product(
      grid.axis('base.optim.peak_lr', (3e-3, 1e-2)), grid.axis('base.seed', (0, 1)))
  return config
