"""Four budgets under one schedule, two seeds: what the tests of shared prefixes train."""

from ml_collections import ConfigDict

from configs import tiny
from scaling import grid


def get_config() -> ConfigDict:
  config = tiny.get_config()
  config.name = 'budgets'
  config.base.optim.schedule = 'wsd'
  config.base.optim.warmup_steps = 10
  config.base.evaluation.points = 4
  config.axes = grid.product(grid.axis('base.steps', (100, 200, 400, 800)),
                             grid.axis('base.seed', (0, 1)))
  return config
