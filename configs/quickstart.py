"""The quickstart: 4 sizes x 3 token budgets on docstrings, and one larger run to be predicted."""

from ml_collections import ConfigDict

from scaling import grid, study

SIZES = (6e3, 2e4, 6e4, 1.6e5)  # non-embedding parameters
TOKENS = (409_600, 819_200, 1_638_400)  # 800 steps of 512 tokens and up


def get_config() -> ConfigDict:
  config = study.new_config('quickstart', {'python_docs': 1.0})
  config.base.data.vocab_size = 512
  config.base.data.length = 128
  config.base.optim.warmup_fraction = 0.05
  config.axes = grid.product(grid.axis('size', SIZES), grid.axis('tokens', TOKENS))
  config.held_out = grid.product(grid.axis('size', (4e5,)), grid.axis('tokens', (2_457_600,)))
  config.laws = ('chinchilla',)
  return config
