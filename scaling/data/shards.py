"""The tokens of a split that lie in several files, read as if they were one.

A store made by Beam has train-00000-of-00064.bin and so on, each a range of the documents' hashes;
end to end they are the one file that a single machine would have made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np


def path(split: str, ending: str, shard: int, shards: int) -> str:
  """The file of a shard; with no shards, the split's one file."""
  return f'{split}-{shard:05d}-of-{shards:05d}.{ending}' if shards else f'{split}.{ending}'


def paths(folder: str, split: str, ending: str, shards: int) -> list[str]:
  return [os.path.join(folder, path(split, ending, i, shards)) for i in range(max(shards, 1))]


class Pieces:
  """1-D arrays end to end: what `np.concatenate` gives, without reading them."""

  def __init__(self, pieces: Sequence[np.ndarray]):
    self._pieces = list(pieces)
    self._ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    self.dtype = pieces[0].dtype

  def __len__(self) -> int:
    return int(self._ends[-1])

  @property
  def nbytes(self) -> int:
    return len(self) * self.dtype.itemsize

  def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
    return np.concatenate(self._pieces).astype(dtype or self.dtype, copy=False)

  def __getitem__(self, index: np.ndarray | slice | int) -> np.ndarray:
    """Any integer array, or a slice: each element is looked up in the piece that holds it."""
    if isinstance(index, slice):
      index = np.arange(*index.indices(len(self)))
    index = np.asarray(index, np.int64)
    index = np.where(index < 0, index + len(self), index)
    out = np.empty(index.shape, self.dtype)
    where = np.searchsorted(self._ends, index, side='right')
    if index.size and (index.min() < 0 or where.max() == len(self._pieces)):
      raise IndexError(f'an index of {index.min()} to {index.max()} of {len(self)} tokens')
    for i in np.unique(where):
      begin = self._ends[i] - len(self._pieces[i])
      out[where == i] = self._pieces[i][index[where == i] - begin]
    return out
