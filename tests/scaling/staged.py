"""A base run and four that go on from it: what the tests of staged runs train."""

from ml_collections import ConfigDict

from configs import tiny
from scaling import grid


def get_config() -> ConfigDict:
  config = tiny.get_config()
  config.name = 'staged'
  config.base.optim.schedule = 'wsd'
  config.base.optim.warmup_steps = 5
  config.base.evaluation.final_windows = 16
  config.axes = grid.product(grid.axis('base.steps', (60, 120)),
                             grid.axis('base.optim.peak_lr', (3e-3, 1e-2)))
  config.stages = ({'base.steps': 80, 'base.optim.peak_lr': 5e-3},)
  return config
