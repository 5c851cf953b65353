"""The commands of `analysis`, as typed: in this process, or as a process of their own.

A process costs seconds of imports and compiles everything anew, so tests run commands in this one
and a few run them as a user does (tests/analysis/test_commands.py: every command once).
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
import warnings
from unittest import mock

from absl import app, flags, logging

Completed = subprocess.CompletedProcess
assert app  # Its flags are defined when it is imported: they are not the commands' own.


def run(module: str, *arguments: object, cwd: str | os.PathLike | None = None) -> Completed:
  """What `python -m MODULE ARGUMENTS` does, but in this process: the module runs as `__main__`.

  Everything is as there but for the start of Python: absl parses sys.argv, exits with a code and
  leaves no flag behind; warnings go to stderr. A bug raises, where a process prints a traceback.
  """
  argv = [module, *map(str, arguments)]
  out, err = io.StringIO(), io.StringIO()
  before, handler = set(flags.FLAGS), logging.get_absl_handler().python_handler
  verbosity = logging.get_verbosity()
  try:
    with mock.patch.object(sys, 'argv', argv), mock.patch.object(handler, 'stream', err), \
         contextlib.chdir(cwd or '.'), contextlib.redirect_stdout(out), \
         contextlib.redirect_stderr(err), warnings.catch_warnings():
      _warn_as_python_does(err)
      runpy.run_module(module, run_name='__main__', alter_sys=True)
    raise AssertionError(f'{module} has not exited')
  except SystemExit as end:
    code = end.code
  finally:
    for name in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    logging.set_verbosity(verbosity)
  assert code is None or isinstance(code, int), code
  return Completed(argv, code or 0, out.getvalue(), err.getvalue())


def process(module: str, *arguments: object, cwd: str | os.PathLike | None = None) -> Completed:
  """`python -m MODULE ARGUMENTS`."""
  return subprocess.run([sys.executable, '-m', module, *map(str, arguments)], capture_output=True,
                        text=True, cwd=cwd, timeout=300)


def _warn_as_python_does(err: io.StringIO) -> None:
  """Python's own filters, and every warning printed: pytest would keep them to itself."""
  def show(message, category, filename, lineno, file=None, line=None):
    err.write(warnings.formatwarning(message, category, filename, lineno, line))

  warnings.showwarning = show
  warnings.resetwarnings()
  for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
    warnings.simplefilter('ignore', ignored)
  warnings.filterwarnings('ignore', message='.*found in sys.modules after import', module='runpy')
