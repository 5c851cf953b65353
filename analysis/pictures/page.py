"""HTML pieces of a report: text is escaped, pictures are embedded, nothing is fetched."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from analysis.pictures import drawing
from analysis.pictures.drawing import Picture


def page(title: str, parts: Iterable[str]) -> str:
  """The whole file."""
  return PAGE.replace('{title}', text(title)).replace('{body}', '\n'.join(parts))


def picture(one: Picture) -> str:
  """A figure with its heading and caption."""
  return (f'<figure><h3>{text(one.title)}</h3><img alt="{text(one.title)}" '
          f'src="{drawing.encoded(one.figure)}"><figcaption>{text(one.caption)}</figcaption>'
          '</figure>')


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
  top = ''.join(f'<th>{text(c)}</th>' for c in head)
  body = ''.join('<tr>' + ''.join(f'<td>{text(c)}</td>' for c in row) + '</tr>' for row in rows)
  return (f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
          '</div>')


def items(title: str, lines: Iterable[str], kind: str = 'notes') -> str:
  """A box with a list; kind is `notes` or `warnings`."""
  return (f'<div class="{kind}"><h3>{text(title)}</h3><ul>'
          + ''.join(f'<li>{text(line)}</li>' for line in lines) + '</ul></div>')


def facts(pairs: Iterable[tuple[str, str]]) -> str:
  """Names and what they are."""
  return '<dl>' + ''.join(f'<dt>{text(k)}</dt><dd>{text(v)}</dd>' for k, v in pairs) + '</dl>'


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
  """A few large numbers: (name, value) pairs."""
  return '<div class="tiles">' + ''.join(f'<div><b>{text(value)}</b><span>{text(name)}</span></div>'
                                         for name, value in pairs) + '</div>'


def note(words: str) -> str:
  return f'<p class="note">{text(words)}</p>' if words else ''


def text(value: Any) -> str:
  return html.escape(str(value))


PAGE = '''<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
  color: #222; max-width: 1060px; margin: 0 auto; padding: 24px; background: #fff; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 20px; margin: 36px 0 4px; padding-top: 12px;
  border-top: 2px solid #222; } h3 { font-size: 15px; margin: 22px 0 6px; }
header p, .note, figcaption { color: #5a5a5a; font-size: 13px; margin: 4px 0; }
.formula { font: 17px/1.4 "STIX Two Text", Cambria, Georgia, serif; margin: 8px 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0; }
.tiles div { border: 1px solid #ddd; border-radius: 6px; padding: 8px 14px; min-width: 110px; }
.tiles b { display: block; font-size: 21px; font-weight: 600; } .tiles span { font-size: 12.5px;
  color: #5a5a5a; }
.warnings, .notes { border-left: 4px solid #D55E00; background: #fdf3ec; padding: 6px 16px;
  margin: 14px 0; } .notes { border-color: #0072B2; background: #eef5fa; }
.warnings h3, .notes h3 { margin: 4px 0; } .warnings ul, .notes ul { margin: 4px 0 6px;
  padding-left: 20px; }
figure { margin: 18px 0; break-inside: avoid; } img { max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; column-gap: 24px; } .pair figure { flex: 1 1 420px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; font-size: 13.5px;
  margin: 8px 0; } dt { color: #5a5a5a; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 6px 0; } table { border-collapse: collapse; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th { text-align: right; border-bottom: 1.5px solid #222; padding: 4px 12px; font-weight: 600; }
td { text-align: right; border-bottom: 1px solid #e6e6e6; padding: 3px 12px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
pre { background: #f5f5f5; border-radius: 6px; padding: 12px 14px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 13px; }
@media print { body { max-width: none; padding: 0; font-size: 12px; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } }
</style></head><body>
{body}
</body></html>
'''
