"""Which window every training sequence reads: a pure function of the counts drawn so far.

Nothing here touches a disk, and the only state is `drawn`, the sequences taken of each domain. So
a resumed run, a run cut into other chunks of steps and a child that goes on where its parent
stopped all read the same sequences, and step 10**6 costs what step 0 does.

Array suffixes: K steps, B sequences a step, M domains.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

# 2**64 / golden ratio, the odd increment of SplitMix64.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = 6


def draw(seed: int, weights_KxM: np.ndarray, batch: int, drawn: Sequence[int],
         windows: Sequence[int], names: Sequence[str] | None = None,
         start: Sequence[int] | None = None, due_KxM: np.ndarray | None = None,
         blocks: Sequence[np.ndarray | None] | None = None,
         ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
  """The sequences of K steps.

  Every sequence comes from the domain that is furthest behind the sum of its weights (`choose`),
  so that the counts stay within H_(M-1) < 3 sequences of those sums for up to 11 domains, under
  any schedule of the weights; independent draws would be off by sqrt(n). Its window is
  `permute(count modulo windows)`, keyed by (seed, domain, epoch): an epoch reads every window once.

  Args:
    seed: of the run.
    weights_KxM: shares of the domains at each step, >= 0, rows summing to 1. A domain of weight 0
      is never drawn.
    batch: B, sequences a step.
    drawn: sequences taken so far of each domain, ancestors' included.
    windows: how many windows each domain has, at least 1 where the weight is not 0.
    names: of the domains; the permutations are keyed by them, so that a domain keeps its own when
      others are added. None: their positions.
    start: `drawn` before the run's first step, what it inherited. None: zeros.
    due_KxM: float64, the sum of the weights over all the run's sequences before each step; it must
      not depend on where the K steps begin. None: the weights never change.
    blocks: of each domain, the window that each block of its text ends before, increasing to
      `windows`; an epoch then reads block after block, each in the order of its own permutation.

  Returns:
    domain int32 [K, B], window int64 [K, B], and `drawn` after the K steps.
  """
  steps, domains = weights_KxM.shape
  own = [d - s for d, s in zip(drawn, start or (0,) * domains)]
  if due_KxM is None:
    if (weights_KxM != weights_KxM[:1]).any():
      raise ValueError('weights that change need due_KxM')
    due_KxM = (sum(own) + batch * np.arange(steps))[:, None] * weights_KxM[:1]
  domain_KxB = choose(weights_KxM, batch, own, due_KxM)
  window_KxB = np.zeros((steps, batch), np.int64)
  after = []
  for m in range(domains):
    chosen = domain_KxB == m
    count = int(chosen.sum())
    after.append(drawn[m] + count)
    if count:
      taken = np.arange(drawn[m], drawn[m] + count, dtype=np.int64)
      epoch, position = np.divmod(taken, windows[m])
      key = _key(seed, 'windows', names[m] if names else str(m))
      ends = blocks[m] if blocks else None
      if ends is None:
        window_KxB[chosen] = permute(key, epoch, position, windows[m])
      else:
        window_KxB[chosen] = permute_blocks(key, epoch, position, ends)
  return domain_KxB, window_KxB, tuple(after)


def choose(weights_KxM: np.ndarray, batch: int, own: Sequence[int], due_KxM: np.ndarray,
           ) -> np.ndarray:
  """int32 [K, B]: for every sequence the domain with the largest deficit, the first among equals.

  The deficit of domain m at sequence j = 0, 1, ... of a step with weights w is
  due_m + (j + 1) w_m - (sequences drawn of m), with due_m its w_m summed so far. The choice is
  the emptier's in the cup game on M cups: a domain is never ahead by a whole sequence, and never
  behind by more than the harmonic number H_(M-1) (Adler et al., "A proportionate fair scheduling
  rule with good worst-case performance", SPAA 2003). A fixed low-discrepancy sequence put
  through the inverse CDF cannot promise that, its error grows with log n: with the golden ratio's
  multiples two domains passed 3 within 100,000 sequences, eight within 10,000, in random trials.
  """
  steps, domains = weights_KxM.shape
  if domains == 1:
    return np.zeros((steps, batch), np.int32)
  counts, found = [float(c) for c in own], []
  # Plain floats: numpy costs 20 times more on arrays of M.
  for weights, due in zip(weights_KxM.tolist(), due_KxM.tolist()):
    live = [(m, weights[m]) for m in range(domains) if weights[m] > 0]
    for j in range(1, batch + 1):
      best, most = -1, -math.inf
      for m, weight in live:
        deficit = due[m] + j * weight - counts[m]
        if deficit > most:
          best, most = m, deficit
      counts[best] += 1.0
      found.append(best)
  return np.array(found, np.int32).reshape(steps, batch)


def permute(key: np.uint64, epoch: np.ndarray, position: np.ndarray, size: int) -> np.ndarray:
  """Image of each position under the (key, epoch)-th pseudo-random permutation of range(size).

  A Feistel network on pairs (left < a, right < b) with a = ceil(sqrt(size)), b = ceil(size / a):
  each round adds a hash of one half to the other, which any hash makes a bijection of the a b
  pairs. The fewer than a images >= size are sent through again until they fall inside (cycle
  walking), so it is a bijection of range(size) in constant memory. Black and Rogaway, "Ciphers
  with arbitrary finite domains", CT-RSA 2002.
  """
  a = np.uint64(math.isqrt(size - 1) + 1)
  b = np.uint64(-(-size // int(a)))
  with np.errstate(over='ignore'):
    keys = _mix(key + np.asarray(epoch).astype(np.uint64) * GOLDEN)
    out = _feistel(keys, np.asarray(position).astype(np.uint64), a, b)
    outside = np.flatnonzero(out >= size)
    while outside.size:
      out[outside] = _feistel(keys[outside], out[outside], a, b)
      outside = outside[out[outside] >= size]
  return out.astype(np.int64)


def permute_blocks(key: np.uint64, epoch: np.ndarray, position: np.ndarray, ends: np.ndarray,
                   ) -> np.ndarray:
  """`permute` of each block of positions, ends[b - 1] .. ends[b] - 1, by itself."""
  out, block = np.empty(position.shape, np.int64), np.searchsorted(ends, position, 'right')
  for b in np.unique(block):
    inside = block == b
    first = int(ends[b - 1]) if b else 0
    with np.errstate(over='ignore'):
      own = np.uint64(_mix(np.asarray(key + np.uint64(b + 1) * GOLDEN)))
    out[inside] = first + permute(own, epoch[inside], position[inside] - first,
                                  int(ends[b]) - first)
  return out


def _feistel(keys: np.ndarray, x: np.ndarray, a: np.uint64, b: np.uint64) -> np.ndarray:
  left, right = x // b, x % b
  for i in range(ROUNDS):
    salt = keys + np.uint64(2 * i + 1) * GOLDEN
    left = (left + (_mix(salt ^ right) >> np.uint64(32))) % a
    right = (right + (_mix((salt + GOLDEN) ^ left) >> np.uint64(32))) % b
  return left * b + right


def _mix(x: np.ndarray) -> np.ndarray:
  """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): each bit in moves each bit out."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def _key(*parts: object) -> np.uint64:
  digest = hashlib.sha256('\0'.join(map(str, parts)).encode()).digest()
  return np.uint64(int.from_bytes(digest[:8], 'little'))
