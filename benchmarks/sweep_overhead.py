"""What a sweep's wall time goes into: 40 runs over two shapes, in a process of their own.

  python benchmarks/sweep_overhead.py [--steps=400]

Overhead is everything but training and evaluation, beyond the compilation of each shape's first
program: gathering data, checkpoints, leases and files, refilling lanes, and waiting.
"""

from __future__ import annotations

import argparse
import tempfile

from ml_collections import ConfigDict

from scaling import grid, study


def get_config() -> ConfigDict:
  config = study.new_config('sweep_overhead', {'markov': 1.0})
  config.base.data.tokenizer = 'symbols'
  config.base.data.vocab_size = 64
  config.base.steps = 400
  config.base.evaluation.points = 8
  config.base.evaluation.windows = 64
  config.axes = grid.product(
      grid.zip_(grid.axis('base.model.width', (32, 64)), grid.axis('base.model.layers', (2, 4))),
      grid.axis('base.optim.peak_lr', (1e-3, 3e-3)), grid.axis('base.seed', range(10)))
  return config


def main() -> None:
  import shapes  # beside this file, which is also the study that it trains
  import sweeps
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--steps', type=int, default=400)
  options = parser.parse_args()
  print(shapes.conditions(), flush=True)
  with tempfile.TemporaryDirectory() as folder:
    store = sweeps.prepare(folder)
    seconds, status = sweeps.sweep(__file__, f'{folder}/w', store,
                                   f'--config.base.steps={options.steps}')
  used = status['usage']
  shares, wall = used['shares'], used['wall']
  compiled = shares['compile'] * wall
  rest = wall - compiled
  overhead = rest - (shares['train'] + shares['evaluate']) * wall
  print(f'{len(status["runs"])} runs of {options.steps} steps, {used["compilations"]} compilations')
  print(f'{seconds:.1f} s wall with imports; the sweep itself {wall:.1f} s: ' + ', '.join(
      f'{kind} {share * wall:.1f} s' for kind, share in shares.items()))
  print(f'overhead beyond compilation: {overhead:.1f} s, {overhead / rest:.1%} of {rest:.1f} s')


if __name__ == '__main__':
  main()
