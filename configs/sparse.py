"""Sparse pre-training: does the average parameter count put sparse and dense runs on one law?

Dense runs at several sizes; from two of these, runs that are pruned while they train, to four final
sparsities between 25 and 75 % of the compute, and to one over other windows; every run at several
durations, for that is where the law may begin to hold (Jin et al. 2025, arXiv 2501.12486). Of what
the largest start is pruned to between 25 and 75 %, a dense model has the average count, for pairs.
Beside them a random support that stays, and low-rank layers with and without a sparse part
(SLTrain, arXiv 2406.02214) of as many parameters.

  --config=configs/sparse.py            one seed, two durations
  --config=configs/sparse.py:evidence   three seeds, three durations, more windows: hours; it has
                                        the runs of the first, which are not trained again
  --config=configs/sparse.py:spdf       runs with a random support that go on dense (SPDF, arXiv
                                        2303.10464); :spdf-evidence for three seeds
  --config=configs/sparse.py:large      the shape of the paper's grid, 58M to 468M parameters: for
                                        accelerators and text of your own, prepared as `text`
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from scaling import accounting, grid, sparsity, study
from scaling.errors import bad
from scaling.model import sizes
from scaling.model.sizes import CPU, PORIAN, Ladder
from scaling.specs import ModelSpec


@dataclasses.dataclass(frozen=True)
class Scale:
  corpus: str
  sizes: tuple[float, ...]  # non-embedding parameters of the dense runs
  starts: tuple[float, ...]  # of these, the sizes that are pruned
  sparsities: tuple[float, ...]
  windows: tuple[tuple[float, float], ...]  # shares of compute, beside 25 to 75 %
  window_sparsity: float
  tokens: tuple[float, ...]
  seeds: int
  every: int  # steps from one pruning to the next
  vocab_size: int
  length: int
  final_windows: int
  ladder: Ladder


LEVELS = (0.2, 0.4, 0.6, 0.8)
SCALES = {
    'cpu': Scale('python_docs', (1e4, 2e4, 4e4, 8e4), (4e4, 8e4), LEVELS,
                 ((0.0, 0.25), (0.0, 0.75), (0.5, 0.75)), 0.6, (1_638_400, 3_276_800), 1, 20,
                 512, 128, 1024, CPU),
    'evidence': Scale('python_docs', (1e4, 2e4, 4e4, 8e4), (4e4, 8e4), LEVELS,
                      ((0.0, 0.25), (0.0, 0.5), (0.0, 0.75), (0.25, 0.5), (0.5, 0.75),
                       (0.5, 0.9)), 0.6, (1_638_400, 3_276_800, 6_553_600), 3, 20,
                      512, 128, 1024, CPU),
    # 20 to 400 tokens a parameter are in the paper; its batch is not public.
    'large': Scale('text', (5.8e7, 1e8, 1.62e8, 2.8e8, 4.68e8), (1.62e8, 4.68e8), LEVELS,
                   ((0.0, 0.5), (0.25, 0.5), (0.5, 0.75), (0.5, 0.9)), 0.6,
                   (3.2e9, 6.5e9, 1.3e10, 2.6e10), 1, 100, 32_000, 2048, 2048, PORIAN),
}
SPDF = {'spdf': 'cpu', 'spdf-evidence': 'evidence'}  # and the study that it belongs to


def get_config(scale: str = 'cpu') -> ConfigDict:
  if scale in SPDF:
    return _spdf(SPDF[scale])
  if scale not in SCALES:
    raise bad('scale', scale, f'allowed are {", ".join(SCALES)}, {", ".join(SPDF)}')
  s = SCALES[scale]
  config = _config('sparse' if scale == 'cpu' else f'sparse-{scale}', s)
  middle = grid.axis('base.sparsity', [{'sparsity': level} for level in s.sparsities])
  others = grid.axis('base.sparsity', [
      {'sparsity': s.window_sparsity, 'start': start, 'end': end} for start, end in s.windows])
  config.axes = grid.product(grid.axis('base.seed', range(s.seeds)), grid.chain(
      grid.product(grid.axis('tokens', s.tokens), grid.chain(
          grid.axis('size', s.sizes),
          grid.product(grid.axis('size', s.starts), middle),
          grid.product(grid.axis('size', s.starts[-1:]), others), _twins(s), _others(s))),
      _at_cost(s)))
  config.laws = ('average_parameters', 'chinchilla')
  return config


def _config(name: str, s: Scale) -> ConfigDict:
  config = study.new_config(name, {s.corpus: 1.0})
  config.base.data.vocab_size = s.vocab_size
  config.base.data.length = s.length
  config.base.optim.warmup_steps = 50 if s.ladder == CPU else 500
  config.base.evaluation.points = 4
  config.base.evaluation.windows = 64
  config.base.evaluation.final_windows = s.final_windows
  config.base.sparsity.every = s.every
  config.ladder = dataclasses.asdict(s.ladder)
  return config


# The share of the weights that a random support leaves out, of SPDF and of its comparison.
STATIC: dict[str, Any] = {'sparsity': 0.75, 'schedule': 'constant', 'scope': 'layer'}
RANKS = (16, 8)  # of low rank, and of sparse plus low rank with as many parameters


def _others(s: Scale) -> grid.Grid:
  """The largest start with a random support, and with linear layers of two kinds of thin matrices.
  """
  size = s.starts[-1]
  shape = sizes.shape(size)
  parameters = accounting.non_embedding(shape)
  low, lower = (round(rank * shape.width / 64) or 1 for rank in RANKS)
  shapes = accounting.linears(shape).values()
  share = (low - lower) * sum(a + b for a, b in shapes) / sum(a * b for a, b in shapes)
  return grid.chain(
      grid.product(grid.axis('size', (size,)), grid.axis('base.sparsity', [STATIC])),
      _models(s, (shape, parameters, {'linear': 'low_rank', 'rank': low}),
              (shape, parameters, {'linear': 'sltrain', 'rank': lower,
                                   'support': round(share, 4)})))


def _twins(s: Scale) -> grid.Grid:
  """Dense models with the average counts of the largest start's ramps, by feed-forward width."""
  start = sizes.shape(s.starts[-1])
  whole, rest = accounting.linear_weights(start), accounting.non_embedding(start)
  models = []
  for level in s.sparsities:
    average = rest - whole * (1 - sparsity.Ramp.of_compute(1, 0.25, 0.75, level).average())
    shape = sizes.shape(average)
    wider = dataclasses.replace(shape, feed_forward=shape.hidden + 1)
    step = accounting.non_embedding(wider) - accounting.non_embedding(shape)
    hidden = shape.hidden + round((average - accounting.non_embedding(shape)) / step)
    shape = dataclasses.replace(shape, feed_forward=hidden)
    models.append((shape, accounting.non_embedding(shape), {'feed_forward': hidden}))
  return _models(s, *models)


def _models(s: Scale, *models: tuple[ModelSpec, int, dict[str, Any]]) -> grid.Grid:
  """Models of a shape and more fields, with the batch and learning rate of so many parameters."""
  return grid.zip_(
      grid.axis('base.model', [{'layers': shape.layers, 'width': shape.width, 'heads': shape.heads,
                                **more} for shape, _, more in models]),
      grid.axis('base.data.batch', [s.ladder.batch(N, s.length) for _, N, _ in models]),
      grid.axis('base.optim.peak_lr', [s.ladder.learning_rate(N) for _, N, _ in models]))


def _at_cost(s: Scale) -> grid.Grid:
  """The dense model and the random support with the FLOPs of SPDF's two stages (`_spdf`)."""
  shape = sizes.shape(s.starts[-1])
  whole, N = accounting.linear_weights(shape), accounting.parameters(shape, s.vocab_size)
  sparse = N - STATIC['sparsity'] * whole  # not zero
  cost = s.tokens[1] * (0.75 * sparse + 0.25 * N)
  return grid.product(grid.axis('size', s.starts[-1:]), grid.chain(
      grid.axis('tokens', (cost / N,)),
      grid.product(grid.axis('tokens', (cost / sparse,)), grid.axis('base.sparsity', [STATIC]))))


def _spdf(name: str) -> ConfigDict:
  """A dense stage after a sparse one of three times its tokens, with a warm-up of its own.

  The study `name` has the runs beside it, of the same seeds and FLOPs: dense, and with the random
  support all the way.
  """
  s = SCALES[name]
  config = _config('sparse-spdf', s)
  config.size = s.starts[-1]
  dense = s.tokens[1] / 4
  config.axes = grid.product(grid.axis('base.seed', range(s.seeds)), grid.axis('tokens', (dense,)))
  config.stages = ({'tokens': 3 * dense} | {
      f'base.sparsity.{field}': value for field, value in STATIC.items()},)
  return config
