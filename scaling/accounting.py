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
  layer = 4 * model.width**2 + _feed_forward_matrices(model) * model.width * model.hidden + norms
  return model.layers * layer + model.width


def vocabulary(model: ModelSpec, vocab_size: int) -> int:
  """N_v = V * width, the parameters of one embedding matrix."""
  return vocab_size * model.width


def flops_6n(parameters: int) -> int:
  """Training FLOPs a token by the convention 6 N, for the N given."""
  return 6 * parameters


def forward_flops(model: ModelSpec, vocab_size: int, length: int,
                  attention: str = 'full') -> dict[str, float]:
  """FLOPs of one forward pass a token, by part, all layers summed.

  qkv and out: 2 * 3 width^2 and 2 width^2 a layer. attention: 2 * 2 width * keys a layer, keys = L
  or (L + 1) / 2. feed_forward: 2 * 3 width * hidden (swiglu) or 2 * 2 width * hidden (gelu) a
  layer. head: 2 width V. Raises InputError when `attention` is neither 'full' nor 'half'.
  """
  if attention not in ('full', 'half'):
    raise bad('attention', attention, 'allowed are full, half')
  keys = length if attention == 'full' else (length + 1) / 2
  layers, width = model.layers, model.width
  return {
      'qkv': layers * 2 * 3 * width**2,
      'attention': layers * 2 * 2 * width * keys,
      'out': layers * 2 * width**2,
      'feed_forward': layers * 2 * _feed_forward_matrices(model) * width * model.hidden,
      'head': 2 * width * vocab_size,
  }


def counted_flops(model: ModelSpec, vocab_size: int, length: int,
                  attention: str = 'full') -> float:
  """Training FLOPs a token counted layer by layer: three times the forward products."""
  return 3 * sum(forward_flops(model, vocab_size, length, attention).values())


def _feed_forward_matrices(model: ModelSpec) -> int:
  return 3 if model.activation == 'swiglu' else 2
