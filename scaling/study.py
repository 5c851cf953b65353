"""A study: a base run, the axes that vary, and the runs that come of them.

A config is data until its flags are parsed; `build` then expands the axes, applies the rules for
`size` and `tokens`, and checks everything that can be checked before training. Whoever sets a field
is the only one to: a flag against an axis or a rule is an error, never a silent winner.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from scaling import accounting, config_fields, grid, pruning, specs, stages
from scaling.config_fields import LENGTHS, SIZE, TOKENS
from scaling.errors import InputError, bad
from scaling.model import sizes
from scaling.specs import DataSpec, DomainSpec, RunSpec
from scaling.supply import Stores, Supply


@dataclasses.dataclass(frozen=True)
class StudyRun:
  spec: RunSpec
  run_id: str
  point: dict[str, Any]  # the values of the axes, by path
  held_out: bool  # trained, but kept from the fits: what a law must predict
  stage: int = 0  # 0: of the axes; -1: what those start from; and so on


@dataclasses.dataclass(frozen=True)
class Study:
  name: str
  runs: tuple[StudyRun, ...]
  laws: tuple[str, ...]


def base_config(domains: Mapping[str, float]) -> ConfigDict:
  """Every field of a RunSpec at its default, so that each can be set by a flag.

  `domains` gives the corpora and their weights. Fields that may be None take any literal from a
  flag (their type is checked when the study is built); the others are typed here already.
  """
  values = DataSpec(domains={name: DomainSpec(weight) for name, weight in domains.items()})
  return _open(RunSpec(data=values))


def new_config(name: str, domains: Mapping[str, float]) -> ConfigDict:
  """The config of a study that has one run, the default one; a config file sets the rest."""
  def anything(value: Any) -> Any:
    return config_dict.FieldReference(value, field_type=object)

  return ConfigDict({
      'name': name,
      'base': base_config(domains),
      'size': anything(None),  # target non-embedding parameters: scaling/model/sizes.py
      'tokens': anything(None),  # training tokens D: sets steps
      # A prefix of the training text, read once: sets steps, for the tokens that each tokenizer
      # makes of it; and a batch of so many characters.
      'characters': anything(None),
      'batch_characters': anything(None),
      'ladder': dataclasses.asdict(sizes.CPU),
      'axes': anything(None),  # a grid: scaling/grid.py
      'held_out': anything(None),  # a grid
      'stages': anything(()),  # of training before the points, first to last: dicts of fields
      'max_epochs': 1.0,
      'laws': (),
  })


def build(config: ConfigDict, overrides: Mapping[str, Any], stores: Stores) -> Study:
  """The runs of a study, in the order of its axes, the held-out ones last; equal specs once.

  `overrides` are the fields that flags have set (scaling.cli.overrides); `stores` opens the token
  stores of a run, by domain. Raises InputError for anything that would fail later.
  """
  values = config.to_dict()
  config_fields.check(values)
  points = [(point, False) for point in grid.expand(values['axes'], 'config.axes')]
  if not points:
    raise bad('config.axes', values['axes'], 'it must leave at least one point')
  if values['held_out'] is not None:
    points += [(point, True) for point in grid.expand(values['held_out'], 'config.held_out')]
  paths = {path: None for point, _ in points for path in point}
  earlier = config_fields.stages_of(values['stages'])
  for path in [*paths, *(path for fields in earlier for path in fields)]:
    config_fields.check_path(path, values)
  if earlier and values['base']['init']['run']:
    raise bad('config.base.init.run', values['base']['init']['run'],
              'config.stages sets it; give one of them')
  if earlier and any('base.init.run' in fields for fields in (paths, *earlier)):
    raise InputError('config.base.init.run: config.stages sets it, so no axis and no stage may')
  config_fields.check_overrides(overrides, paths, values)

  ladder = config_fields.ladder(values['ladder'])
  supply = Supply(stores, values['max_epochs'])
  builder = _Builder(values, ladder, supply)
  runs: dict[str, StudyRun] = {}
  for point, held_out in points:
    try:
      for run_id, spec, stage in _chain(builder, supply, earlier, point):
        there = runs.get(run_id)
        if there is None or there.stage < stage:
          runs[run_id] = StudyRun(spec, run_id, point, held_out, stage)
        elif stage < 0:  # A parent of several points is at what they have in common.
          common = {path: v for path, v in there.point.items() if point.get(path) == v}
          runs[run_id] = dataclasses.replace(there, point=common)
        elif held_out and not there.held_out:
          raise InputError(f'config.held_out: the point {point} is also one of config.axes, '
                           'so it would be fitted and not held out')
    except InputError as error:
      raise InputError(f'{error}{_at(point)}') from None
  return Study(values['name'], tuple(runs.values()), tuple(values['laws']))


def check_inherited(study: Study, parents: Mapping[str, RunSpec], stores: Stores,
                    max_epochs: float) -> None:
  """Raises InputError where a run and its parents outside the study read a domain too often."""
  supply = Supply(stores, max_epochs)
  for r in study.runs:
    if r.spec.init.run in parents:
      supply.fill(r.spec, stages.inherited(r.spec, parents))


def _chain(builder: _Builder, supply: Supply, earlier: tuple[dict[str, Any], ...],
           point: grid.Point) -> Iterator[tuple[str, RunSpec, int]]:
  """The runs of a point, parents first: run id, spec, and stage."""
  run_id, parent = '', None
  inherited: dict[str, float] = {}  # sequences of each domain that the parents took
  for stage, fields in enumerate((*earlier, {}), -len(earlier)):
    if parent is None:
      spec = supply.fill(builder.spec(_staged(point, fields), fresh=bool(earlier)))
      if spec.init.run and spec.init.step is None:
        raise bad('config.base.init.step', None, 'a run that names its parent names the step, too')
    else:
      spec = builder.spec({**_staged(point, fields), 'base.init.run': run_id})
      for name, count in stages.drawn(parent, spec.init.step or parent.steps).items():
        inherited[name] = inherited.get(name, 0.0) + count
      if not spec.init.data:
        inherited = {}
      spec = stages.child(supply.fill(spec, inherited), run_id, parent)
    run_id, parent = specs.run_id(spec), spec
    yield run_id, spec, stage


def _staged(point: grid.Point, fields: dict[str, Any]) -> grid.Point:
  """A point with the fields of a stage in place; the ways to give a length displace each other."""
  found = {**point, **fields}
  if any(name in fields for name in LENGTHS):
    for name in LENGTHS:
      if name not in fields:
        found[name] = None
    if found[TOKENS] is None:
      del found[TOKENS]
  return found


class _Builder:
  """Points to specs. What points share is built once: 10^5 of them take seconds."""

  def __init__(self, values: dict[str, Any], ladder: sizes.Ladder, supply: Supply):
    self._values, self._ladder, self._supply = values, ladder, supply
    self._base = values['base']
    self._shapes: dict[Any, dict[str, Any]] = {}
    self._built: dict[Any, Any] = {}

  def spec(self, point: grid.Point, fresh: bool = False) -> RunSpec:
    """The run of a point; with `fresh` it starts from scratch, whatever the base says."""
    fields = dict(point)
    size = fields.pop('size', self._values['size'])
    lengths = {name: fields.pop(name, self._values[name]) for name in LENGTHS[:2]}
    lengths = {name: value for name, value in lengths.items() if value is not None}
    if size is not None:
      fields = {**self._shape(size, fields), **fields}
    steps = fields.pop(TOKENS, self._base.get('steps'))
    for name, value in lengths.items():
      if TOKENS in point:
        raise InputError(f'config.{TOKENS}: an axis sets it, and config.{name} = {value} sets it '
                         'too; give one of them')
      config_fields.positive_number(f'config.{name}', value)
    if len(lengths) > 1:
      raise InputError(f'config.characters: config.tokens = {lengths["tokens"]} says how long a '
                       'run is, too; give one of them')
    top = {name: self._base[name] for name in self._base if not isinstance(self._base[name], dict)}
    grouped: dict[str, dict[str, Any]] = {}
    for path, value in fields.items():
      group, _, rest = path.removeprefix('base.').partition('.')
      if rest:
        grouped.setdefault(group, {})[rest] = value
      else:
        top[group] = value
    groups = {name: self._group(name, grouped.get(name, {})) for name in self._base
              if isinstance(self._base[name], dict)}
    if fresh:
      groups['init'] = specs.InitSpec()
    if self._values['batch_characters'] is not None:
      groups['data'] = self._with_batch(groups['data'], point)
    per_step = groups['data'].batch, groups['data'].length
    if lengths and min(per_step) > 0:  # else the check of specs says so
      if 'characters' in lengths:
        groups['data'].check('config.base.data')
        steps = self._supply.steps(groups['data'], lengths['characters'])
      else:
        steps = round(lengths['tokens'] / (per_step[0] * per_step[1]))
        if steps < 1:
          raise bad('config.tokens', lengths['tokens'], 'it must be at least half of one step, '
                    f'which takes {per_step[0]} x {per_step[1]} tokens')
    spec = specs.from_dict({**top, **groups, 'steps': steps}, 'config.base')
    pruning.check(spec, 'config.base')
    return spec

  def _with_batch(self, data: DataSpec, point: grid.Point) -> DataSpec:
    """The data with as many sequences a step as `batch_characters` are."""
    if 'base.data.batch' in point:
      raise InputError('config.base.data.batch: an axis sets it, and config.batch_characters = '
                       f'{self._values["batch_characters"]} sets it too; give one of them')
    config_fields.positive_number('config.batch_characters', self._values['batch_characters'])
    data.check('config.base.data')
    key = ('batch', data.vocab_size, str(data))
    if key not in self._built:
      self._built[key] = dataclasses.replace(
          data, batch=self._supply.batch(data, self._values['batch_characters']))
    return self._built[key]

  def _group(self, name: str, changes: dict[str, Any]) -> Any:
    """A group of the base with changes, {'domains.code.weight': 0.5}, applied."""
    key = (name, *changes.items())
    if _hashable(key) and key in self._built:
      return self._built[key]
    merged = dict(self._base[name])
    for path, value in changes.items():
      here, parts = merged, path.split('.')
      for part in parts[:-1]:
        here[part] = dict(here[part])
        here = here[part]
      here[parts[-1]] = value
    built = specs.part(name, merged, 'config.base')
    if _hashable(key):
      self._built[key] = built
    return built

  def _shape(self, size: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """What the ladder sets for `size`; shape fields follow what else the point says of the model.

    The three of the shape go together: an axis may replace the batch or the learning rate only.
    """
    for path in SIZE[:3]:
      if path in fields:
        raise InputError(f'config.{path}: an axis sets it, and config.size = {size} sets it too; '
                         'give one of them')
    config_fields.positive_number('config.size', size)
    model = {name.removeprefix('base.model.'): value for name, value in fields.items()
             if name.startswith('base.model.')}
    length = fields.get('base.data.length', self._base['data']['length'])
    rest = {**self._base['model'], **model, 'width': 64, 'heads': 2, 'layers': 1}
    key = (float(size), tuple(rest.items()), length)
    if _hashable(key) and key in self._shapes:
      return self._shapes[key]
    # Only the model and the length matter here; a mistake elsewhere is found with the whole spec.
    probe = specs.from_dict({'model': rest, 'data': {'domains': {'any': {}}, 'length': length}},
                            'config.base')
    shape = sizes.shape(float(size), probe.model)
    parameters = accounting.non_embedding(shape)
    found = dict(zip(SIZE, (shape.layers, shape.width, shape.heads,
                            self._ladder.batch(parameters, probe.data.length),
                            self._ladder.learning_rate(parameters))))
    if _hashable(key):
      self._shapes[key] = found
    return found


def _open(spec: Any) -> ConfigDict:
  """A spec as a ConfigDict whose None-able fields take None and literals from flags."""
  values: dict[str, Any] = {}
  hints = typing.get_type_hints(type(spec))
  for field in dataclasses.fields(spec):
    value = getattr(spec, field.name)
    if dataclasses.is_dataclass(value):
      values[field.name] = _open(value)
    elif isinstance(value, dict):
      values[field.name] = ConfigDict({name: _open(inner) for name, inner in value.items()})
    elif typing.get_origin(hints[field.name]) in (types.UnionType, typing.Union):
      values[field.name] = config_dict.FieldReference(value, field_type=object)
    else:
      values[field.name] = value
  return ConfigDict(values)


def _hashable(key: Any) -> bool:
  """A value of a wrong type may not be: from_dict then says what is wrong with it."""
  try:
    hash(key)
  except TypeError:
    return False
  return True


def _at(point: grid.Point) -> str:
  """Which point of the axes an error is about."""
  if not point:
    return ''
  shown = ', '.join(f'{path}={value!r}' for path, value in point.items())
  return f' (at {shown})' if len(shown) < 300 else ''
