"""Fused attention on GPUs: cuDNN's, the run axis folded into the batch, tested before it is used.

jax 0.10.2 maps cuDNN's calls over lanes by itself, but its rule for the backward call reshapes
every operand as though all of them were mapped and raises where one is not; so the folding is done
here (`folded`), for both calls, and nothing of jax's rule is reached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_batching import custom_vmap

from scaling.model import attention
from scaling.specs import ModelSpec

LARGEST_HEAD = 128  # cuDNN's, on every GPU it supports; 256 on some
TOLERANCE = 0.02  # five bfloat16 epsilons, of the norm of a difference by that of the value
TESTED_LENGTH = 256  # at most: the XLA form holds [L, L] scores


def folded(kernel: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
  """`kernel`, from arrays [B, ...] to a tuple of arrays [B, ...], under any number of vmaps.

  A mapped axis joins the batch: [R, B, ...] becomes [R B, ...] and the results are cut again; an
  operand that is not mapped is repeated.
  """
  @custom_vmap
  def call(*arrays: Array) -> tuple[Array, ...]:
    return kernel(*arrays)

  @call.def_vmap
  def mapped(R: int, batched: list[bool], *arrays: Array):
    arrays = tuple(a if is_batched else jnp.broadcast_to(a, (R, *a.shape))
                   for a, is_batched in zip(arrays, batched, strict=True))
    outs = call(*(a.reshape(R * a.shape[1], *a.shape[2:]) for a in arrays))
    return tuple(out.reshape(R, -1, *out.shape[1:]) for out in outs), (True,) * len(outs)

  return call


def attend(forward: Callable[..., tuple[Array, ...]],
           backward: Callable[..., tuple[Array, ...]]) -> attention.Attend:
  """(q, k, v) -> out of two kernels, folded: (q, k, v) -> (out, saved), and
  (q, k, v, out, saved, gradient) -> the gradients of q, k and v. All [B, L, H, K] but `saved`.
  """
  forward, backward = folded(forward), folded(backward)

  @jax.custom_vjp
  def call(q_BxLxHxK: Array, k_BxLxHxK: Array, v_BxLxHxK: Array) -> Array:
    return forward(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)[0]

  def call_forward(q: Array, k: Array, v: Array):
    out, saved = forward(q, k, v)
    return out, (q, k, v, out, saved)

  def call_backward(saved, gradient: Array):
    return tuple(backward(*saved, gradient))

  call.defvjp(call_forward, call_backward)
  return call


@functools.cache
def cudnn() -> attention.Attend:
  """cuDNN's causal attention (Dao et al. 2022), for bfloat16 and float16.

  jax.nn.dot_product_attention(implementation='cudnn') hides the log of the softmax's sum, which
  the backward call needs, so these are the two rules beneath it. They are private to jax: a version
  that has moved them fails `fault`, and the XLA form is used.
  """
  from jax._src.cudnn import fused_attention_stablehlo  # pylint: disable=import-outside-toplevel
  fused: Any = fused_attention_stablehlo  # Its types say nothing of a custom_vjp's rules.

  def settings(q: Array) -> tuple[Any, ...]:
    layout = fused.AttentionLayout.BTNH.value
    return q.shape[-1]**-0.5, 42, 0.0, (False, False), fused.MaskType.CAUSAL, layout, None

  def forward(q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    none = jnp.zeros(0, q.dtype)
    fused.check_layout(q, k, v, None, None, None, None, None, None, None,
                       fused.AttentionLayout.BTNH)
    _, saved = fused._dot_product_attention_fwd_rule(
        q, k, v, *[none] * 7, *settings(q), fused.check_cudnn_version(), False)
    return saved[-1], saved[-2]

  def backward(q: Array, k: Array, v: Array, out: Array, lse: Array,
               gradient: Array) -> tuple[Array, ...]:
    none = jnp.zeros(0, q.dtype)
    saved = (q, k, v, *[none] * 7, lse, out)
    return fused._dot_product_attention_bwd_rule(
        *settings(q), fused.check_cudnn_version(), False, saved, gradient)[:3]

  return attend(forward, backward)


def fits(model: ModelSpec) -> bool:
  """Whether cuDNN takes a model's heads: bfloat16, sizes in steps of 8 up to LARGEST_HEAD."""
  return (model.dtype == 'bfloat16' and model.head_size % 8 == 0
          and model.head_size <= LARGEST_HEAD)


def fault(model: ModelSpec, length: int, device: jax.Device) -> str | None:
  """What is wrong with cuDNN's attention on a device for heads of a model, None when nothing is.

  Numbers are compared at TESTED_LENGTH at most; a longer one is compiled, so that a length which
  cuDNN refuses is found here. A process that does not own the device tests one of its own.
  """
  device = device if device in jax.local_devices() else jax.local_devices()[0]
  H, K = model.heads, model.head_size
  wrong = _fault(cudnn, H, K, min(length, TESTED_LENGTH), device)
  if wrong is None and length > TESTED_LENGTH:
    wrong = _refusal(cudnn, H, K, length, device)
  return wrong


@functools.cache
def _fault(make: Callable[[], attention.Attend], H: int, K: int, L: int,
           device: jax.Device) -> str | None:
  """Compares values and gradients on two lanes with those of the XLA form in float32.

  Once a process, device and shape of the heads; the gradient of the loss is mapped over lanes, as
  in training.
  """
  rng = np.random.default_rng(0)
  try:
    arrays = [jax.device_put(_representable(rng.standard_normal((2, 1, L, H, K))), device)
              for _ in range(4)]
    (_, out), grads = jax.device_get(_loss(make(), jnp.bfloat16)(*arrays))
    with jax.default_matmul_precision('highest'):
      (_, right), right_grads = jax.device_get(_loss(attention.causal, jnp.float32)(*arrays))
  except Exception as error:  # Whatever it is, it is not going to train.
    return _said(error)
  for name, one, other in zip(('the value', 'the gradient of q', 'the gradient of k',
                               'the gradient of v'), (out, *grads), (right, *right_grads),
                              strict=True):
    off = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    if not off <= TOLERANCE:  # NaN is not.
      return f'{name} is off by {off:.2g} of its norm, at most {TOLERANCE:g} is rounding'
  return None


@functools.cache
def _refusal(make: Callable[[], attention.Attend], H: int, K: int, L: int,
             device: jax.Device) -> str | None:
  """Why values and gradients on two lanes cannot be compiled at a length; runs nothing."""
  array = jax.ShapeDtypeStruct((2, 1, L, H, K), jnp.float32,
                               sharding=jax.sharding.SingleDeviceSharding(device))
  try:
    _loss(make(), jnp.bfloat16).lower(*[array] * 4).compile()
  except Exception as error:  # Whatever it is, it is not going to train.
    return f'at length {L}: {_said(error)}'
  return None


def _loss(attend: attention.Attend, dtype: Any) -> Any:
  """(q, k, v, weights [R, B, L, H, K] in float32) -> the weighted sum and the value computed in
  `dtype`, and the gradients of q, k and v."""
  def one(q, k, v, w):
    out = attend(q.astype(dtype), k.astype(dtype), v.astype(dtype)).astype(jnp.float32)
    return (out * w).sum(), out
  return jax.jit(jax.vmap(jax.value_and_grad(one, argnums=(0, 1, 2), has_aux=True)))


def _said(error: Exception) -> str:
  return ' '.join(f'{type(error).__name__}: {error}'.split())[:200]


def _representable(values: np.ndarray) -> np.ndarray:
  """Rounded to bfloat16, so that both forms get the same numbers; in float32."""
  return np.asarray(np.asarray(values, jnp.bfloat16), np.float32)
