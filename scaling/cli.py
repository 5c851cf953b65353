"""What every entry point shares: flags, one-line errors, exit codes.

A mistake in a flag, in a config file or in the input ends in ONE line on stderr and exit code 2;
a traceback means a bug in the code. `--verbosity=1` shows where a one-line error came from.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_dict, config_flags
from ml_collections.config_flags import config_path

from scaling import files
from scaling.errors import BAD_INPUT, FAILED, STOPPED, InputError, bad

FLAGS = flags.FLAGS


def run(main: Callable[[list[str]], int | None], *, need: Sequence[str] = ()) -> NoReturn:
  """Parses the flags, calls `main([program])` and exits with the code it returns (None is 0).

  `need` lists the flags that must be given. Exit code 2 and one line on stderr for: an unknown or
  missing flag, a bad flag value, a config file that cannot be loaded, an unknown config field, an
  `InputError` from anywhere, a file that is missing or may not be touched. A full disk is exit
  code 1, an interrupt 3. Any other exception keeps its traceback.
  """
  app.run(lambda argv: guarded(main, argv), flags_parser=lambda argv: _parse(argv, need))
  raise AssertionError('app.run exits')


def check_output(path: str | None, flag: str = '--out', endings: Sequence[str] = ()) -> None:
  """Raises InputError unless `flag`, if given, names a file that could be written.

  endings: what its name must end in, such as '.png', one of them.
  """
  if path is None:
    return
  folder = os.path.dirname(path) or '.'
  if not path or os.path.isdir(path) or not os.path.isdir(folder):
    raise bad(flag, path, 'it must name a file in a folder that exists')
  if not os.access(folder, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
    raise bad(flag, path, 'it may not be written')
  if endings and not path.endswith(tuple(endings)):
    raise bad(flag, path, f'it must end in {", ".join(endings)}')


def overrides(name: str = 'config') -> dict[str, Any]:
  """The fields of a config flag that other flags have set: {'base.optim.peak_lr': 1e-3}."""
  values = config_flags.get_override_values(FLAGS[name])
  return {'.'.join(str(part) for part in config_path.split(path)): value
          for path, value in values.items()}


def guarded(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
  if not FLAGS['verbosity'].present:  # Libraries say much at INFO, absl's choice for programs.
    logging.set_verbosity(logging.WARNING)
  try:
    return main(argv) or 0
  except InputError as error:
    return _report(str(error), BAD_INPUT)
  except KeyboardInterrupt:
    return _report('interrupted: run the same command again to go on', STOPPED)
  except BrokenPipeError:  # The reader of our output has gone, as under `| head`.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
  except OSError as error:
    if files.no_room(error):
      return _report(f'{_place(error)}no room left on the disk: make room and run the same command '
                     'again; what was finished is kept', FAILED)
    if error.filename is None:  # Not about a path: a bug, or the network.
      raise
    return _report(f'{_place(error)}{error.strerror or error}', BAD_INPUT)


def _place(error: OSError) -> str:
  paths = [os.fsdecode(p) for p in (error.filename, error.filename2)
           if isinstance(p, str | bytes | os.PathLike)]
  return f'{" -> ".join(paths)}: ' if paths else ''


def _report(message: str, code: int) -> int:
  """One line on stderr, whatever the message holds."""
  logging.debug('where it came from', exc_info=True)
  line = ' '.join(message.split())
  print(f'error: {line}', file=sys.stderr, flush=True)
  return code


def _parse(argv: list[str], need: Sequence[str]) -> list[str]:
  """The flags parser of `app.run`: exits with one line where absl would print its usage."""
  quiet = logging.get_absl_logger()
  quiet.addFilter(_not_none_warning)
  try:
    try:
      rest = FLAGS(argv)
    except SystemExit as error:  # --help and its kin; absl calls that a failure.
      sys.exit(0 if error.code == 1 else error.code)
    except Exception as error:
      raise _explain(error, argv) from error
    if rest[1:]:
      raise InputError(f'{rest[1]!r}: unexpected argument; give flags as --name=value')
    for flag in _config_flags():
      _check_loaded(flag, argv)
    for name in need:
      if FLAGS[name].value is None:
        raise InputError(f'--{name}: this flag must be given ({_one_line(FLAGS[name].help)})')
    return rest
  except InputError as error:
    sys.exit(_report(str(error), BAD_INPUT))
  finally:
    quiet.removeFilter(_not_none_warning)


def _not_none_warning(record: Any) -> bool:
  """False for ml_collections' warning of a get_config() without return: ours says it better."""
  return 'get_config() returned None' not in str(record.msg)


def _one_line(text: str | None) -> str:
  return ' '.join((text or '').split()).rstrip('.')


def _config_flags() -> Iterator[flags.Flag]:
  for name in list(FLAGS):
    if config_flags.config_flags.is_config_flag(FLAGS[name]):
      yield FLAGS[name]


def _check_loaded(flag: flags.Flag, argv: list[str]) -> None:
  """Raises InputError unless the flag, when given, holds a ConfigDict."""
  if flag.value is None and not _given(flag, argv):
    return
  try:
    is_config = isinstance(flag.value, config_dict.ConfigDict)
    getattr(flag.value, 'items', None)  # ml_collections hides a failed load until it is looked at.
  except OSError as error:
    raise _load_error(flag, error.__cause__ or error) from error
  if not is_config:
    raise _no_config(flag, flag.value)


def _no_config(flag: flags.Flag, value: Any) -> InputError:
  return InputError(f'--{flag.name}={filename(flag)}: its get_config() must return a ConfigDict, '
                    f'not {type(value).__name__}')


def filename(flag: flags.Flag) -> str:
  """The text given for a config flag, even if it was never parsed to the end."""
  match = None
  for argument, following in zip(sys.argv, sys.argv[1:] + ['']):
    match = re.fullmatch(rf'--?{flag.name}=(.*)', argument) or match
    if argument in (f'--{flag.name}', f'-{flag.name}'):
      return following
  return match.group(1) if match else str(flag.default)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
  """An error and what it came from, the first one last: ml_collections and absl both wrap."""
  while error is not None:
    yield error
    error = error.__cause__ or error.__context__


def _load_error(flag: flags.Flag, error: BaseException) -> InputError:
  """Why a config file could not be loaded, with the line of the file where it went wrong."""
  given = filename(flag)
  path, _, argument = given.partition(':')
  where = f'--{flag.name}={given}'
  if not path or not os.path.exists(path):
    return bad(f'--{flag.name}', path, 'it must be a Python file with a get_config(): no such file')
  if not os.path.isfile(path):
    return bad(f'--{flag.name}', path, 'it must be a Python file with a get_config()')
  for root in reversed(list(_chain(error))):
    if isinstance(root, InputError):
      return InputError(f'{where}: {root}')
    if isinstance(root, SyntaxError) and root.filename == path:
      return InputError(f'{where}: line {root.lineno}: {root.msg}')
    frames = [f for f in traceback.extract_tb(root.__traceback__)
              if os.path.abspath(f.filename) == os.path.abspath(path)]
    if frames:
      return InputError(f'{where}: line {frames[-1].lineno}: {type(root).__name__}: {root}')
  if isinstance(root, AttributeError):
    return InputError(f'{where}: the file has no get_config()')
  if isinstance(root, TypeError):
    given_how = f'the argument {argument!r}' if ':' in given else 'no argument'
    return InputError(f'{where}: its get_config() cannot be called with {given_how}')
  return InputError(f'{where}: {type(root).__name__}: {root}')


def _explain(error: Exception, argv: list[str]) -> InputError:
  """The one line for an error that came up while the flags were parsed."""
  for flag in _config_flags():
    prefix = re.compile(rf'--?(no)?{flag.name}\.')
    fields = [a for a in argv[1:] if prefix.match(a)]
    if isinstance(error, config_flags.config_flags.FlagOrderError | flags.UnrecognizedFlagError):
      if fields and not any(_given(flag, [a]) for a in argv[:argv.index(fields[0])]):
        return InputError(f'{fields[0]}: --{flag.name}=FILE must be given before its fields')
      continue
    try:
      config = flag.parser.parse(filename(flag))
      getattr(config, 'items', None)
    except Exception as failure:
      root = failure.__cause__ or failure
      if _given(flag, argv) and not isinstance(root, flags.IllegalFlagValueError):
        return _load_error(flag, root)
      continue
    if not isinstance(config, config_dict.ConfigDict):
      return _no_config(flag, config)
    for argument in fields:
      problem = _unknown_field(flag.name, config, prefix.sub('', argument).partition('=')[0])
      if problem is not None:
        return problem
    match = re.match(rf'flag --({flag.name}\.\S+?)=(.*?): ', str(error), re.DOTALL)
    if match:
      kind = config_path.get_type(match.group(1).partition('.')[2], config)
      return bad(match.group(1), match.group(2), f'it must be of type {kind.__name__}')
  return InputError(_one_line(str(error)))


def _given(flag: flags.Flag, argv: list[str]) -> bool:
  return any(re.match(rf'--?{flag.name}(=|$)', a) for a in argv)


def _unknown_field(name: str, config: Any, path: str) -> InputError | None:
  """The error for a path that leads nowhere in the config, None for one that does."""
  here, where = config, name
  try:
    parts = config_path.split(path)
  except ValueError:
    return InputError(f'{name}.{path}: a field is written as {name}.base.optim.peak_lr')
  for part in parts:
    if not isinstance(here, config_dict.ConfigDict):
      return InputError(f'{where}.{part}: unknown field; {where} holds a value, not a group')
    known = sorted(str(key) for key in here)
    if part not in known:
      near = difflib.get_close_matches(str(part), known, 1)
      hint = f'did you mean {near[0]}? ' if near else ''
      return InputError(f'{where}.{part}: unknown field; {hint}allowed are {", ".join(known)}')
    here, where = here[part], f'{where}.{part}'
  return None
