"""Continual pre-training at a grid of domain ratios: what the D-CPT law is fitted to.

Base models are trained on a general corpus; each then goes on, its learning rate warmed up again,
on a mixture of it with one domain, at ratios from 0 to 1 and for several token budgets. Budgets
share one trunk at the constant rate and branch off to decay (scaling/prefixes.py), so every final
loss is that of a decayed run, for little more than the longest one costs.

  --config=configs/dcpt.py          docstrings and two domains of code, 4 sizes, 7 ratios, 4 budgets
  --config=configs/dcpt.py:large    the nine ratios of the paper, 125M to 1B parameters: for
                                    accelerators and your own text, prepared as `general`, `domain`
"""

import dataclasses

from ml_collections import ConfigDict

from scaling import grid, study
from scaling.errors import bad
from scaling.model import sizes


@dataclasses.dataclass(frozen=True)
class Scale:
  general: str
  domains: tuple[str, ...]
  sizes: tuple[float, ...]  # non-embedding parameters
  ratios: tuple[float, ...]  # of the domain
  base_tokens: float
  tokens: tuple[float, ...]
  warmup_steps: int  # before training, and again before going on
  vocab_size: int
  length: int
  points: int  # evaluations of a run
  windows: tuple[int, int]  # along it, and at its end
  ladder: sizes.Ladder


SCALES = {
    'cpu': Scale(
        'python_docs', ('python_code', 'cpp_code'), (2e4, 4e4, 8e4, 1.6e5),
        (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), 2_457_600,
        (307_200, 614_400, 1_228_800, 2_457_600), 50, 512, 128, 6, (64, 512), sizes.CPU),
    # Que et al. 2024 (arXiv 2406.01375), section 4.1: three sizes, nine ratios, 20 evaluations.
    'large': Scale(
        'general', ('domain',), (1.25e8, 3.5e8, 1e9),
        (0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0), 2e10, (1.25e9, 2.5e9, 5e9, 1e10),
        500, 32_768, 2048, 20, (256, 2048), sizes.PORIAN),
}


def get_config(scale: str = 'cpu') -> ConfigDict:
  if scale not in SCALES:
    raise bad('scale', scale, f'allowed are {", ".join(SCALES)}')
  s = SCALES[scale]
  only_general = {s.general: 1.0} | dict.fromkeys(s.domains, 0.0)
  config = study.new_config('dcpt' if scale == 'cpu' else f'dcpt-{scale}', only_general)
  config.base.data.vocab_size = s.vocab_size
  config.base.data.length = s.length
  config.base.optim.schedule = 'wsd'
  config.base.optim.warmup_steps = s.warmup_steps
  config.base.evaluation.points = s.points
  config.base.evaluation.spacing = 'decaying'
  config.base.evaluation.windows, config.base.evaluation.final_windows = s.windows
  config.ladder = dataclasses.asdict(s.ladder)
  config.axes = grid.product(
      grid.axis('size', s.sizes),
      grid.chain(*(grid.shares(domain, s.ratios, s.general) for domain in s.domains)),
      grid.axis('tokens', s.tokens))
  config.stages = ({'tokens': s.base_tokens} | {
      f'base.data.domains.{name}.weight': share for name, share in only_general.items()},)
  config.laws = ('dcpt',)
  return config
