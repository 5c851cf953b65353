"""Neither building nor reading a store takes memory that grows with the text."""

import subprocess
import sys

import pytest

BUILD = '''
import resource, sys
from scaling.data import build, corpora, tokenizers
root, megabytes = sys.argv[1], int(sys.argv[2])
def texts():
  for i in range(megabytes * 100):
    yield f'{i} ' + 'some words of a long text ' * 400  # 10 kB
spool = build.Spool(root + '/spool', 'long', texts(), 0.05, lambda *_: None)
build.text_store(root + '/bytes/long', root + '/work', spool, tokenizers.Bytes(), {},
                 lambda *_: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
'''


def peak(folder, megabytes):
  done = subprocess.run([sys.executable, '-c', BUILD, str(folder), str(megabytes)],
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return float(done.stdout)


@pytest.mark.parametrize('megabytes', [
    150, pytest.param(1500, marks=pytest.mark.slow)])
def test_building_streams(tmp_path, megabytes):
  # The buffers before a flush take 16 MB, a bucket in memory a 256th of the text.
  assert peak(tmp_path / 'large', megabytes) - peak(tmp_path / 'small', 1) < 40 + megabytes / 20
