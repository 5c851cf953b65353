"""Parameter counts and training FLOPs, in every convention in use.

With d = width, F = feed-forward size, V = vocabulary and m = 3 (swiglu) or 2 (gelu) feed-forward
matrices, a layer has 4 d^2 + m d F parameters in matrices and 2 d in norms (and 2 head sizes with
QK-norm); one more norm d closes the stack. No module has biases.

  N                 all of it, embedding V d and, when untied, head V d included (Hoffmann 2022)
  N_nonembedding    without the embedding and the head (Kaplan 2020, with norms, which it neglects)
  N_v               V d: one matrix, tied or not (Tao et al. 2024, arXiv 2407.13623)

FLOPs count a product of [a, b] and [b, c] as 2 a b c, and a training step as three times its
forward products: one more for the gradient of either factor. `6 N D` is the convention of the
laws; the layer-by-layer count adds attention (2 * 2 L d a token and layer, or half of it when only
the causal half is counted) and the head, and leaves out look-ups and norms. XLA's own count is no
substitute: it counts the body of a loop over layers once.
"""

from __future__ import annotations

from typing import NamedTuple

from scaling.specs import ModelSpec


class Parameters(NamedTuple):
  """Parameter counts of a model."""

  total: int  # N
  non_embedding: int  # N_nonembedding
  vocabulary: int  # N_v


def matrix_parameters(model: ModelSpec) -> int:
  """Parameters of the layers' matrices: 4 d^2 + m d F a layer."""
  d, matrices = model.width, 3 if model.activation == 'swiglu' else 2
  return model.layers * (4 * d * d + matrices * d * model.hidden)


def parameters(model: ModelSpec, vocab_size: int) -> Parameters:
  """Parameter counts by convention."""
  norms = model.layers * 2 * (model.width + (model.head_size if model.qk_norm else 0)) + model.width
  non_embedding = matrix_parameters(model) + norms
  vocabulary = vocab_size * model.width
  copies = 1 if model.tied_embeddings else 2
  return Parameters(non_embedding + copies * vocabulary, non_embedding, vocabulary)


def forward_flops_per_token(model: ModelSpec, vocab_size: int, length: int, causal: bool = False
                            ) -> float:
  """Matrix-product FLOPs of one token's forward pass in a sequence of `length`, head included.

  causal=False counts the whole L x L square of attention, as most programs compute it; causal=True
  the half of it that the mask keeps.
  """
  attention = model.layers * 4 * length * model.width * (0.5 if causal else 1.0)
  return 2 * matrix_parameters(model) + attention + 2 * vocab_size * model.width


def train_flops_per_token(model: ModelSpec, vocab_size: int, length: int, causal: bool = False
                          ) -> float:
  """Three times the forward products: `C_counted` is this times D."""
  return 3 * forward_flops_per_token(model, vocab_size, length, causal)
