"""How long it takes to plan a large study: build its runs, find shared prefixes, see what is left.

  python benchmarks/plan_study.py --runs=100000

These are the steps of `python -m scaling.sweep --mode=plan` in an empty workdir, imports and the
summary included; only the token stores are made up.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import shapes  # beside this file

from scaling import grid, plans, prefixes, segments, specs, stages, study
from scaling.data import token_store


def config(runs: int):
  """A grid of 25 learning rates, 10 seeds, 4 budgets of a decaying schedule, and as many ratios
  as it takes."""
  found = study.new_config('large', {'a': 0.5, 'b': 0.5})
  found.base.optim.schedule = 'wsd'
  found.base.optim.warmup_steps = 10
  ratios = max(runs // 1000, 1)
  found.axes = grid.product(
      grid.zip_(grid.axis('base.data.domains.a.weight', [i / ratios for i in range(ratios)]),
                grid.axis('base.data.domains.b.weight', [1 - i / ratios for i in range(ratios)])),
      grid.axis('base.optim.peak_lr', [1e-3 * 1.1**i for i in range(25)]),
      grid.axis('base.seed', range(10)),
      grid.axis('base.steps', (100, 200, 400, 800)))
  return found


class _Store:
  """As much of a token store as a study looks at, large enough for anything."""

  fingerprint = 'f' * 16

  def __init__(self, spec: specs.RunSpec):
    data = spec.data
    self.tokenizer = token_store.tokenizer_name(data.tokenizer, data.vocab_size, data.trained_on)
    self.vocab_size = data.vocab_size

  def count(self, split: str) -> int:
    del split
    return 10**12

  def windows(self, split: str, length: int, unique_tokens: int | None = None) -> int:
    del split
    return (unique_tokens or 10**12) // length


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--runs', type=int, default=100_000)
  options = parser.parse_args()
  print(shapes.conditions())
  start = begun = time.perf_counter()
  print(f'{"imports, so far":40} {time.process_time():6.2f} s CPU')

  def done(what: str) -> None:
    nonlocal start
    now = time.perf_counter()
    print(f'{what:40} {now - start:6.2f} s', flush=True)
    start = now

  planned = study.build(config(options.runs), {}, lambda spec: dict.fromkeys(
      spec.data.domains, _Store(spec)))  # type: ignore[arg-type]
  done(f'build {len(planned.runs):,} runs')
  listed = {r.run_id: r.spec for r in planned.runs}
  with tempfile.TemporaryDirectory() as workdir:
    parents = stages.parents(listed, workdir)
  forest = prefixes.forest([*parents.items(), *listed.items()])
  done(f'{len(forest) - len(planned.runs):,} shared prefixes')
  with tempfile.TemporaryDirectory() as workdir:
    todo = segments.remaining(workdir, forest)
    done(f'{len(todo):,} segments left')
    plans.text(plans.summarize(planned, forest, todo, workdir))
    done('summary')
  print(f'{"all":40} {time.perf_counter() - begun:6.2f} s wall and imports, '
        f'{time.process_time():.2f} s CPU in all')


if __name__ == '__main__':
  main()
