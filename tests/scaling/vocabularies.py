"""Two vocabularies on two budgets of characters: what the tests of vocabularies train."""

from ml_collections import ConfigDict

from scaling import grid, study


def get_config() -> ConfigDict:
  config = study.new_config('vocabularies', {'mine_ascii': 1.0})
  config.base.model.update(layers=1, width=16)
  config.base.data.update(length=32, batch=4, block_characters=1e4)
  config.base.optim.update(schedule='wsd', warmup_steps=5)
  config.base.evaluation.update(points=2, characters=3000.0)
  config.axes = grid.product(grid.axis('base.data.vocab_size', (110, 150)),
                             grid.axis('characters', (2e4, 4e4)))
  return config
