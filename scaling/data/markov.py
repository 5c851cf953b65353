"""A synthetic corpus whose entropy rate is known, to hold a trained model against the truth.

An order-2 Markov chain over S = 64 symbols. The next symbol depends on the newest one, b, and on
the class a mod C of the one before it (C = 4), so 256 rows in place of 4,096: the second order
matters, and 16,128 free numbers can be learnt from a few million tokens. Each row is the Zipf
distribution p_k ~ k^-1.5, k = 1..64, laid over its own random permutation of the symbols; its
probabilities are multiples of 2^-12 (what rounding leaves over goes to k = 1), so that sampling by
table is exact.

The pair chain's stationary distribution pi follows from that of (class of the older, newest),
pi = pi P, and the entropy rate is H = sum_{c,b} pi(c, b) H(row(c, b)) nats a symbol. The seed is
part of the corpus: there is one such chain, and `train` and `valid` are two walks on it.
"""

from __future__ import annotations

import numpy as np

STATES, CLASSES, EXPONENT, GRAIN = 64, 4, 1.5, 2**12


def rows() -> np.ndarray:
  """float64 [C, S, S]: probability of the next symbol given (class of the older, newest)."""
  k = np.arange(1, STATES + 1, dtype=np.float64)
  share = k**-EXPONENT / np.sum(k**-EXPONENT)
  counts = np.maximum(np.floor(share * GRAIN), 1).astype(np.int64)
  counts[0] += GRAIN - counts.sum()
  rng = np.random.Generator(np.random.PCG64(20_260_101))
  table = np.stack([counts[np.argsort(rng.random(STATES), kind='stable')]
                    for _ in range(CLASSES * STATES)])
  return table.reshape(CLASSES, STATES, STATES) / GRAIN


def stationary(p: np.ndarray) -> np.ndarray:
  """float64 [C, S]: the stationary distribution of (class of the older symbol, newest symbol)."""
  size = CLASSES * STATES
  step = np.zeros((CLASSES, STATES, CLASSES, STATES))
  for b in range(STATES):
    step[:, b, b % CLASSES, :] = p[:, b, :]
  # pi (P - 1) = 0 with the last equation replaced by sum(pi) = 1.
  equations = step.reshape(size, size).T - np.eye(size)
  equations[-1] = 1.0
  return np.linalg.solve(equations, np.eye(size)[-1]).reshape(CLASSES, STATES)


def entropy_rate(p: np.ndarray) -> float:
  """Nats per symbol; no model that sees only the past can have a lower expected loss."""
  return float(np.sum(stationary(p)[..., None] * -p * np.log(p)))


def walk(p: np.ndarray, length: int, seed: int) -> np.ndarray:
  """uint16 [length]: one walk of the chain, begun in its stationary distribution."""
  rng = np.random.Generator(np.random.PCG64(seed))
  ladder = np.cumsum(np.rint(p * GRAIN).astype(np.int64), axis=-1).reshape(-1, STATES)
  # Symbol by the exact inverse CDF: next_[row][r] for r uniform on the 4,096 grains.
  next_ = [np.searchsorted(row, np.arange(GRAIN), side='right').astype(np.uint8).tobytes()
           for row in ladder]
  start = int(rng.choice(CLASSES * STATES, p=stationary(p).reshape(-1)))
  older, newest = divmod(start, STATES)
  out = bytearray()
  while len(out) < length:
    for r in rng.integers(0, GRAIN, min(1 << 20, length - len(out))).tolist():
      symbol = next_[older * STATES + newest][r]
      older, newest = newest % CLASSES, symbol
      out.append(symbol)
  return np.frombuffer(bytes(out), np.uint8).astype(np.uint16)
