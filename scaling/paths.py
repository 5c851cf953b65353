"""The longest ways through a forest of segments: what a sweep cannot be faster than."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from scaling.prefixes import Segment
from scaling.specs import RunSpec

Kind = TypeVar('Kind', bound=Hashable)


def parallel(forest: Mapping[str, Segment], kind: Callable[[RunSpec], Kind]) -> dict[Kind, int]:
  """How many segments of each kind (their shape) are worth lanes of their own.

  A segment waits for its parent, so runs that share a trunk do not fill a lane each. It is the
  number of segments that wait for none of their kind, or, where more hangs below these (stages that
  start from one run), the tokens of the kind by those of its longest way: with fewer lanes the
  lanes, not that way, would hold the sweep up.
  """
  roots: dict[Kind, int] = collections.Counter()
  tokens: dict[Kind, int] = collections.Counter()
  longest: dict[Kind, int] = collections.Counter()
  ends: dict[str, int] = {}  # tokens from the first of its kind above a segment to its end
  kinds = {name: kind(segment.spec) for name, segment in forest.items()}
  for name, segment in forest.items():  # parents first
    here, above = kinds[name], segment.parent
    waits = above is not None and kinds.get(above) == here
    roots[here] += not waits
    tokens[here] += segment.tokens
    ends[name] = segment.tokens + (ends[above] if above is not None and waits else 0)
    longest[here] = max(longest[here], ends[name])
  return {here: max(roots[here], math.ceil(tokens[here] / max(longest[here], 1)))
          for here in roots}


def left(forest: Mapping[str, Segment]) -> dict[str, int]:
  """Tokens from each segment's start to the end of the longest way below it."""
  below: dict[str | None, int] = collections.Counter()
  found = {}
  for name, segment in reversed(list(forest.items())):  # children first
    found[name] = segment.tokens + below[name]
    below[segment.parent] = max(below[segment.parent], found[name])
  return found
