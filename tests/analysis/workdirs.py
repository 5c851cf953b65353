"""Workdirs in the run store's format, with losses of a known law, without training anything."""

from __future__ import annotations

import json
import os

import numpy as np

from analysis import laws
from scaling import specs

TRUTH = {'E': 2.0, 'A': 60.0, 'B': 2500.0, 'alpha': 0.45, 'beta': 0.6}
WIDTHS = (16, 32, 48, 80)
STEPS = (800, 1600, 3200)


def write(folder, noise: float = 0.003, domains=('python_docs',), seed: int = 0,
          widths=WIDTHS, steps=STEPS, held=((128, 4800),)) -> str:
  """A study `quickstart` of width x steps with one held-out run; returns the workdir."""
  random = np.random.default_rng(seed)
  law = laws.get('chinchilla')
  runs = []
  for width, count, out in [(w, s, False) for w in widths for s in steps] + [
      (w, s, True) for w, s in held]:
    spec = specs.from_dict({
        'model': {'width': width}, 'steps': count, 'data': {
            'batch': 4, 'domains': {d: {'weight': 1 / len(domains)} for d in domains}}})
    name = specs.run_id(spec)
    runs.append({'run_id': name, 'point': {'size': float(width), 'tokens': spec.tokens},
                 'held_out': out})
    size = 12 * 2 * width**2 + 512 * width
    lines = []
    factor = float(np.exp(noise * random.normal()))
    for step in spec.eval_steps:
      tokens = step * spec.data.tokens_per_step
      loss = float(law.predict(TRUTH, {'N': size, 'D': tokens})) * factor
      line = {k: size for k in ('N', 'N_nonembedding', 'N_average', 'N_v')}
      line |= {'step': step, 'lr': 1e-3, 'V': 512, 'D': tokens, 'C': 6 * size * tokens,
               'C_counted': 7 * size * tokens, 'H': 3.0 * tokens, 'U': tokens, 'B': 512,
               'D_total': tokens, 'C_total': 6 * size * tokens, 'train_loss': loss + 0.02,
               'domains': {d: {'loss': loss + 0.1 * i, 'loss_se': 0.01, 'bits_per_byte': loss / 2,
                               'loss_unigram': loss - 5, 'unseen': 0.0, 'r': 1 / len(domains),
                               'D': tokens / len(domains)} for i, d in enumerate(domains)}}
      lines.append(json.dumps(line))
    put(folder, f'runs/{name}/spec.json', json.dumps(specs.canonical(spec)))
    put(folder, f'runs/{name}/curve.jsonl', '\n'.join(lines) + '\n')
    put(folder, f'runs/{name}/result.json', json.dumps(
        {'run_id': name, 'step': count, 'curve_lines': len(lines)}))
  put(folder, 'studies/quickstart.json', json.dumps(
      {'name': 'quickstart', 'laws': ['chinchilla'], 'runs': runs}))
  return str(folder)


def put(folder, path: str, text: str) -> None:
  target = os.path.join(folder, path)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  with open(target, 'w') as file:
    file.write(text)
