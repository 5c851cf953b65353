"""Numbers as people write them: 410M, 1.2B, 20k; 1,234,567; 1,8 for 1.8.

A suffix multiplies by a power of ten: k or K 1e3, M 1e6, B or G 1e9, T 1e12, P 1e15. Others are
not read: m may be milli or million, b, t and g are written in capitals by those who mean numbers,
and E is half an exponent (1e18). A comma is read where a column leaves one meaning: 1,234,567 has
thousands, 1,85 a decimal comma; 1,234 alone could be either and is no number.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

FACTORS = {'k': 3, 'K': 3, 'M': 6, 'B': 9, 'G': 9, 'T': 12, 'P': 15}
KNOWN = ' '.join(FACTORS)

_SUFFIXED = re.compile(rf'\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)) ?([{"".join(FACTORS)}])\s*')
_THOUSANDS = re.compile(r'[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?')
_DECIMAL = re.compile(r'[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?')
_UNLIKELY = re.compile(r'\s*([+-]?[0-9.]+) ?([mbtgpeE])\s*')


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A column as float64, and how many cells had a suffix or a comma (and the first of them)."""

  values: np.ndarray
  suffixed: int = 0
  commas: int = 0
  first: str = ''

  def said(self, name: str) -> str:
    """'D: 9 cells read with a unit suffix, the first '410M'' or ''."""
    how = [f'{count} cell{"s" * (count > 1)} read with {what}' for count, what in (
        (self.suffixed, 'a unit suffix'), (self.commas, 'commas')) if count]
    return f'{name}: {", ".join(how)}, such as {self.first!r}' if how else ''


def number(text: str) -> float | None:
  """A plain or suffixed number; None for any other text."""
  try:
    return float(text)
  except ValueError:
    found = _SUFFIXED.fullmatch(text)
    # Correctly rounded: '1.1B' is 1.1e9 and not 1.1 * 1e9.
    return float(f'{found.group(1)}e{FACTORS[found.group(2)]}') if found else None


def column(cells: Iterable[Any]) -> Numbers | None:
  """The cells as numbers, empty ones as nan; None if one that is filled is no number."""
  found, style = [], None
  suffixed, commas, first = 0, 0, ''
  for cell in cells:
    if empty(cell):
      found.append(np.nan)
      continue
    if not isinstance(cell, str):
      value = plain(cell)
    elif ',' in cell:
      if style is None:
        cells = list(cells)
        style = _style(cells)
      if not style:
        return None
      value = number(cell.replace(',', '' if style == 'thousands' else '.'))
      commas += 1
      first = first or cell
    else:
      value = number(cell)
      if value is not None and cell.strip()[-1] in FACTORS:
        suffixed += 1
        first = first or cell
    if value is None:
      return None
    found.append(value)
  return Numbers(np.array(found, np.float64), suffixed, commas, first[:40])


def empty(value: Any) -> bool:
  """Whether a cell holds nothing: None, nan, NA, or blanks."""
  if isinstance(value, str):
    return not value.strip()
  if value is None or isinstance(value, float | np.floating):
    return value is None or bool(np.isnan(value))
  return type(value).__name__ in ('NAType', 'NaTType')


def plain(value: Any) -> float | None:
  """A cell that is no text, as a number."""
  if isinstance(value, np.datetime64 | np.timedelta64 | complex | np.complexfloating):
    return None  # float() would take them, in nanoseconds or without the imaginary part
  try:
    return float(value)
  except OverflowError:
    return np.inf if value > 0 else -np.inf
  except (TypeError, ValueError):
    return None


def hint(text: str) -> str:
  """What might be meant by a text that is no number; '' when nothing comes to mind."""
  found = _UNLIKELY.fullmatch(text)
  if found and found.group(2) == 'E':
    return f'; write {found.group(1)}e18 if exa is meant'
  if found and found.group(2) != 'e':
    return f'; write {found.group(1)}{found.group(2).upper()} if that is meant'
  if ',' in text and (_THOUSANDS.fullmatch(text.strip()) or _DECIMAL.fullmatch(text.strip())):
    return '; its comma could be of thousands or of decimals'
  if re.fullmatch(r'\s*[0-9.]+ ?%\s*', text):
    return '; write a share of 1 for a per cent'
  return ''


def _style(cells: list[Any]) -> str:
  """'thousands' or 'decimal' when only one of them explains every comma of the column."""
  texts = [c.strip() for c in cells if isinstance(c, str) and c.strip()]
  commas = [t for t in texts if ',' in t]
  thousands = all(map(_THOUSANDS.fullmatch, commas))
  decimal = all(map(_DECIMAL.fullmatch, commas)) and not any('.' in t for t in texts)
  return '' if thousands == decimal else 'thousands' if thousands else 'decimal'
