"""Training here and by PyTorch with torch.compile: the same shape, batch and optimizer, tokens/s.

  python benchmarks/compiled_pytorch.py [--shapes=250k,1M] [--python=ENVIRONMENT/bin/python]

PyTorch is no dependency: --python names an interpreter that has it. All train in turns, each in a
process of its own: here one lane on one core, and a lane a core; PyTorch one model, with one core
and with all. The model is the same in float32 on random tokens: RMSNorm, rotary positions, causal
attention by PyTorch's own kernel, SwiGLU or GELU, a tied head, clipping, and AdamW in its fused
form. Compilation is not counted, and the best repetition of each counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time


def model_of(torch, case):
  """The Transformer of scaling/model in PyTorch, and its loss."""
  nn, functional = torch.nn, torch.nn.functional
  spec = case['model']
  D, H, F, V, L = spec['width'], spec['heads'], spec['hidden'], case['vocabulary'], case['length']
  K, gated = D // H, spec['activation'] == 'swiglu'
  angles = torch.arange(L)[:, None] * spec['rope_base'] ** (-2 * torch.arange(K // 2) / K)

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.norms = nn.ModuleList(nn.RMSNorm(D, eps=1e-6) for _ in range(2))
      self.qkv, self.out = (nn.Linear(D, n * D, bias=False) for n in (3, 1))
      self.up = nn.Linear(D, 2 * F if gated else F, bias=False)
      self.down = nn.Linear(F, D, bias=False)

    def forward(self, x, cos, sin):
      B = x.shape[0]
      q, k, v = self.qkv(self.norms[0](x)).view(B, L, 3, H, K).permute(2, 0, 3, 1, 4)
      q, k = (torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
              for a, b in (t.chunk(2, -1) for t in (q, k)))
      seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
      x = x + self.out(seen.transpose(1, 2).reshape(B, L, D))
      h = self.up(self.norms[1](x))
      if gated:
        gate, h = h.chunk(2, -1)
        return x + self.down(functional.silu(gate) * h)
      return x + self.down(functional.gelu(h, approximate='tanh'))

  class Transformer(nn.Module):
    def __init__(self):
      super().__init__()
      self.embedding = nn.Embedding(V, D)
      self.blocks = nn.ModuleList(Block() for _ in range(spec['layers']))
      self.norm = nn.RMSNorm(D, eps=1e-6)
      self.register_buffer('cos', angles.cos())
      self.register_buffer('sin', angles.sin())
      nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens, targets):
      x = self.embedding(tokens)
      for block in self.blocks:
        x = block(x, self.cos, self.sin)
      logits = self.norm(x) @ self.embedding.weight.T
      return functional.cross_entropy(logits.view(-1, V), targets.reshape(-1))

  return Transformer()


def by_pytorch(case: dict, compiled: bool, threads: int, seconds: float) -> dict:
  """Tokens/s of PyTorch, in this process."""
  import torch
  torch.manual_seed(0)
  torch.set_num_threads(threads)
  model = model_of(torch, case)
  optimizer = torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.1,
                                fused=True)
  call = torch.compile(model) if compiled else model
  tokens = torch.randint(case['vocabulary'], (8, case['batch'], case['length'] + 1))

  def step(i):
    loss = call(tokens[i % 8, :, :-1], tokens[i % 8, :, 1:])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss

  start = time.perf_counter()
  for i in range(3):
    step(i)
  setup = time.perf_counter() - start
  best, end = float('inf'), time.perf_counter() + seconds
  while time.perf_counter() < end:
    start = time.perf_counter()
    for i in range(8):
      loss = step(i)
    loss.item()
    best = min(best, (time.perf_counter() - start) / 8)
  return {'rate': case['batch'] * case['length'] / best, 'setup': setup,
          'parameters': sum(p.numel() for p in model.parameters()), 'version': torch.__version__}


def by_us(name: str, lanes: int, seconds: float) -> dict:
  """Tokens/s of this project's program, in this process."""
  import jax
  import numpy as np
  import shapes

  from scaling import accounting, tuning
  from scaling.train import advice, program, sharding
  case = shapes.SHAPES[name]
  jax.config.update('jax_num_cpu_devices', min(lanes, shapes.cores()))
  shape = program.Shape(case.model, case.vocabulary, case.length, case.batch)
  advice = advice.recommended(shape, lanes, jax.devices())
  made = program.Program(shape, lanes, 8, advice.accumulation, sharding.mesh(run=advice.run))
  setup = made.compile()
  pack = made.init(range(lanes))
  tokens = np.random.default_rng(0).integers(
      0, case.vocabulary, (8, lanes, case.batch, case.length + 1), np.int32)
  hyper = {key: np.full(lanes, value) for key, value in tuning.NUMBERS.items()}
  best, end, turn = float('inf'), time.perf_counter() + seconds, 0
  while time.perf_counter() < end or turn < 2:
    start = time.perf_counter()
    pack, metrics = made.train(pack, tokens, np.full((8, lanes), 1e-3), hyper,
                               np.ones(lanes, bool), 8)
    jax.block_until_ready(metrics)
    if turn:
      best = min(best, (time.perf_counter() - start) / 8)
    turn += 1
  return {'rate': lanes * case.batch * case.length / best, 'setup': setup,
          'parameters': accounting.parameters(case.model, case.vocabulary),
          'version': jax.__version__}


def cores() -> int:
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def measured(python: str, *task) -> dict:
  """What a process of its own found."""
  done = subprocess.run([python, __file__, f'--task={json.dumps(task)}'], capture_output=True,
                        text=True)
  if done.returncode:
    last = (done.stderr.strip().splitlines() or ['no message'])[-1]
    if "No module named 'torch'" in last:
      sys.exit(f'{python} has no PyTorch: make an environment with it (pip install torch) and give '
               '--python=ENVIRONMENT/bin/python')
    sys.exit(f'{python} {task[0]}: {last}')
  return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--shapes', default='250k,1M', help='see benchmarks/shapes.py')
  parser.add_argument('--python', default=sys.executable, help='an interpreter that has PyTorch')
  parser.add_argument('--seconds', type=float, default=10, help='of each measurement')
  parser.add_argument('--turns', type=int, default=2, help='measurements of each')
  parser.add_argument('--task', help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.task:
    kind, *arguments = json.loads(options.task)
    print(json.dumps((by_pytorch if kind == 'pytorch' else by_us)(*arguments)))
    return
  import shapes  # beside this file; PyTorch's environment need not have what it imports
  print(shapes.conditions())
  print(f'{"shape":>6} {"who":26} {"parameters":>11} {"set up s":>9} {"tokens/s":>10} '
        f'{"to ours":>8}')
  for name in options.shapes.split(','):
    case = shapes.SHAPES[name]
    model = dataclasses.asdict(case.model) | {'hidden': case.model.hidden}
    plain = {'model': model, 'vocabulary': case.vocabulary, 'length': case.length,
             'batch': case.batch}
    lanes = cores()
    tasks = {
        'here, 1 lane': (sys.executable, 'here', name, 1, options.seconds),
        f'here, {lanes} lanes': (sys.executable, 'here', name, lanes, options.seconds),
        **{f'PyTorch, {"compiled" if compiled else "eager"}, {threads} cores':
           (options.python, 'pytorch', plain, compiled, threads, options.seconds)
           for compiled in (True, False) for threads in sorted({1, cores()})},
    }
    found: dict[str, list[dict]] = {who: [] for who in tasks}
    for _ in range(options.turns):
      for who, task in tasks.items():
        found[who].append(measured(*task))
    ours = max(r['rate'] for r in found['here, 1 lane'])
    for who, results in found.items():
      rate = max(r['rate'] for r in results)
      print(f'{name:>6} {who:26} {results[0]["parameters"]:11,} {results[0]["setup"]:9.1f} '
            f'{rate:10,.0f} {rate / ours:8.2f}', flush=True)
  print(shapes.conditions())


if __name__ == '__main__':
  main()
