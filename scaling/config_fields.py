"""The fields of a study's config: which there are, and whether flags, axes and rules agree on them.

Every check raises InputError, which names the field, the value and what is allowed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from scaling import specs
from scaling.errors import InputError, bad
from scaling.model import sizes
from scaling.specs import RunSpec

# What the rules set. An axis over the batch or the learning rate replaces that part of SIZE (so one
# sweeps the learning rate at every size); a flag, or any other axis, is an error.
SIZE = ('base.model.layers', 'base.model.width', 'base.model.heads', 'base.data.batch',
        'base.optim.peak_lr')
TOKENS = 'base.steps'
LENGTHS = ('tokens', 'characters', TOKENS)  # whichever is given says how long a run is
FIELDS = ('name', 'base', 'size', 'tokens', 'characters', 'batch_characters', 'ladder', 'axes',
          'held_out', 'stages', 'max_epochs', 'laws')


def check(values: dict[str, Any]) -> None:
  """Raises InputError unless these are the fields of a config, of the types that it takes."""
  for name in FIELDS:
    if name not in values:
      raise InputError(f'config.{name}: the config must have this field (study.new_config)')
  for name in values:
    if name not in FIELDS:
      raise InputError(f'config.{name}: unknown field; allowed are {", ".join(sorted(FIELDS))}')
  if not isinstance(values['base'], dict):
    raise bad('config.base', values['base'], 'it must be a group of fields (study.base_config)')
  known = specs.to_dict(RunSpec())
  for name in known:
    if isinstance(known[name], dict) and not isinstance(values['base'].get(name), dict):
      raise bad(f'config.base.{name}', values['base'].get(name),
                'it must be a group of fields (study.base_config)')
  name = values['name']
  if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9_.-]*', name):
    raise bad('config.name', name, 'it names a file: letters, digits, _ . -')
  positive_number('config.max_epochs', values['max_epochs'])
  laws = values['laws']
  if not isinstance(laws, tuple | list) or not all(isinstance(law, str) for law in laws):
    raise bad('config.laws', laws, "it must be a tuple of names, such as ('chinchilla',)")


def check_path(path: str, values: dict[str, Any]) -> None:
  """Raises InputError unless an axis may set `path`."""
  if path in ('size', 'tokens', 'characters'):
    return
  here: Any = {'base': values['base']}
  where = 'config'
  for part in path.split('.'):
    if not isinstance(here, dict) or part not in here:
      known = ', '.join(sorted(here)) if isinstance(here, dict) else 'none: it holds a value'
      known += ', size, tokens, characters' if where == 'config' else ''
      raise InputError(f'{where}.{part}: unknown field, set by an axis ({path}); '
                       f'allowed are {known}')
    here, where = here[part], f'{where}.{part}'
  if isinstance(here, dict):
    raise InputError(f'config.{path}: an axis sets it to a value, but it is a group of fields; '
                     'give dicts of its fields')


def check_overrides(overrides: Mapping[str, Any], paths: Iterable[str],
                    values: dict[str, Any]) -> None:
  """Raises InputError where a flag sets what an axis or a rule sets too."""
  owners = {path: f'an axis sets {path}' for path in paths}
  sized = 'size' in owners or values['size'] is not None
  if sized:
    owners.update({path: 'config.size sets it' for path in SIZE if path not in owners})
  if values['batch_characters'] is not None:
    owners['base.data.batch'] = 'config.batch_characters sets it'
  for name in LENGTHS[:2]:
    if name in owners or values[name] is not None:
      owners.setdefault(TOKENS, f'config.{name} sets it')
  for flag, value in overrides.items():
    for path, why in owners.items():
      if path == flag or path.startswith(f'{flag}.') or flag.startswith(f'{path}.'):
        raise bad(f'--config.{flag}', value, f'{why} too; leave out the flag, or change the axes')
    if flag.startswith('ladder') and not sized:
      raise bad(f'--config.{flag}', value, 'it has no effect without config.size or an axis of it')


def ladder(values: Any) -> sizes.Ladder:
  """config.ladder, checked."""
  if not isinstance(values, dict):
    raise bad('config.ladder', values, 'it must be a group of fields')
  known = [field.name for field in dataclasses.fields(sizes.Ladder)]
  for name, value in values.items():
    if name not in known:
      raise InputError(f'config.ladder.{name}: unknown field; allowed are {", ".join(known)}')
    if type(value) not in (int, float):
      raise bad(f'config.ladder.{name}', value, 'it must be a number')
  return sizes.Ladder(**values)


def positive_number(path: str, value: Any) -> None:
  if type(value) not in (int, float) or not 0 < value < float('inf'):
    raise bad(path, value, 'it must be a positive number')


def stages_of(values: Any) -> tuple[dict[str, Any], ...]:
  """config.stages, checked."""
  if not isinstance(values, tuple | list) or not all(isinstance(v, Mapping) for v in values):
    raise bad('config.stages', values, 'it must be a tuple of dicts {path: value}, such as '
              "({'tokens': 1e6, 'base.optim.peak_lr': 3e-3},)")
  for path in (path for value in values for path in value):
    if not isinstance(path, str):
      raise bad('config.stages', path, "a stage sets fields by their paths, such as 'base.steps'")
  return tuple(dict(value) for value in values)
