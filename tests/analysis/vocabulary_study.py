"""A vocabulary study's workdir with losses of a known law, without training anything."""

from __future__ import annotations

import json

import numpy as np

from analysis.laws import vocabulary as law
from scaling import specs
from tests.analysis.workdirs import put

TRUTH = {'E': 2.9, 'A1': 0.45 * 3e4**0.4, 'A2': 0.35 * 2e4**0.6, 'B': 0.8 * 1e6**0.4,
         'alpha1': 0.4, 'alpha2': 0.6, 'beta': 0.4}
F = (0.0085, -0.2, 1.33)
SIZES = ((1.5e4, 16), (4e4, 24), (1e5, 40))  # N_nv, d
VOCABULARIES = (384, 640, 1024, 1792, 3072, 6144)
STEPS = (400, 800, 1600, 3200)
CHARACTERS = 2500  # a step


def unigram(V: float) -> float:
  """H_u, nats per token."""
  return 4.2 + 0.45 * float(np.log(V / 256))


def write(folder, noise: float = 0.0, name: str = 'vocabulary', sizes=SIZES,
          vocabularies=VOCABULARIES, steps=STEPS, seeds=(0,)) -> str:
  """A study of size x vocabulary x text, L_u by TRUTH and bits by L_u; returns the workdir."""
  random = np.random.default_rng(0)
  runs = []
  for size, width in sizes:
    for V in vocabularies:
      t = law.tokens_per_char(V, F)
      for seed in seeds:
        luck = noise * random.normal()
        for count in steps:
          spec = specs.from_dict({
              'model': {'width': width}, 'steps': count, 'seed': seed,
              'optim': {'schedule': 'wsd'}, 'data': {
                  'vocab_size': V, 'domains': {'docs': {'weight': 1.0}}}})
          run = specs.run_id(spec)
          runs.append({'run_id': run, 'point': {'size': size}, 'held_out': False})
          lines = [json.dumps(_line(step, size, V, width, t, luck)) for step in (count // 2, count)]
          put(folder, f'runs/{run}/spec.json', json.dumps(specs.canonical(spec)))
          put(folder, f'runs/{run}/curve.jsonl', '\n'.join(lines) + '\n')
          put(folder, f'runs/{run}/result.json', json.dumps({'run_id': run, 'step': count}))
  put(folder, f'studies/{name}.json', json.dumps({'name': name, 'laws': ['vocabulary'],
                                                  'runs': runs}))
  return str(folder)


def _line(step: int, size: float, V: int, d: int, t: float, luck: float) -> dict:
  H = CHARACTERS * step
  D = H * t
  L_u = float(law.LAW.predict(TRUTH, {'N_nv': size, 'N_v': V * d, 'D': D})) + luck
  loss = L_u + unigram(V)
  line = {'N': size + V * d, 'N_nonembedding': size, 'N_average': size, 'N_v': V * d, 'V': V,
          'step': step, 'lr': 1e-3, 'D': D, 'C': 6 * (size + V * d) * D, 'H': H, 'U': D, 'B': 512,
          'C_counted': 7 * size * D, 'D_total': D, 'C_total': 6 * size * D, 'train_loss': loss}
  return line | {'domains': {'docs': {
      'loss': loss, 'loss_se': 0.01, 'bits_per_byte': loss * t / float(np.log(2)),
      'loss_unigram': L_u, 'r': 1.0, 'D': D}}}
