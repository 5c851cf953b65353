"""The tables of these pages: as markdown, and put in their places."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def rewrite(path: pathlib.Path, bodies: Mapping[str, str]) -> None:
  """Puts every body after its marker <!-- name -->, up to the next <!-- end -->.

  Nothing is written where a marker is missing.
  """
  text = path.read_text()
  for name, body in bodies.items():
    text, found = re.subn(rf'(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)',
                          lambda m, body=body: f'{m[1]}{body}\n{m[2]}', text, flags=re.S)
    if not found:
      raise SystemExit(f'{path}: no marker <!-- {name} -->')
  path.write_text(text)
