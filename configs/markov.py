"""The synthetic corpus, whose entropy rate is known: how close does training come to the truth?

  --config=configs/markov.py          three sizes, some minutes; the largest ends 1.8 % above the
                                      entropy rate (2.385 against 2.343 nats), 60k 3.2 % above
  --config=configs/markov.py:tiny     two sizes for seconds: for tests
"""

from ml_collections import ConfigDict

from scaling import grid, study
from scaling.errors import bad

SCALES = {
    # sizes (non-embedding parameters), tokens, batch in tokens, evaluation windows
    'full': ((6e3, 6e4, 1.6e5), (4_096_000,), 1024, 256),
    'tiny': ((1e3, 6e3), (20_480,), 512, 16),
}


def get_config(scale: str = 'full') -> ConfigDict:
  if scale not in SCALES:
    raise bad('scale', scale, f'allowed are {", ".join(SCALES)}')
  sizes, tokens, batch, windows = SCALES[scale]
  config = study.new_config('markov' if scale == 'full' else f'markov-{scale}', {'markov': 1.0})
  config.base.data.tokenizer = 'symbols'
  config.base.data.vocab_size = 64
  config.base.optim.warmup_fraction = 0.05
  config.base.evaluation.windows = windows
  config.ladder.smallest_batch_tokens = float(batch)
  config.axes = grid.product(grid.axis('size', sizes), grid.axis('tokens', tokens))
  return config
