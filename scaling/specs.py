"""What determines one training run: frozen dataclasses, their checks, and the run id.

Two equal specs are one run, whichever study asked for it: the run id is a hash of the canonical
JSON. Fields at their default are left out of that JSON and a released default never changes, so a
field added later changes no old id; when a field changes its meaning, the class's `VERSION` rises
and enters the JSON. What cannot change a curve beyond rounding (folders, packs, gradient
accumulation, checkpoint intervals) is not here.

Tensor suffixes used all over the model code: B batch, L length, D width, H heads, K head size,
F feed-forward, V vocabulary, N layers, R runs in a pack. Each stands beside the field it measures.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import re
import types
import typing
from typing import Any, ClassVar

from scaling import files
from scaling.errors import InputError, bad

ACTIVATIONS = ('swiglu', 'gelu')
DTYPES = ('float32', 'bfloat16', 'float64')
OPTIMIZERS = ('adamw',)
SCHEDULES = ('constant', 'cosine', 'linear', 'inverse_sqrt', 'wsd', 'infinite')
COOLDOWNS = ('cosine', 'inverse_sqrt')
MIXTURES = ('constant', 'step', 'temperature')
SPACINGS = ('even', 'decaying')
TOKENIZERS = ('bpe', 'bytes', 'symbols')
LINEARS = ('dense', 'low_rank', 'sltrain')
PRUNINGS = ('geometric', 'cubic', 'one_shot', 'constant')
UNITS = ('compute', 'steps')
SCOPES = ('global', 'layer')
UNSTRUCTURED = 'unstructured'


@dataclasses.dataclass(frozen=True)
class ModelSpec:
  """A decoder-only Transformer: RMSNorm, rotary positions, pre-norm blocks, no biases."""

  VERSION: ClassVar[int] = 1
  layers: int = 2  # N
  width: int = 64  # D
  heads: int = 2  # H; the head size K is width / heads, even because rotations turn pairs
  feed_forward: int | None = None  # F; None: 4 D for gelu, 8/3 D up to a multiple of 8 for swiglu
  activation: str = 'swiglu'
  qk_norm: bool = False
  tied_embeddings: bool = True
  rope_base: float = 10_000.0
  dtype: str = 'float32'  # of the activations; parameters are float32 (float64 under float64)
  linear: str = 'dense'  # the blocks' matrices: W; (alpha / rank) A B; or the same + a sparse S
  rank: int | None = None  # low_rank, sltrain: of A B
  alpha: float | None = None  # low_rank, sltrain; None: the rank, so that the factor is 1
  support: float | None = None  # sltrain: the share of W where S is not zero, random and fixed

  @property
  def head_size(self) -> int:  # K
    return self.width // self.heads

  @property
  def hidden(self) -> int:
    """F, the rule for None applied."""
    if self.feed_forward is not None:
      return self.feed_forward
    if self.activation == 'gelu':
      return 4 * self.width
    return 8 * math.ceil(self.width / 3)

  def check(self, path: str) -> None:
    _positive(self, path, 'layers', 'width', 'heads', 'rope_base')
    if self.feed_forward is not None:
      _positive(self, path, 'feed_forward')
    _one_of(self, path, 'activation', ACTIVATIONS)
    _one_of(self, path, 'dtype', DTYPES)
    if self.width % (2 * self.heads):
      raise bad(f'{path}.heads', self.heads,
                f'2 * heads must divide width = {self.width} (rotary positions turn pairs)')
    self._check_linear(path)

  def _check_linear(self, path: str) -> None:
    _one_of(self, path, 'linear', LINEARS)
    for name in ('rank', 'alpha', 'support'):
      value = getattr(self, name)
      if value is not None and self.linear not in (
          ('sltrain',) if name == 'support' else LINEARS[1:]):
        raise bad(f'{path}.{name}', value, f'linear = {self.linear} has none')
    if self.linear == 'dense':
      return
    if self.rank is None or not 0 < self.rank <= min(self.width, self.hidden):
      raise bad(f'{path}.rank', self.rank, f'linear = {self.linear} needs it, in '
                f'[1, {min(self.width, self.hidden)}]')
    if self.alpha is not None:
      _positive(self, path, 'alpha')
    if self.linear == 'sltrain' and (self.support is None or not 0 < self.support < 1):
      raise bad(f'{path}.support', self.support, 'linear = sltrain needs it, in (0, 1)')


@dataclasses.dataclass(frozen=True)
class DomainSpec:
  """One corpus of the mixture. Weight 0: evaluated, never trained on."""

  VERSION: ClassVar[int] = 1
  weight: float = 1.0  # r, its share of the training sequences
  unique_tokens: int | None = None  # U: train on the first U tokens only; None: the whole split
  fingerprint: str = ''  # of its token store, filled in when a study meets its stores
  late_weight: float | None = None  # its share once a mixture of schedule `step` has changed

  def check(self, path: str) -> None:
    if not 0 <= self.weight <= 1:
      raise bad(f'{path}.weight', self.weight, 'it must lie in [0, 1]')
    if self.late_weight is not None and not 0 <= self.late_weight <= 1:
      raise bad(f'{path}.late_weight', self.late_weight, 'it must lie in [0, 1]')
    if self.unique_tokens is not None:
      _positive(self, path, 'unique_tokens')


@dataclasses.dataclass(frozen=True)
class MixtureSpec:
  """How the domains' shares move during a run (scaling/data/mixture.py has the formulas)."""

  VERSION: ClassVar[int] = 1
  schedule: str = 'constant'
  change_at: float | None = None  # step: the share of the run after which `late_weight` holds
  temperature: float = 1.0  # temperature: tau at the first step
  final_temperature: float = 1.0  # and at the last

  def check(self, path: str) -> None:
    _one_of(self, path, 'schedule', MIXTURES)
    _positive(self, path, 'temperature', 'final_temperature')
    if (self.schedule == 'step') != (self.change_at is not None):
      raise bad(f'{path}.change_at', self.change_at, 'the schedule step needs it, no other has it')
    if self.change_at is not None and not 0 < self.change_at < 1:
      raise bad(f'{path}.change_at', self.change_at, 'it must lie in (0, 1)')
    if self.schedule != 'temperature' and (self.temperature, self.final_temperature) != (1, 1):
      raise bad(f'{path}.temperature', (self.temperature, self.final_temperature),
                'only the schedule temperature has temperatures')


@dataclasses.dataclass(frozen=True)
class DataSpec:
  """The training data: domains by name, one tokenizer, and the shape of a step."""

  VERSION: ClassVar[int] = 1
  domains: dict[str, DomainSpec] = dataclasses.field(default_factory=dict)
  tokenizer: str = 'bpe'
  vocab_size: int = 512  # V; 256 for bytes
  tokenizer_corpora: str | None = None  # bpe: what it was trained on, 'a+b'; None: all the domains
  length: int = 128  # L, predicted tokens a sequence
  batch: int = 16  # B, sequences a step
  mixture: MixtureSpec = MixtureSpec()
  # Reads the text in blocks of so many characters, one after the other, each shuffled; None: all of
  # it shuffled. Budgets of whole blocks are the same prefix of the text under any tokenizer.
  block_characters: float | None = None

  @property
  def tokens_per_step(self) -> int:
    return self.batch * self.length

  @property
  def trained_on(self) -> tuple[str, ...]:
    """The corpora whose text the tokenizer was trained on, sorted; empty for bytes and symbols."""
    if self.tokenizer != 'bpe':
      return ()
    return tuple(sorted((self.tokenizer_corpora or '+'.join(self.domains)).split('+')))

  def check(self, path: str) -> None:
    _one_of(self, path, 'tokenizer', TOKENIZERS)
    _positive(self, path, 'vocab_size', 'length', 'batch')
    if self.block_characters is not None:
      _positive(self, path, 'block_characters')
    if self.tokenizer == 'bytes' and self.vocab_size != 256:
      raise bad(f'{path}.vocab_size', self.vocab_size, 'the bytes tokenizer has exactly 256')
    if not self.domains:
      raise bad(f'{path}.domains', {}, 'it must name at least one corpus')
    self._check_sum(path, 'weight')
    self.mixture.check(f'{path}.mixture')
    late = [name for name, d in self.domains.items() if d.late_weight is not None]
    if self.mixture.schedule == 'step':
      for name in sorted(set(self.domains) - set(late)):
        raise bad(f'{path}.domains.{name}.late_weight', None,
                  'the mixture schedule step needs it of every domain')
      self._check_sum(path, 'late_weight')
      if all(d.weight == d.late_weight for d in self.domains.values()):
        raise bad(f'{path}.mixture.schedule', 'step',
                  'it changes nothing: every late_weight is the weight')
    elif late:
      raise bad(f'{path}.domains.{late[0]}.late_weight', self.domains[late[0]].late_weight,
                'only the mixture schedule step has it')

  def _check_sum(self, path: str, field: str) -> None:
    weights = {name: getattr(d, field) for name, d in self.domains.items()}
    total = math.fsum(weights.values())
    if abs(total - 1) > 1e-9:
      raise bad(f'{path}.domains', weights,
                f'the {field}s must sum to 1, these sum to {total:.6g}')


@dataclasses.dataclass(frozen=True)
class OptimSpec:
  """AdamW and its learning-rate schedule (scaling/optim/schedules.py has the formulas)."""

  VERSION: ClassVar[int] = 1
  optimizer: str = 'adamw'
  peak_lr: float = 3e-3
  schedule: str = 'cosine'
  warmup_steps: int | None = None  # linear from 0; counted in steps, or
  warmup_fraction: float | None = None  # as a share of the run (which forbids shared prefixes)
  final_lr: float = 0.1  # as a share of peak_lr: where cosine, linear and wsd end
  decay_fraction: float = 0.2  # wsd and infinite: the last share of the run
  constant_lr: float | None = None  # infinite: its constant rate, as a share of peak_lr
  cooldown_steps: int | None = None  # infinite: from the peak to the constant rate, or
  cooldown_fraction: float | None = None  # as a share of the run
  cooldown: str = 'cosine'  # infinite: its shape
  cooldown_curvature: float = 1.0  # infinite with inverse_sqrt: a in 1 / sqrt(1 + a x)
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1  # decoupled, times the learning rate, on matrices only
  clip_norm: float | None = 1.0  # of the gradient's global norm; None: no clipping

  def check(self, path: str) -> None:
    _one_of(self, path, 'optimizer', OPTIMIZERS)
    _one_of(self, path, 'schedule', SCHEDULES)
    _positive(self, path, 'peak_lr', 'eps')
    if self.warmup_steps is not None and self.warmup_fraction is not None:
      raise bad(f'{path}.warmup_fraction', self.warmup_fraction,
                f'give it or warmup_steps (now {self.warmup_steps}), not both')
    if self.warmup_steps is not None and self.warmup_steps < 0:
      raise bad(f'{path}.warmup_steps', self.warmup_steps, 'it must be >= 0')
    if self.clip_norm is not None:
      _positive(self, path, 'clip_norm')
    self._check_infinite(path)
    for name in ('warmup_fraction', 'final_lr', 'decay_fraction'):
      value = getattr(self, name)
      if value is not None and not 0 <= value <= 1:
        raise bad(f'{path}.{name}', value, 'it must lie in [0, 1]')
    for name in ('b1', 'b2'):
      if not 0 <= getattr(self, name) < 1:
        raise bad(f'{path}.{name}', getattr(self, name), 'it must lie in [0, 1)')
    if self.weight_decay < 0:
      raise bad(f'{path}.weight_decay', self.weight_decay, 'it must be >= 0')

  def _check_infinite(self, path: str) -> None:
    _one_of(self, path, 'cooldown', COOLDOWNS)
    _positive(self, path, 'cooldown_curvature')
    for name in ('constant_lr', 'cooldown_steps', 'cooldown_fraction'):
      if self.schedule != 'infinite' and getattr(self, name) is not None:
        raise bad(f'{path}.{name}', getattr(self, name), 'only the schedule infinite has it')
    if self.schedule != 'infinite':
      return
    if self.constant_lr is None or not 0 < self.constant_lr <= 1:
      raise bad(f'{path}.constant_lr', self.constant_lr,
                'the schedule infinite needs it, a share of peak_lr in (0, 1]')
    if (self.cooldown_steps is None) == (self.cooldown_fraction is None):
      raise bad(f'{path}.cooldown_steps', self.cooldown_steps,
                'the schedule infinite needs it or cooldown_fraction, not both')
    if self.cooldown_steps is not None and self.cooldown_steps < 0:
      raise bad(f'{path}.cooldown_steps', self.cooldown_steps, 'it must be >= 0')
    if self.cooldown_fraction is not None and not 0 <= self.cooldown_fraction <= 1:
      raise bad(f'{path}.cooldown_fraction', self.cooldown_fraction, 'it must lie in [0, 1]')
    if self.decay_fraction > 0 and not 0 < self.final_lr <= self.constant_lr:
      raise bad(f'{path}.final_lr', self.final_lr, 'the schedule infinite anneals exponentially, '
                f'from constant_lr = {self.constant_lr:g}: it must be positive and not above that')


@dataclasses.dataclass(frozen=True)
class EvalSpec:
  """When and on how much a run is evaluated: every domain, on the first windows of `valid`, or on
  its first documents that hold `characters`, every token of them predicted once.

  Spacing `even`: after a share i / points of the steps, i = 1 .. points. `decaying`: their density
  falls as exp(-decay step / steps), as in method M4 of the D-CPT law's appendix (arXiv 2406.01375):
  after a share -ln(1 - (i / points) (1 - exp(-decay))) / decay.
  """

  VERSION: ClassVar[int] = 1
  points: int = 8  # evaluations, the last one at the last step
  windows: int = 256  # a domain, of `length` tokens each
  spacing: str = 'even'
  decay: float = 3.0  # of spacing `decaying`
  final_windows: int | None = None  # at the last step, `windows` of them first; None: `windows`
  characters: float | None = None  # a domain, in place of windows: one text for any tokenizer

  def check(self, path: str) -> None:
    _positive(self, path, 'points', 'windows', 'decay')
    _one_of(self, path, 'spacing', SPACINGS)
    if self.decay > 30:  # Then exp(-decay) is lost beside 1.
      raise bad(f'{path}.decay', self.decay, 'it must lie in (0, 30]')
    if self.final_windows is not None and self.final_windows <= self.windows:
      raise bad(f'{path}.final_windows', self.final_windows,
                f'it must exceed windows = {self.windows}, or be None')
    if self.characters is not None:
      _positive(self, path, 'characters')
      for name in ('windows', 'final_windows'):
        if getattr(self, name) != getattr(EvalSpec(), name):
          raise bad(f'{path}.{name}', getattr(self, name),
                    f'it has no effect beside characters = {self.characters:g}')

  def steps(self, total: int) -> tuple[int, ...]:
    """The steps (updates done) after which a run of `total` is evaluated; the last is `total`."""
    if self.spacing == 'even':
      return tuple(-(-i * total // self.points) for i in range(1, self.points + 1))
    found: list[int] = []
    for i in range(1, self.points):
      share = -math.log1p(i / self.points * math.expm1(-self.decay)) / self.decay
      after = found[-1] + 1 if found else 1
      found.append(min(max(math.ceil(share * total - 1e-9), after), total - self.points + i))
    return (*found, total)


@dataclasses.dataclass(frozen=True)
class InitSpec:
  """Where a run starts: from another run's parameters after `step` updates, or from scratch."""

  VERSION: ClassVar[int] = 1
  run: str = ''  # the parent's run id; '': from scratch
  step: int | None = None  # updates of the parent; None: all
  optimizer: bool = False  # go on with its optimizer's moments, too
  schedule: bool = False  # count the steps of the learning-rate schedule on from `step`
  data: bool = True  # go on in every domain where it stopped; False: start the domains over
  schedule_step: int | None = None  # updates that `schedule` has counted there; None: `step`

  @property
  def counted(self) -> int:
    """Updates of the learning-rate schedule before the run's first."""
    if not self.schedule:
      return 0
    return self.schedule_step or self.step or 0

  def check(self, path: str) -> None:
    if not self.run:
      for name in ('step', 'optimizer', 'schedule', 'data', 'schedule_step'):
        if getattr(self, name) != getattr(InitSpec(), name):
          raise bad(f'{path}.{name}', getattr(self, name),
                    f'it has no effect without a parent ({path}.run, or config.stages)')
    elif not re.fullmatch('[0-9a-f]{16}', self.run):
      raise bad(f'{path}.run', self.run, 'it must be a run id, 16 hexadecimal digits')
    if self.step is not None:
      _positive(self, path, 'step')
    if self.schedule_step is not None and not (
        self.schedule and self.step is not None and self.step < self.schedule_step):
      raise bad(f'{path}.schedule_step', self.schedule_step, 'it is for init.schedule, where the '
                f'parent went on in a schedule itself: above init.step = {self.step}')


@dataclasses.dataclass(frozen=True)
class SparsitySpec:
  """Which share of the linear layers' weights is not zero, and when (scaling/sparsity.py).

  Magnitude pruning along a ramp (geometric, cubic) or at once (one_shot), or a random support from
  the first update on (constant). What a schedule does not look at is set to one value, and a
  sparsity of 0 to the default, so that equal schedules are equal specs.
  """

  VERSION: ClassVar[int] = 1
  sparsity: float = 0.0  # of the linear layers' weights, at the end; 0: dense
  schedule: str = 'geometric'
  start: float = 0.25  # of the ramp, or the one pruning, as a share of
  end: float = 0.75
  unit: str = 'compute'  # that of the linear layers; or the steps
  every: int = 100  # steps from one pruning to the next, to within half of one
  scope: str = 'global'  # weights are ranked over all layers, or each layer by itself
  pattern: str = UNSTRUCTURED  # or 'n:m': n of every m weights along a layer's inputs

  def __post_init__(self) -> None:
    default = SparsitySpec.__dataclass_fields__
    fixed: dict[str, Any] = {}
    if self.sparsity == 0 and self._fault is None:
      fixed = {name: field.default for name, field in default.items()}
    elif self.schedule == 'constant':
      fixed = {'start': 0.0, 'end': 0.0, 'unit': 'steps', 'every': default['every'].default}
    elif self.schedule == 'one_shot':
      fixed = {'end': self.start, 'every': default['every'].default}
    if self.pattern != UNSTRUCTURED and self.sparsity:
      fixed['scope'] = 'layer'  # Ranks are within a group of m in any case.
    for name, value in fixed.items():
      object.__setattr__(self, name, value)

  @property
  def dense(self) -> bool:
    return self.sparsity == 0

  @property
  def group(self) -> tuple[int, int] | None:
    """(n, m) of a pattern n:m."""
    if self.pattern == UNSTRUCTURED:
      return None
    n, _, m = self.pattern.partition(':')
    return int(n), int(m)

  @property
  def _share(self) -> float | None:
    """n / m of a pattern, None when it is none."""
    if not re.fullmatch(r'[1-9]\d?:[1-9]\d?', self.pattern):
      return None
    n, m = map(int, self.pattern.split(':'))
    return n / m if n < m else None

  @property
  def _fault(self) -> tuple[str, str] | None:
    """The first field that cannot be, and why."""
    if not 0 <= self.sparsity < 1:
      return 'sparsity', 'it must lie in [0, 1)'
    for name, allowed in (('schedule', PRUNINGS), ('unit', UNITS), ('scope', SCOPES)):
      if getattr(self, name) not in allowed:
        return name, f'allowed are {", ".join(allowed)}'
    for name in ('start', 'end'):
      if not 0 <= getattr(self, name) <= 1:
        return name, 'it must lie in [0, 1]'
    if self.end < self.start:
      return 'end', f'it must not lie before start = {self.start:g}'
    if self.start == 1:
      return 'start', 'it must lie before the end of the run'
    if self.every < 1:
      return 'every', 'it must be positive'
    if self.pattern == UNSTRUCTURED:
      return None
    share = self._share
    if share is None:
      return 'pattern', f'it must be {UNSTRUCTURED} or n:m with n < m, such as 2:4'
    if self.schedule not in ('one_shot', 'constant'):
      return 'schedule', f'the pattern {self.pattern} needs one_shot or constant'
    if abs(1 - share - self.sparsity) > 1e-9:
      return 'sparsity', f'the pattern {self.pattern} has {1 - share:g}'
    return None

  def check(self, path: str) -> None:
    if self._fault is not None:
      name, why = self._fault
      raise bad(f'{path}.{name}', getattr(self, name), why)


@dataclasses.dataclass(frozen=True)
class RunSpec:
  """Everything that determines one training run."""

  VERSION: ClassVar[int] = 1
  model: ModelSpec = ModelSpec()
  data: DataSpec = DataSpec()
  optim: OptimSpec = OptimSpec()
  evaluation: EvalSpec = EvalSpec()
  init: InitSpec = InitSpec()
  sparsity: SparsitySpec = SparsitySpec()
  steps: int = 1000
  seed: int = 0

  @property
  def tokens(self) -> int:
    """D, the training tokens of the whole run."""
    return self.steps * self.data.tokens_per_step

  @property
  def eval_steps(self) -> tuple[int, ...]:
    """The steps (updates done) after which the run is evaluated; the last is `steps`."""
    return self.evaluation.steps(self.steps)

  def check(self, path: str = 'base') -> None:
    for name in ('model', 'data', 'optim', 'evaluation', 'init', 'sparsity'):
      getattr(self, name).check(f'{path}.{name}')
    for name, domain in self.data.domains.items():
      domain.check(f'{path}.data.domains.{name}')
    self._check_sparsity(path)
    _positive(self, path, 'steps')
    if not 0 <= self.seed < 2**31:
      raise bad(f'{path}.seed', self.seed, 'it must lie in [0, 2**31)')
    if self.evaluation.points > self.steps:
      raise bad(f'{path}.evaluation.points', self.evaluation.points,
                f'it must not exceed steps = {self.steps}')
    if self.init.schedule and self.init.step is None:
      return  # Where its schedule stands is known with its parent (scaling/stages.py).
    total, warmup = self.init.counted + self.steps, self.optim.warmup_steps
    if warmup is not None and warmup >= total:
      raise bad(f'{path}.optim.warmup_steps', warmup, f'it must be below steps = {total}')
    if self.optim.schedule == 'infinite':
      self._check_phases(path, total)

  def _check_sparsity(self, path: str) -> None:
    if self.sparsity.dense:
      return
    if self.model.linear != 'dense':
      raise bad(f'{path}.sparsity.sparsity', self.sparsity.sparsity,
                f'it must be 0 with model.linear = {self.model.linear}')
    if self.sparsity.group is not None:
      m = self.sparsity.group[1]
      for name in ('width', 'hidden'):
        if getattr(self.model, name) % m:
          raise bad(f'{path}.sparsity.pattern', self.sparsity.pattern,
                    f'{m} must divide the inputs of every layer, {getattr(self.model, name)}')

  def _check_phases(self, path: str, total: int) -> None:
    """Raises InputError unless an infinite schedule reaches its constant rate."""
    optim = self.optim
    counts: dict[str, int] = {}
    for name in ('warmup', 'cooldown'):
      steps, share = getattr(optim, f'{name}_steps'), getattr(optim, f'{name}_fraction')
      counts[name] = round(share * total) if share is not None else steps or 0
    if sum(counts.values()) >= total:
      field = 'cooldown_steps' if optim.cooldown_fraction is None else 'cooldown_fraction'
      raise bad(f'{path}.optim.{field}', getattr(optim, field),
                f'warm-up and cooldown, {counts["warmup"]} and {counts["cooldown"]} updates, must '
                f'be below steps = {total}')


def canonical(spec: Any) -> Any:
  """A spec as JSON values, fields at their default left out; a VERSION above 1 is kept."""
  if isinstance(spec, dict):
    return {name: canonical(value) for name, value in spec.items()}
  if not hasattr(type(spec), '__dataclass_fields__'):
    return spec
  kept = {} if spec.VERSION == 1 else {'version': spec.VERSION}
  for name, default in _defaults(type(spec)):  # type: ignore[arg-type]
    value = getattr(spec, name)
    if value is not default and value != default:
      kept[name] = canonical(value)
  return kept


def run_id(spec: RunSpec) -> str:
  """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
  return hashlib.sha256(files.to_json(canonical(spec)).encode()).hexdigest()[:16]


def to_dict(spec: Any) -> dict[str, Any]:
  """A spec with every field, as plain nested dicts."""
  return dataclasses.asdict(spec)


def from_dict(values: dict[str, Any], path: str = 'base') -> RunSpec:
  """The checked RunSpec of a nested dict (fields left out take their defaults).

  Raises InputError naming the field for an unknown field, a wrong type or an impossible value.
  """
  spec = _build(RunSpec, values, path)
  spec.check(path)
  return spec


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
  """The fields of a spec with their defaults; looked up once, for large grids hash many specs."""
  return tuple((field.name, _default(field)) for field in dataclasses.fields(kind))


def _default(field: dataclasses.Field) -> Any:
  if field.default is not dataclasses.MISSING:
    return field.default
  return field.default_factory()  # type: ignore[operator]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
  """The types of a spec's fields by name; looked up once, for large grids build many specs."""
  hints = typing.get_type_hints(kind)
  return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _build(kind: type, values: Any, path: str) -> Any:
  if not isinstance(values, dict):
    raise bad(path, values, 'it must be a group of fields')
  hints = _hints(kind)
  fields = set(hints)
  version = values.get('version', kind.VERSION)  # type: ignore[attr-defined]
  if version != kind.VERSION:  # type: ignore[attr-defined]
    raise bad(f'{path}.version', version, f'this code knows version {kind.VERSION}')  # type: ignore[attr-defined]
  unknown = sorted(set(values) - fields - {'version'})
  if unknown:
    raise InputError(f'{path}.{unknown[0]}: unknown field; allowed are {", ".join(sorted(fields))}')
  return kind(**{name: _convert(hints[name], value, f'{path}.{name}')
                 for name, value in values.items() if name != 'version'})


@functools.cache
def _form(hint: Any) -> tuple[str, tuple[Any, ...]]:
  """Whether a hint is of a spec, a dict or a plain value, and what it allows."""
  if dataclasses.is_dataclass(hint):
    return 'spec', ()
  origin = typing.get_origin(hint)
  if origin is dict:
    return 'dict', typing.get_args(hint)
  return 'plain', (typing.get_args(hint) if origin in (types.UnionType, typing.Union) else (hint,))


def part(name: str, values: dict[str, Any], path: str) -> Any:
  """One group of a RunSpec, such as `model`, of a nested dict: from_dict takes it as it is."""
  return _convert(_hints(RunSpec)[name], values, f'{path}.{name}')


def _convert(hint: Any, value: Any, path: str) -> Any:
  """`value` as the type `hint` says: an int is a float, nothing else is converted."""
  form, allowed = _form(hint)
  if form == 'spec':
    return value if type(value) is hint else _build(typing.cast(type, hint), value, path)
  if form == 'dict':
    if not isinstance(value, dict):
      raise bad(path, value, 'it must be a group of fields, one a name')
    return {name: _convert(allowed[1], value[name], f'{path}.{name}') for name in sorted(value)}
  if value is None and type(None) in allowed:
    return None
  for kind in allowed:
    if kind is float and type(value) in (int, float):
      if not math.isfinite(value):
        raise bad(path, value, 'it must be finite')
      return float(value)
    if type(value) is kind:
      return value
  wanted = ' or '.join('None' if k is type(None) else k.__name__ for k in allowed)
  raise bad(path, value, f'it must be {wanted}, not {type(value).__name__}')


def _positive(spec: Any, path: str, *fields: str) -> None:
  for name in fields:
    if getattr(spec, name) <= 0:
      raise bad(f'{path}.{name}', getattr(spec, name), 'it must be positive')


def _one_of(spec: Any, path: str, name: str, allowed: tuple[str, ...]) -> None:
  if getattr(spec, name) not in allowed:
    raise bad(f'{path}.{name}', getattr(spec, name), f'allowed are {", ".join(allowed)}')
