"""Every link in the documents leads somewhere; the CSV commands of the README work as typed."""

import pathlib
import re
import shlex

import pytest

from tests.analysis import commands
from tests.conftest import ROOT

DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
  for target in re.findall(r'\]\(([^)#\s]+)', path.read_text()):
    if '://' not in target:
      assert (path.parent / target).exists(), target


def test_the_readme_fits_a_csv_as_typed(tmp_path):
  with open(tmp_path / 'runs.csv', 'w') as file:
    print('params,tokens,val_loss', file=file)
    for N in (1e7, 3e7, 1e8, 3e8, 1e9):
      for D in (1e9, 4e9, 1.6e10, 6e10):  # Hoffmann et al. 2022, approach 3
        print(N, D, 1.69 + 406.4 / N**0.34 + 410.7 / D**0.28, sep=',', file=file)
  block = re.search(r'\*\*Fit your own CSV\*\*.*?```\n(.*?)```',
                    (ROOT / 'README.md').read_text(), re.DOTALL)
  assert block is not None
  lines = block.group(1).strip().splitlines()
  assert len(lines) == 4
  for line in lines:
    words = shlex.split(line)
    assert words[:2] == ['python', '-m']
    done = commands.run(*words[2:], cwd=tmp_path)
    assert done.returncode == 0, (line, done.stderr)
    if 'predict' in line and '--N=' in line:  # 1.69 + 406.4 / 7e9^.34 + 410.7 / 1e12^.28
      assert '2.0519' in done.stdout
  assert pathlib.Path(tmp_path / 'report.html').stat().st_size > 100_000
