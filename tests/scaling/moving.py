"""A base run whose mixture moves, and two that start in the middle of it."""

from ml_collections import ConfigDict

from configs import tiny
from scaling import grid, study


def get_config() -> ConfigDict:
  config = tiny.get_config()
  config.name = 'moving'
  config.base.data = study.base_config({'markov': 0.75, 'other': 0.25}).data
  for name, value in tiny.get_config().base.data.items():
    if name not in ('domains', 'mixture'):
      config.base.data[name] = value
  config.base.data.mixture.schedule = 'step'
  config.base.data.mixture.change_at = 0.5
  config.base.data.domains.markov.late_weight = 0.25
  config.base.data.domains.other.late_weight = 0.75
  config.base.optim.schedule = 'wsd'
  config.base.optim.warmup_steps = 5
  config.base.init.step = 60
  config.axes = grid.axis('base.steps', (60, 120))
  config.stages = ({'base.steps': 80},)
  return config
