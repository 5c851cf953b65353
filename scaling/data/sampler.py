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

# 2**64 / golden ratio. In 64-bit integers frac(u + 0.618034 n) is exact for every n.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = 6


def draw(seed: int, weights_KxM: np.ndarray, batch: int, drawn: Sequence[int],
         windows: Sequence[int], names: Sequence[str] | None = None,
         ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
  """The sequences of K steps.

  Sequence n of a run (n = sum(drawn) before it) comes from the domain
  min{m: w_1 + ... + w_m > frac(u + n / golden ratio)}, with w its step's weights and u in [0, 1)
  from the seed: the counts stay within three sequences of the weights' sums (tests/ measures 2.4
  at worst over a million sequences), where independent draws are off by sqrt(n). Its window is
  `permute(count modulo windows)`, keyed by (seed, domain, epoch), so that an epoch reads every
  window once.

  Args:
    seed: of the run.
    weights_KxM: shares of the domains at each step, >= 0, rows summing to 1. A domain of weight 0
      is never drawn.
    batch: B, sequences a step.
    drawn: sequences taken so far of each domain.
    windows: how many windows each domain has, at least 1 where the weight is not 0.
    names: of the domains; the permutations are keyed by them, so that a domain keeps its own when
      others are added. None: their positions.

  Returns:
    domain int32 [K, B], window int64 [K, B], and `drawn` after the K steps.
  """
  steps, domains = weights_KxM.shape
  first = sum(drawn)
  with np.errstate(over='ignore'):
    n = np.arange(steps * batch, dtype=np.uint64) + np.uint64(first % 2**64)
    x = ((_key(seed, 'mixture') + n * GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53
  domain_KxB = _inverse_cdf(weights_KxM, x.reshape(steps, batch))
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
      window_KxB[chosen] = permute(key, epoch, position, windows[m])
  return domain_KxB, window_KxB, tuple(after)


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


def _feistel(keys: np.ndarray, x: np.ndarray, a: np.uint64, b: np.uint64) -> np.ndarray:
  left, right = x // b, x % b
  for i in range(ROUNDS):
    salt = keys + np.uint64(2 * i + 1) * GOLDEN
    left = (left + (_mix(salt ^ right) >> np.uint64(32))) % a
    right = (right + (_mix((salt + GOLDEN) ^ left) >> np.uint64(32))) % b
  return left * b + right


def _mix(x: np.ndarray) -> np.ndarray:
  """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def _key(*parts: object) -> np.uint64:
  digest = hashlib.sha256('\0'.join(map(str, parts)).encode()).digest()
  return np.uint64(int.from_bytes(digest[:8], 'little'))


def _inverse_cdf(weights_KxM: np.ndarray, x_KxB: np.ndarray) -> np.ndarray:
  """The first domain whose cumulative weight exceeds x; rounding never picks a weight of 0."""
  cumulative = np.cumsum(weights_KxM, axis=1)
  cumulative /= cumulative[:, -1:]
  last = weights_KxM.shape[1] - 1 - np.argmax(weights_KxM[:, ::-1] > 0, axis=1)
  cumulative[np.arange(len(last)), last] = 1.0
  domain = np.zeros(x_KxB.shape, np.int32)
  for m in range(weights_KxM.shape[1] - 1):
    domain += x_KxB >= cumulative[:, m, None]
  return np.minimum(domain, last[:, None]).astype(np.int32)
