"""Continual pre-training at a grid of domain ratios: what the D-CPT law is fitted to.

Base models are trained on a general corpus; each then goes on, its learning rate warmed up again,
on a mixture of it with one domain, at ratios from 0 to 1 and for several token budgets. Budgets
share one trunk at the constant rate and branch off to decay (scaling/prefixes.py), so every final
loss is that of a decayed run, for little more than the longest one costs.

  --config=configs/dcpt.py          docstrings and two domains of code, 4 sizes, 9 or 7 ratios, 3
                                    budgets
  --config=configs/dcpt.py:large    the nine ratios of the paper, 125M to 1B parameters: for
                                    accelerators and your own text, prepared as `general`, `domain`

What the law then says is put to the proof at the 50k size, three new seeds a ratio and a base:

  --config=configs/dcpt.py:trade_off=0.62    the ratio predicted and two on either side, at the
                                             longest budget
  --config=configs/dcpt.py:limited=0.55      the same, each with PROOF_DOMAIN_TOKENS of the domain
"""

import dataclasses

from ml_collections import ConfigDict

from scaling import grid, study
from scaling.errors import bad
from scaling.model.sizes import CPU, PORIAN, Ladder


@dataclasses.dataclass(frozen=True)
class Scale:
  general: str
  domains: tuple[str, ...]
  sizes: tuple[float, ...]  # non-embedding parameters
  ratios: tuple[tuple[float, ...], ...]  # of each domain
  base_tokens: float
  tokens: tuple[float, ...]
  warmup_steps: int  # before training, and again before going on
  vocab_size: int
  length: int
  points: int  # evaluations of a run
  windows: tuple[int, int]  # along it, and at its end
  ladder: Ladder


# The base of `cpu` has seen four times what any run goes on with, as a released model has seen far
# more: from one as short as the runs themselves the loss at r = 0 falls with D as elsewhere, which
# no D-CPT form can say. The ratios lie close where the curves bend, near 0 for either corpus. The
# budgets begin at 0.8M tokens: at 0.4M what counts at small r is r D, which no form has: with it
# ratios left out are missed by 1.09 %, without by 0.63 % (docs/log.md).
SCALES = {
    'cpu': Scale(
        'python_docs', ('python_code', 'cpp_code'), (2e4, 3e4, 5e4, 8e4),
        ((0.0, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9, 0.98, 1.0), (0.0, 0.03, 0.1, 0.4, 0.9, 0.98, 1.0)),
        6_553_600, (819_200, 1_228_800, 1_638_400), 50,
        512, 128, 5, (64, 512), CPU),
    # Que et al. 2024 (arXiv 2406.01375), section 4.1: three sizes, nine ratios, 20 evaluations.
    'large': Scale(
        'general', ('domain',), (1.25e8, 3.5e8, 1e9),
        ((0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0),), 2e10, (1.25e9, 2.5e9, 5e9, 1e10),
        500, 32_768, 2048, 20, (256, 2048), PORIAN),
}


# Seeds that the law has not seen. Neighbours are this far off, nearer where an end is close. At
# r = 1 the domain's tokens are all there are: no fewer than those of the shortest budget.
PROOF_SIZE, PROOF_SEEDS, PROOF_DOMAIN_TOKENS, APART = 5e4, (1, 2, 3), 819_200, 0.1


def get_config(scale: str = 'cpu') -> ConfigDict:
  scale, _, ratio = scale.partition('=')
  if scale in ('trade_off', 'limited'):
    return _proof(scale, ratio)
  if scale not in SCALES or ratio:
    raise bad('scale', scale, f'allowed are {", ".join(SCALES)}, trade_off=R, limited=R')
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
      grid.chain(*(grid.shares(domain, ratios, s.general)
                   for domain, ratios in zip(s.domains, s.ratios, strict=True))),
      grid.axis('tokens', s.tokens))
  config.stages = ({'tokens': s.base_tokens} | {
      f'base.data.domains.{name}.weight': share for name, share in only_general.items()},)
  config.laws = ('dcpt',)
  return config


def _proof(usage: str, ratio: str) -> ConfigDict:
  """Runs at a predicted ratio and its neighbours, of the first domain of the `cpu` study."""
  try:
    best = float(ratio)
  except ValueError:
    best = -1.0
  if not 0.1 <= best <= 1.0:
    raise bad(usage, ratio, 'give the predicted ratio, in [0.1, 1], as in trade_off=0.62')
  s, config = SCALES['cpu'], get_config('cpu')
  down, up = min(APART, (best - 0.05) / 2), min(APART, (1 - best) / 2)
  # At the end, where a best ratio of 1 is, all neighbours are below.
  offsets = ((-2 * down, -down, 0.0, up, 2 * up) if up else
             (-4 * down, -3 * down, -2 * down, -down, 0.0))
  ratios = [round(best + d, 4) for d in offsets]
  if usage == 'trade_off':
    ratios = [0.0, *ratios]  # from which the general loss rises
  mixtures = grid.shares(s.domains[0], ratios, s.general)
  if usage == 'trade_off':
    points = grid.product(mixtures, grid.axis('tokens', (s.tokens[-1],)))
  else:
    points = grid.zip_(mixtures, grid.axis('tokens', [PROOF_DOMAIN_TOKENS / r for r in ratios]))
  config.name = f'dcpt-{usage}'
  config.axes = grid.product(grid.axis('size', (PROOF_SIZE,)), points,
                             grid.axis('base.seed', PROOF_SEEDS))
  return config
