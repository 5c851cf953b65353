"""What shared prefixes save: one study trained with and without them, in tokens and in time.

  python benchmarks/prefix_sharing.py

Four budgets (1, 2, 4, 8 units, decay over the last fifth) at two sizes and two seeds. Prints the
tokens and the wall time of both, and whether the curves are the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from ml_collections import ConfigDict

from scaling import grid, study


def get_config() -> ConfigDict:
  config = study.new_config('prefix_sharing', {'markov': 1.0})
  config.base.data.tokenizer = 'symbols'
  config.base.data.vocab_size = 64
  config.base.optim.schedule = 'wsd'
  config.base.optim.warmup_steps = 20
  config.base.evaluation.points = 4
  config.base.evaluation.windows = 64
  config.axes = grid.product(
      grid.zip_(grid.axis('base.model.width', (32, 64)), grid.axis('base.model.layers', (2, 4))),
      grid.axis('base.steps', (100, 200, 400, 800)), grid.axis('base.seed', (0, 1)))
  return config


def main() -> None:
  import shapes  # beside this file, which is also the study that it trains
  import sweeps
  argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
                          ).parse_args()
  print(shapes.conditions(), flush=True)
  with tempfile.TemporaryDirectory() as folder:
    store = sweeps.prepare(folder)
    plan = sweeps.plan(__file__, f'{folder}/shared', store)
    print(f'{plan["runs"]} runs, {plan["prefixes"]} shared prefixes, {plan["lineages"]} lineages: '
          f'{plan["tokens"]:,} tokens in place of {plan["tokens_alone"]:,}, '
          f'{plan["tokens"] / plan["tokens_alone"]:.3f}')
    seconds = {}
    for name, flags in (('shared', ()), ('alone', ('--noshare_prefixes',))):
      seconds[name], status = sweeps.sweep(__file__, f'{folder}/{name}', store, *flags)
      used = status['usage']
      print(f'{name:7} {seconds[name]:6.1f} s wall; {used["tokens"]:,} tokens; ' + ', '.join(
          f'{kind} {share:.1%}' for kind, share in used['shares'].items()), flush=True)
    same = sweeps.curves(f'{folder}/shared') == sweeps.curves(f'{folder}/alone')
    print(f'curves {"are the same bytes" if same else "DIFFER"}; '
          f'time ratio {seconds["shared"] / seconds["alone"]:.2f}')
    sys.exit(0 if same else 1)


if __name__ == '__main__':
  main()
