"""Two ramps, a one-shot and a random support: what the tests of pruning train."""

from ml_collections import ConfigDict

from configs import tiny
from scaling import grid


def get_config() -> ConfigDict:
  config = tiny.get_config()
  config.name = 'sparse'
  config.base.model.width = 16
  config.base.steps = 40
  config.base.evaluation.points = 4
  config.base.sparsity.every = 4
  config.axes = grid.axis('base.sparsity', (
      {'sparsity': 0.6}, {'sparsity': 0.8, 'schedule': 'cubic', 'start': 0.1, 'end': 0.6},
      {'sparsity': 0.5, 'schedule': 'one_shot', 'pattern': '2:4', 'start': 0.5},
      {'sparsity': 0.75, 'schedule': 'constant', 'scope': 'layer'}))
  return config
