"""Corpora that TFDS has prepared, named as a path:

  tfds:NAME[/CONFIG][:VERSION][@DIR]   in DIR, by default where TFDS keeps its own
  tfds:/FOLDER, tfds:gs://FOLDER       a prepared folder, whoever made it

Nothing is downloaded: `tfds build NAME`, or a copy of the folder, comes first. All splits are read,
since the split between training and validation goes by the document (corpora.split_of_digest).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from scaling.errors import InputError, bad

PREFIX = 'tfds:'


def is_name(path: str) -> bool:
  return path.startswith(PREFIX)


@functools.lru_cache(maxsize=8)
def _builder(path: str) -> Any:
  try:
    import tensorflow_datasets as tfds
  except ImportError:
    raise InputError(f"--path={path}: needs the extra 'data': pip install -e '.[data]'") from None
  name, _, folder = path.removeprefix(PREFIX).partition('@')
  try:
    if '://' in name or name.startswith('/'):
      found = tfds.builder_from_directory(name)
    else:
      found = tfds.builder(name, **({'data_dir': folder} if folder else {}))
  except Exception as error:  # TFDS has its own for every way of not finding one.
    raise bad('--path', path, f'TFDS has none: {str(error).strip().splitlines()[0]}') from None
  if not found.info.splits:
    raise bad('--path', path, f'it has not been prepared: tfds build {name}')
  return found


def source(path: str) -> str:
  """What determines the documents: name, configuration, version, and how many each split has."""
  info = _builder(path).info
  sizes = ', '.join(f'{name} {info.splits[name].num_examples}' for name in sorted(info.splits))
  return f'{info.full_name} ({sizes})'


def documents(path: str, field: str, part: int = 0, parts: int = 1) -> Iterator[str]:
  """The texts, or the `part`-th of `parts` equal pieces of them."""
  import tensorflow_datasets as tfds
  builder = _builder(path)
  features = sorted(builder.info.features)
  if field not in features:
    raise InputError(f'--text_field: {path} has no feature {field!r}; it has: '
                     f'{", ".join(features)}')
  for split in sorted(builder.info.splits):
    piece = tfds.even_splits(split, parts)[part] if parts > 1 else split
    for example in tfds.as_numpy(builder.as_dataset(split=piece, shuffle_files=False)):
      yield example[field].decode()
