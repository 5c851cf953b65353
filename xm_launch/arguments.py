"""What a launcher hands on to the sweeps it starts: their flags, as they were given."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence

from absl import flags

from scaling.errors import bad

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What a machine needs of this folder to install it and to run a study.
SOURCES = ('setup.cfg', 'pyproject.toml', 'constraints.txt', 'scaling', 'analysis', 'configs',
           'xm_launch')


def of_sweep(given: Sequence[str], own: Collection[str], known: flags.FlagValues = flags.FLAGS,
             ) -> list[str]:
  """The arguments that are not the launcher's `own` flags, nor xmanager's.

  given: the arguments after the program's name, parsed already, so that all are known flags.
  """
  kept: list[str] = []
  i = 0
  while i < len(given):
    match = re.fullmatch(r'--?([^=]+)(=.*)?', given[i], re.DOTALL)
    name = match.group(1) if match else ''
    holder = name if name in known else name.removeprefix('no')
    boolean = holder in known and known[holder].boolean
    size = 1 if boolean or (match and match.group(2)) else 2  # --name value
    if match and holder not in own and not holder.startswith('xm_'):
      kept += given[i:i + size]
    i += size
  return kept


def check_config(path: str) -> None:
  """Raises InputError unless the study's file is one that goes to the machines with the code."""
  name = path.partition(':')[0]
  folder = os.path.normpath(name).split(os.sep)[0]
  if os.path.isabs(name) or folder not in SOURCES or not os.path.exists(os.path.join(ROOT, name)):
    raise bad('--config', path, 'a study that is launched elsewhere must be a file of this source '
              'tree, named from its root, such as configs/dcpt.py')


def check_workdir(path: str, workers: int) -> None:
  """Raises InputError for a folder that the workers cannot share."""
  if '://' not in path and not os.path.isabs(path):
    raise bad('--workdir', path, f'{workers} worker(s) elsewhere need a bucket (gs://, s3://) or '
              'the absolute path of a file system that all of them mount')
