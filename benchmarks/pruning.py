"""What sparse training costs beside dense: time of a step with masks, of a pruning, and memory.

  python benchmarks/pruning.py [--shapes=40k,1M] [--turns=8] [--steps=3]

One lane. The dense program, the one with masks and the pruning take turns; of each the quickest
third of its CPU times (`time.process_time`), on accelerators of its wall times, gives the median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import shapes  # beside this file

from scaling import pruning
from scaling.specs import SparsitySpec
from scaling.train import masks
from scaling.train.program import Program
from scaling.train.shape import Shape

HYPER = {'b1': 0.9, 'b2': 0.95, 'eps': 1e-8, 'weight_decay': 0.1, 'clip_norm': 1.0}
SPEC = SparsitySpec(0.8)


def typical(seconds: list[float]) -> float:
  """In ms; the first, which may compile, is left out."""
  return 1e3 * float(np.median(sorted(seconds[1:])[:max(1, len(seconds) // 3)]))


def line(name: str, case: shapes.Case, turns: int, steps: int) -> str:
  clock = time.process_time if jax.default_backend() == 'cpu' else time.perf_counter
  tokens = np.random.default_rng(0).integers(
      0, case.vocabulary, (steps, 1, case.batch, case.length + 1)).astype(np.int32)
  lr, hyper = np.full((steps, 1), 1e-3), {k: np.full(1, v) for k, v in HYPER.items()}
  one, spent = np.ones(1, bool), dict[str, list[float]](dense=[], sparse=[], prune=[])
  programs = {sparse: Program(Shape(case.model, case.vocabulary, case.length, case.batch,
                                    sparse=sparse), 1, steps) for sparse in (False, True)}
  packs = {sparse: program.init([0]) for sparse, program in programs.items()}
  size = {sparse: sum(leaf.nbytes for leaf in jax.tree.leaves(pack))
          for sparse, pack in packs.items()}

  def timed(key: str, call: Callable[[], Any]) -> Any:
    begun = clock()
    made = jax.block_until_ready(call())
    spent[key].append(clock() - begun)
    return made

  for density in np.linspace(1, 1 - SPEC.sparsity, turns):
    for sparse, key in ((False, 'dense'), (True, 'sparse')):
      packs[sparse], _ = timed(key, lambda p=programs[sparse], pack=packs[sparse]: p.train(
          pack, tokens, lr, hyper, one, steps))
    keep = np.array([pruning.keep(SPEC, case.model, float(density))])
    packs[True] = timed('prune', lambda keep=keep: programs[True].prune(
        packs[True], masks.Kind.of(SPEC), one, keep, np.zeros(1)))
  dense, sparse = (typical(spent[key]) / steps for key in ('dense', 'sparse'))
  return (f'{name:>6} {dense:10.2f} {sparse:12.2f} {sparse / dense:6.3f} '
          f'{typical(spent["prune"]):11.2f} {size[True] / size[False]:9.3f}')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--shapes', default='40k,1M', help=', '.join(shapes.SHAPES))
  parser.add_argument('--turns', type=int, default=8)
  parser.add_argument('--steps', type=int, default=3, help='of training, a call')
  options = parser.parse_args()
  names = options.shapes.split(',')
  if not set(names) <= set(shapes.SHAPES):
    parser.error(f'--shapes: they are {", ".join(shapes.SHAPES)}')
  print(shapes.conditions())
  print(f'{"shape":>6} {"dense, ms":>10} {"sparse, ms":>12} {"ratio":>6} {"pruning, ms":>11} '
        f'{"memory":>9}')
  for name in names:
    print(line(name, shapes.SHAPES[name], options.turns, options.steps), flush=True)


if __name__ == '__main__':
  main()
