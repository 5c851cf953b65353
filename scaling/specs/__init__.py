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

from scaling.specs.canonical import canonical, from_dict, part, run_id, to_dict
from scaling.specs.data import MIXTURES, TOKENIZERS, DataSpec, DomainSpec, MixtureSpec
from scaling.specs.evaluation import SPACINGS, EvalSpec
from scaling.specs.init import InitSpec
from scaling.specs.model import ACTIVATIONS, DTYPES, LINEARS, ModelSpec
from scaling.specs.optim import COOLDOWNS, OPTIMIZERS, SCHEDULES, OptimSpec
from scaling.specs.run import RunSpec
from scaling.specs.sparsity import PRUNINGS, SCOPES, UNITS, UNSTRUCTURED, SparsitySpec

__all__ = (
    'ACTIVATIONS', 'COOLDOWNS', 'DTYPES', 'LINEARS', 'MIXTURES', 'OPTIMIZERS', 'PRUNINGS',
    'SCHEDULES', 'SCOPES', 'SPACINGS', 'TOKENIZERS', 'UNITS', 'UNSTRUCTURED', 'DataSpec',
    'DomainSpec', 'EvalSpec', 'InitSpec', 'MixtureSpec', 'ModelSpec', 'OptimSpec', 'RunSpec',
    'SparsitySpec', 'canonical', 'from_dict', 'part', 'run_id', 'to_dict',
)
