"""How long it takes to load a large workdir into a table.

  python benchmarks/load_logs.py --runs=10000 --lines=50

Writes made-up runs in the format of the run store (docs/formats.md) and times `analysis.logs.load`.
Four budgets of each seed share a trunk, as in a study with warmup-stable-decay schedules, so that
finding the lineages is timed, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time

import shapes  # beside this file

from analysis import logs
from scaling import specs

BUDGETS = (1, 2, 4, 8)


def write(workdir: str, runs: int, lines: int) -> None:
  """A workdir of one study with `runs` finished runs of `lines` evaluations each."""
  data = {'domains': {'text': {'weight': 1.0}}}
  points = []
  for i in range(runs):
    seed, budget = divmod(i, len(BUDGETS))
    every = 100 * BUDGETS[budget]
    spec = specs.from_dict({'data': data, 'seed': seed, 'steps': every * lines,
                            'optim': {'schedule': 'wsd', 'warmup_steps': 50},
                            'evaluation': {'points': lines}})
    run_id = specs.run_id(spec)
    folder = f'{workdir}/runs/{run_id}'
    os.makedirs(folder)
    points.append({'run_id': run_id, 'held_out': False,
                   'point': {'base.seed': seed, 'base.steps': spec.steps}})
    with open(f'{folder}/spec.json', 'w') as file:
      json.dump(specs.canonical(spec), file)
    with open(f'{folder}/curve.jsonl', 'w') as file:
      for line in range(1, lines + 1):
        step = every * line
        D = step * spec.data.tokens_per_step
        file.write(json.dumps({
            'step': step, 'lr': 3e-3, 'N': 100_000, 'N_nonembedding': 70_000, 'N_average': 100_000,
            'N_v': 30_000, 'V': 512, 'D': D, 'D_total': D, 'C': 6e5 * D, 'C_total': 6e5 * D,
            'C_counted': 7e5 * D, 'H': 3.5 * D, 'U': D, 'B': spec.data.tokens_per_step,
            'train_loss': 3.0 + 1 / line,
            'domains': {'text': {'loss': 3.1 + 1 / line, 'loss_se': 0.01, 'bits_per_byte': 1.2,
                                 'loss_unigram': -2.0, 'unseen': 0.0, 'r': 1.0, 'D': D,
                                 'characters': 3.5 * D, 'bytes': 3.5 * D, 'epochs': 0.1}}}) + '\n')
    with open(f'{folder}/result.json', 'w') as file:
      json.dump({'run_id': run_id, 'step': spec.steps, 'curve_lines': lines}, file)
  os.makedirs(f'{workdir}/studies')
  with open(f'{workdir}/studies/many.json', 'w') as file:
    json.dump({'name': 'many', 'laws': [], 'runs': points}, file)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--runs', type=int, default=10_000)
  parser.add_argument('--lines', type=int, default=50)
  options = parser.parse_args()
  print(shapes.conditions())
  with tempfile.TemporaryDirectory() as workdir:
    write(workdir, options.runs, options.lines)
    for turn in ('first', 'second'):
      start, spent = time.perf_counter(), time.process_time()
      table = logs.load(workdir)
      print(f'{turn} load: {options.runs:,} runs, {len(table):,} rows in '
            f'{time.perf_counter() - start:.2f} s wall, {time.process_time() - spent:.2f} s CPU',
            flush=True)


if __name__ == '__main__':
  main()
