"""What the golden files hold. `python -m tests.configs.golden` writes them anew."""

from __future__ import annotations

import functools
import importlib
import json
import pathlib
from typing import Any

from scaling import specs, study
from scaling.specs import DataSpec, DomainSpec, EvalSpec, ModelSpec, OptimSpec, RunSpec
from tests.scaling.probe import stores

FOLDER = pathlib.Path(__file__).resolve().parent.parent / 'golden'
CONFIGS = pathlib.Path(__file__).resolve().parent.parent.parent / 'configs'
COMMAND = 'python -m tests.configs.golden'

# The arguments of configs that take one: configs/markov.py:tiny.
ARGUMENTS = {'markov': ('', 'full', 'tiny'), 'dcpt': ('', 'large', 'trade_off=0.5', 'limited=0.5'),
             'sparse': ('', 'spdf'),
             'vocabulary': ('', 'large', 'proof=900')}

SPECS = {
    'least': RunSpec(data=DataSpec(domains={'docs': DomainSpec(fingerprint='00ff')})),
    'mixture': RunSpec(
        data=DataSpec(domains={'code': DomainSpec(0.25, 100_000, '11ff'),
                               'docs': DomainSpec(0.75, None, '00ff'),
                               'law': DomainSpec(0.0, None, '22ff')},
                      vocab_size=1024, tokenizer_corpora='code+docs', length=256, batch=8),
        steps=12_345, seed=7),
    'everything': RunSpec(
        model=ModelSpec(layers=3, width=48, heads=3, feed_forward=100, activation='gelu',
                        qk_norm=True, tied_embeddings=False, rope_base=500.0, dtype='bfloat16'),
        data=DataSpec(domains={'docs': DomainSpec()}, tokenizer='bytes', vocab_size=256),
        optim=OptimSpec(peak_lr=1e-2, schedule='wsd', warmup_steps=10, final_lr=0.0,
                        decay_fraction=0.3, b1=0.8, b2=0.99, eps=1e-7, weight_decay=0.0,
                        clip_norm=None),
        evaluation=EvalSpec(points=4, windows=64), steps=500, seed=1),
    'warmup_fraction': RunSpec(data=DataSpec(domains={'docs': DomainSpec()}),
                               optim=OptimSpec(warmup_fraction=0.05)),
}


endless = functools.partial(stores, train=10**15, valid=10**12)  # every budget fits


def _named(config: str, argument: str) -> Any:
  get_config = importlib.import_module(f'configs.{config}').get_config
  config = get_config(argument) if argument else get_config()
  built = study.build(config, {}, endless)
  return {'name': built.name, 'laws': list(built.laws),
          'runs': [{'run_id': run.run_id, 'held_out': run.held_out, 'point': run.point,
                    'spec': specs.canonical(run.spec)} for run in built.runs]}


def files() -> dict[str, Any]:
  """The golden files by name, as the code gives them now."""
  names = sorted(path.stem for path in CONFIGS.glob('*.py') if path.stem != '__init__')
  return {
      'defaults.json': {**specs.to_dict(RunSpec()), 'domain': specs.to_dict(DomainSpec())},
      'run_ids.json': {name: {'run_id': specs.run_id(spec), 'spec': specs.canonical(spec)}
                       for name, spec in SPECS.items()},
      'configs.json': {f'{name}:{argument}'.rstrip(':'): _named(name, argument)
                       for name in names for argument in ARGUMENTS.get(name, ('',))},
  }


def text(value: Any) -> str:
  return json.dumps(value, indent=1, sort_keys=True) + '\n'


if __name__ == '__main__':
  for name, value in files().items():
    (FOLDER / name).write_text(text(value))
    print(f'wrote tests/golden/{name}')
