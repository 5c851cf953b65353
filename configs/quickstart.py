"""The quickstart: 4 sizes x 3 token budgets on docstrings, and one larger run to be predicted."""

from ml_collections import ConfigDict

from scaling import grid, study

# Non-embedding parameters. Below 20k (width 16) capacity, not data, sets the loss within these
# budgets, and no sum of a term in N and a term in D fits: docs/log.md.
SIZES = (2e4, 4e4, 8e4, 1.6e5)
TOKENS = (819_200, 1_638_400, 3_276_800)  # 1,600 steps of 512 tokens and up


def get_config() -> ConfigDict:
  config = study.new_config('quickstart', {'python_docs': 1.0})
  config.base.data.vocab_size = 512
  config.base.data.length = 128
  config.base.optim.warmup_fraction = 0.05
  config.base.evaluation.points = 4
  config.base.evaluation.windows = 512
  config.axes = grid.product(grid.axis('size', SIZES), grid.axis('tokens', TOKENS))
  config.held_out = grid.product(grid.axis('size', (2.5e5,)), grid.axis('tokens', (4_096_000,)))
  config.laws = ('chinchilla',)
  return config
