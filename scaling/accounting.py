"""Parameter counts and FLOPs of a model, in every convention in use.

Parameters. N total is every parameter once (tied embeddings once); N non-embedding leaves out the
token embedding and an untied head (Kaplan et al. 2020); the vocabulary's N_v = V * width is one
embedding matrix, tied or not (Tao et al. 2024).

FLOPs, one multiplication and one addition being two. The convention 6 N: two a parameter forward,
four backward (Kaplan et al. 2020 with N non-embedding, Hoffmann et al. 2022 with N total). Counted
layer by layer: the forward matrix products, times three, the head included, the embedding look-up
free. Attention's two products are counted over all L keys ('full', what a program without blocks
computes, and what Chinchilla's appendix F counts), or over the (L + 1) / 2 keys that a query sees
on average ('half'). Normalisation, softmax, rotary positions and activations are not counted.

A weight that is fixed at zero counts in neither: pruned ones (scaling/pruning.py), and those off
the support of a sparse plus low-rank layer, whose products are counted as those of A, B and S.
"""

from __future__ import annotations

from scaling.errors import bad
from scaling.specs import ModelSpec


def parameters(model: ModelSpec, vocab_size: int) -> int:
  """N: every trained number of the model, counted once."""
  return non_embedding(model) + vocab_size * model.width * (1 if model.tied_embeddings else 2)


def non_embedding(model: ModelSpec) -> int:
  """N without the token embedding and without an untied head."""
  norms = 2 * model.width + (2 * model.head_size if model.qk_norm else 0)
  return linear_weights(model) + model.layers * norms + model.width


def linears(model: ModelSpec) -> dict[str, tuple[int, int]]:
  """(inputs, outputs) of the linear layers of all blocks, by name, in their order."""
  return {f'blocks.{i}.{name}': shape for i in range(model.layers)
          for name, shape in _linears(model).items()}


def linear_weights(model: ModelSpec) -> int:
  """The trained numbers of all linear layers of the blocks."""
  return model.layers * sum(_weights(model, *shape) for shape in _linears(model).values())


def support(model: ModelSpec, inputs: int, outputs: int) -> int:
  """Entries of S of a sparse plus low-rank layer: round(support * inputs * outputs)."""
  return round((model.support or 0.0) * inputs * outputs)


def _linears(model: ModelSpec) -> dict[str, tuple[int, int]]:
  width, hidden = model.width, model.hidden
  up = 2 * hidden if model.activation == 'swiglu' else hidden
  return {'attention.qkv': (width, 3 * width), 'attention.out': (width, width),
          'feed_forward.up': (width, up), 'feed_forward.down': (hidden, width)}


def _weights(model: ModelSpec, inputs: int, outputs: int) -> int:
  if model.linear == 'dense':
    return inputs * outputs
  return (model.rank or 0) * (inputs + outputs) + support(model, inputs, outputs)


def vocabulary(model: ModelSpec, vocab_size: int) -> int:
  """N_v = V * width, the parameters of one embedding matrix."""
  return vocab_size * model.width


def flops_6n(parameters: int) -> int:
  """Training FLOPs a token by the convention 6 N, for the N given."""
  return 6 * parameters


def forward_flops(model: ModelSpec, vocab_size: int, length: int,
                  attention: str = 'full', density: float = 1) -> dict[str, float]:
  """FLOPs of one forward pass a token, by part, all layers summed.

  qkv, out, feed_forward: 2 a trained weight of these layers, of which the share `density` counts,
  so 2 * 3 width^2, 2 width^2 and 2 * 3 width * hidden (swiglu) or 2 * 2 width * hidden (gelu) a
  layer. attention: 2 * 2 width * keys a layer, keys = L or (L + 1) / 2. head: 2 width V. Raises
  InputError when `attention` is neither 'full' nor 'half'.
  """
  if attention not in ('full', 'half'):
    raise bad('attention', attention, 'allowed are full, half')
  keys = length if attention == 'full' else (length + 1) / 2
  layers, width = model.layers, model.width
  products = {name: layers * 2 * _weights(model, *shape) * density
              for name, shape in _linears(model).items()}
  return {
      'qkv': products['attention.qkv'],
      'attention': layers * 2 * 2 * width * keys,
      'out': products['attention.out'],
      'feed_forward': products['feed_forward.up'] + products['feed_forward.down'],
      'head': 2 * width * vocab_size,
  }


def counted_flops(model: ModelSpec, vocab_size: int, length: int,
                  attention: str = 'full', density: float = 1) -> float:
  """Training FLOPs a token counted layer by layer: three times the forward products."""
  return 3 * sum(forward_flops(model, vocab_size, length, attention, density).values())
