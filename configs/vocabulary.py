"""Vocabularies by models by text: what the three approaches to the best vocabulary are fitted to.

Every vocabulary reads the same first characters of the training text once, in blocks, and is scored
on the same validation text; unigram-normalised loss and bits per byte compare them. Budgets share
one trunk at the constant rate and branch off to decay (scaling/prefixes.py).

  --config=configs/vocabulary.py            7 vocabularies, 3 sizes, 4 budgets, on the ASCII part of
                                            the docstrings: small vocabularies need no bytes
  --config=configs/vocabulary.py:large      as in Tao et al. 2024 (2407.13623): 10 vocabularies,
                                            33M to 1.13B parameters; your own text as `general`
  --config=configs/vocabulary.py:proof=900  the vocabulary predicted, half and double of it, at
                                            equal FLOPs that are not in the grid, three new seeds

Its tokenizers come from prepare, with one number a vocabulary in --vocab_size.
"""

import dataclasses

from ml_collections import ConfigDict

from scaling import accounting, grid, study
from scaling.errors import bad
from scaling.model import sizes
from scaling.model.sizes import CPU, Ladder


@dataclasses.dataclass(frozen=True)
class Scale:
  corpus: str
  vocab_sizes: tuple[int, ...]
  sizes: tuple[float, ...]  # N_nv, parameters outside the vocabulary
  characters: tuple[tuple[float, ...], ...]  # budgets of each size
  block_characters: float  # divides them
  length: int
  schedule: str
  warmup: dict[str, float]
  points: int  # evaluations of a run
  eval_characters: float
  ladder: Ladder
  dtype: str = 'float32'


SCALES = {
    # Small batches: 512 tokens a step. Losses of shorter runs jump from one vocabulary to the next
    # (at 0.8M characters L_u -1.50, -1.35, -1.44, -1.24 at V = 192, 256, 384, 512). The sizes have
    # one depth, three layers, and widths 24, 32 and 40: models of two or four layers lie off what
    # N_nv says of these. V = 128 is hardly more than the characters (docs/vocabulary.md).
    'cpu': Scale(
        'python_docs_ascii', (192, 256, 384, 512, 768, 1024, 2048), (2e4, 4e4, 6e4),
        ((3.2e6, 4.8e6, 6.4e6, 9.6e6),) * 3, 0.8e6, 128, 'wsd', {'warmup_steps': 50}, 3, 2e5, CPU),
    # Sections 3 and 4 of the paper: 512 sequences of 2,048 tokens, 4e-4 with a cosine to 4e-5,
    # 20 evaluations. A size reads what its longest run did, at f(16,384) = .273 tokens a character.
    'large': Scale(
        'general', (4096, 6144, 8192, 10_240, 16_384, 24_576, 32_768, 48_128, 64_512, 96_256),
        (3.32e7, 8.48e7, 1.508e8, 3.164e8, 6.317e8, 1.1299e9),
        ((4.4e9,), (1.1e10,), (1.94e10,), (4.28e10,), (1.014e11,), (2.008e11,)), 2e8, 2048,
        'cosine', {'warmup_fraction': 0.1}, 20, 4e6,
        Ladder(peak_lr=4e-4, lr_exponent=0.0, batch_tokens=2.0**20, batch_exponent=0.0),
        'bfloat16'),
}

# At V = 512 of the middle size the FLOPs of 7.0M characters; the grid has 6.4M and 9.6M. A best
# vocabulary is one of equal FLOPs: of one text a larger vocabulary takes more.
PROOF_SIZE, PROOF_FLOPS, PROOF_SEEDS = 4e4, 1.1e12, (1, 2, 3)


def get_config(scale: str = 'cpu') -> ConfigDict:
  name, _, best = scale.partition('=')
  if name == 'proof':
    return _proof(best)
  if scale not in SCALES:
    raise bad('scale', scale, f'allowed are {", ".join(SCALES)}, proof=V')
  s = SCALES[scale]
  config = study.new_config('vocabulary' if scale == 'cpu' else f'vocabulary-{scale}',
                            {s.corpus: 1.0})
  config.base.model.dtype = s.dtype
  config.base.data.length = s.length
  config.base.data.block_characters = s.block_characters
  config.base.optim.schedule = s.schedule
  config.base.optim.update(s.warmup)
  config.base.evaluation.points = s.points
  config.base.evaluation.characters = s.eval_characters
  config.ladder = dataclasses.asdict(s.ladder)
  config.axes = grid.product(
      grid.chain(*(grid.product(grid.axis('size', (size,)), grid.axis('characters', characters))
                   for size, characters in zip(s.sizes, s.characters, strict=True))),
      grid.axis('base.data.vocab_size', s.vocab_sizes))
  config.laws = ('vocabulary',)
  return config


def _proof(text: str) -> ConfigDict:
  """Runs at a predicted vocabulary, half and double of it, of one size of the `cpu` study.

  All three cost C = PROOF_FLOPS = 6 (N_nv + V d) D, so the tokens are D = C / (6 (N_nv + V d)).
  """
  best = int(text) if text.isdecimal() else 0
  if not 200 <= best <= 10_000:
    raise bad('proof', text, 'give the predicted vocabulary, in [200, 10000], as in proof=900')
  config = get_config('cpu')
  config.name = 'vocabulary-proof'
  model = sizes.shape(PROOF_SIZE)
  vocabularies = best // 2, best, 2 * best
  tokens = [PROOF_FLOPS / accounting.flops_6n(
      accounting.non_embedding(model) + accounting.vocabulary(model, V)) for V in vocabularies]
  config.axes = grid.product(
      grid.axis('size', (PROOF_SIZE,)),
      grid.zip_(grid.axis('base.data.vocab_size', vocabularies), grid.axis('tokens', tokens)),
      grid.axis('base.seed', PROOF_SEEDS))
  return config
