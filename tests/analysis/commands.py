"""The commands of `analysis` run in this process, as typed: flags, exit code, what was printed."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from unittest import mock

from absl import flags

from scaling import cli


def call(module: str, *arguments: str) -> tuple[int, str, str]:
  """(exit code, stdout, stderr) of `python -m analysis.MODULE ARGUMENTS`; a bug raises.

  The flags that the command defines are gone afterwards.
  """
  try:
    start = importlib.import_module(f'analysis.commands.{module}').start
  except ModuleNotFoundError:
    start = importlib.import_module(f'analysis.{module}').start
  before = set(flags.FLAGS)
  asked = {}
  argv = [f'analysis.{module}', *arguments]
  out, err = io.StringIO(), io.StringIO()
  with mock.patch.object(cli, 'run', lambda main, need=(): asked.update(main=main, need=need)), \
       mock.patch.object(sys, 'argv', argv), contextlib.redirect_stdout(out), \
       contextlib.redirect_stderr(err):
    try:
      start()
      cli._parse(argv, asked['need'])
      code = cli._guarded(asked['main'], argv)
    except SystemExit as error:
      code = int(error.code or 0)
    finally:
      for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
      flags.FLAGS.unparse_flags()
  return code, out.getvalue(), err.getvalue()
