"""Real text that the install itself brings: four corpora cut from a fixed list of packages.

The packages and versions are those of constraints.txt (a test compares them), and nothing else
that happens to be installed is read, so a corpus is the same text wherever it is cut.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import warnings
from collections.abc import Iterator

from scaling.errors import InputError

VERSIONS = {
    'flax': '0.12.8', 'h5py': '3.14.0', 'jax': '0.10.2', 'jaxlib': '0.10.2', 'keras': '3.15.1',
    'matplotlib': '3.11.2', 'numpy': '2.4.6', 'optax': '0.2.8', 'orbax-checkpoint': '0.12.8',
    'pandas': '3.1.1', 'pillow': '12.3.0', 'scipy': '1.17.1', 'seqio': '0.0.20',
    'tensorflow': '2.21.0', 'tensorflow-datasets': '4.9.10', 'tensorstore': '0.1.86',
}
_PYTHON = ('scipy', 'numpy', 'pandas', 'matplotlib', 'jax', 'flax', 'optax', 'orbax-checkpoint',
           'keras', 'seqio', 'tensorflow-datasets')
PACKAGES: dict[str, tuple[str, ...]] = {
    'python_docs': _PYTHON,  # docstrings: English technical prose
    'python_code': _PYTHON,  # source without docstrings
    'cpp_code': ('tensorflow', 'numpy'),  # the C and C++ headers they ship
    'licences': ('tensorflow', 'jaxlib', 'numpy', 'matplotlib', 'pillow', 'pandas', 'scipy',
                 'flax', 'tensorstore', 'h5py', 'keras'),  # legal text
}
# Licences are few: a larger share keeps 256 windows of 128 tokens in `valid`.
VALID_SHARE = {'licences': 0.2}

# Left out: tests (they repeat one another and hold little prose) and generated protocol code.
_TESTS = re.compile(r'(^|/)(tests?|_tests|testing|conftest\.py|test_[^/]*|[^/]*_test\.py)(/|$)')
_HEADERS = ('tensorflow/include/tensorflow/', 'tensorflow/include/xla/',
            'tensorflow/include/Eigen/', 'numpy/_core/include/')
_LICENCE = re.compile(r'licen[cs]e|copying|notice|copyright', re.IGNORECASE)
_RULE = re.compile(r'^\s*[-=*#_~]{10,}\s*$', re.MULTILINE)
_SHORTEST, _PARAGRAPHS = 100, 1000  # characters


def source(corpus: str) -> dict[str, object]:
  """What the corpus is cut from. Raises InputError for a missing package or another version."""
  wanted = {name: VERSIONS[name] for name in PACKAGES[corpus]}
  for name, version in wanted.items():
    try:
      found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      found = 'none'
    if found != version:
      raise InputError(f'--corpus={corpus} is cut from {name}=={version} and {found} is installed; '
                       "run: pip install -e '.[data]' -c constraints.txt")
  return {'packages': wanted, 'cut': 1}  # `cut` rises when the rules below change


def documents(corpus: str) -> Iterator[str]:
  """The documents in no particular order, repetitions included. Seconds on one core."""
  source(corpus)
  for package in PACKAGES[corpus]:
    for path in _paths(corpus, package):
      yield from _cut(corpus, path)


def _paths(corpus: str, package: str) -> list[str]:
  distribution = importlib.metadata.distribution(package)
  found = []
  for file in distribution.files or ():
    name = str(file)
    if '..' in file.parts or '__pycache__' in file.parts:
      continue
    if corpus == 'licences':
      keep = bool(_LICENCE.search(file.name)) and file.suffix in ('', '.txt', '.md', '.rst')
    elif corpus == 'cpp_code':
      keep = name.startswith(_HEADERS) and not name.endswith('.pb.h') and (
          file.suffix in ('.h', '.hpp'))
    else:
      keep = file.suffix == '.py' and not _TESTS.search(name)
    if keep:
      found.append(str(distribution.locate_file(file)))
  return sorted(found)


def _cut(corpus: str, path: str) -> list[str]:
  try:
    with open(path, encoding='utf-8') as file:
      text = file.read()
  except UnicodeDecodeError:  # a handful of packaged files in other encodings
    return []
  if corpus == 'licences':
    return [t for t in _paragraphs(text) if len(t) >= _SHORTEST]
  if corpus == 'python_docs':
    return [t for t in _docstrings(text) if len(t) >= _SHORTEST]
  if corpus == 'python_code':
    text = _without_docstrings(text)
  text = text.strip('\n')
  return [text + '\n'] if len(text) >= _SHORTEST else []


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(text: str) -> list[_Documented]:
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # invalid escapes in other people's strings
    try:
      tree = ast.parse(text)
    except (SyntaxError, ValueError):  # templates, and syntax newer than this Python's
      return []
  found: list[_Documented] = []
  todo: list[ast.AST] = [tree]
  while todo:  # statements only: walking the expressions too takes twice as long
    node = todo.pop()
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      found.append(node)
    for field in ('body', 'orelse', 'handlers', 'finalbody'):
      children = getattr(node, field, None)
      if isinstance(children, list):
        todo += children
  return found


def _docstrings(text: str) -> list[str]:
  docs = (ast.get_docstring(node) for node in _documented(text))
  # A lone surrogate, written as an escape, is a Python string and not text.
  return [doc for doc in docs if doc and not re.search('[\ud800-\udfff]', doc)]


def _without_docstrings(text: str) -> str:
  lines = text.split('\n')
  drop: set[int] = set()
  for node in _documented(text):
    first = node.body[0] if node.body else None
    if (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str) and first.end_lineno is not None):
      drop.update(range(first.lineno - 1, first.end_lineno))
  return '\n'.join(line for i, line in enumerate(lines) if i not in drop)


def _paragraphs(text: str) -> list[str]:
  """Runs of paragraphs of a thousand characters and more, begun anew after every drawn rule."""
  found, current = [], ''
  for section in _RULE.split(text):
    for paragraph in re.split(r'\n\s*\n', section):
      current += paragraph.rstrip() + '\n\n'
      if len(current) >= _PARAGRAPHS:
        found.append(current.strip())
        current = ''
    found.append(current.strip())
    current = ''
  return found
