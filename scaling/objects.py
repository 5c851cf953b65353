"""Object stores (gs://, s3://) as a place for files: whole objects, exclusive creation, listings.

A put replaces an object at once and as a whole, and both stores list and read what was put before
(strong consistency), so replacing and reading need nothing more. Exclusive creation is the store's
own precondition, ifGenerationMatch=0 on GCS and IfNoneMatch=* on S3, by fsspec's mode='create'.
There are no folders, and an object cannot grow.

Needs the extra 'bucket' (fsspec with gcsfs or s3fs). Nothing is cached: others write here.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

from scaling.errors import InputError, bad

SCHEMES = ('gs', 's3')


def on_bucket(path: str | os.PathLike[str]) -> bool:
  return '://' in os.fspath(path)


def _open(path: str) -> tuple[Any, str]:
  """The file system of a path, and the path in it."""
  scheme = path.partition('://')[0]
  if scheme not in SCHEMES:
    raise bad('--workdir', path, 'it must be a folder, or begin with gs:// or s3://')
  import fsspec  # pylint: disable=import-outside-toplevel
  try:
    return fsspec.core.url_to_fs(path, use_listings_cache=False)
  except ImportError:
    raise InputError(f"{path}: needs the extra 'bucket': pip install -e '.[bucket]'") from None


def read(path: str) -> bytes:
  store, key = _open(path)
  return store.cat_file(key)


def put(path: str, data: bytes) -> None:
  store, key = _open(path)
  store.pipe_file(key, data)


def create(path: str, data: bytes) -> bool:
  """Makes an object unless there is one; among any number of callers one gets True."""
  store, key = _open(path)
  try:
    store.pipe_file(key, data, mode='create')
  except FileExistsError:
    return False
  return True


def exists(path: str) -> bool:
  """Whether there is such an object, or any below that name."""
  store, key = _open(path)
  return store.exists(key)


def names(folder: str) -> list[str]:
  store, key = _open(folder)
  try:
    found = store.ls(key, detail=False, refresh=True)
  except (FileNotFoundError, NotADirectoryError):
    return []
  inside = [name.rstrip('/') for name in found]
  return [name.rpartition('/')[2] for name in inside if name != key.rstrip('/')]


def remove(path: str) -> None:
  store, key = _open(path)
  if store.exists(key):
    store.rm_file(key)


def remove_tree(folder: str) -> None:
  store, key = _open(folder)
  if store.exists(key):
    store.rm(key, recursive=True)


def upload(folder: str, target: str) -> None:
  """Everything below a local folder, under the same names below `target`."""
  store, key = _open(target)
  pairs = [(os.path.join(root, name),
            f'{key}/{os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/")}')
           for root, _, found in os.walk(folder) for name in found]
  store.put([here for here, _ in pairs], [there for _, there in pairs])


def download(folder: str, target: str) -> None:
  """Everything below `folder`, into a local folder that there is not yet, whole or not at all."""
  store, key = _open(folder)
  found = store.find(key)
  if not found:
    raise FileNotFoundError(errno.ENOENT, 'there is nothing there', folder)
  partial = f'{target}.tmp-{os.getpid()}'
  shutil.rmtree(partial, ignore_errors=True)
  os.makedirs(partial)
  try:
    for name in found:
      path = os.path.join(partial, name[len(key):].lstrip('/'))
      os.makedirs(os.path.dirname(path), exist_ok=True)
      store.get_file(name, path)
    if os.path.exists(target):  # Another process was faster, with the same.
      shutil.rmtree(partial)
    else:
      os.rename(partial, target)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise
