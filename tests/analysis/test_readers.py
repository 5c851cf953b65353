"""Files of every format as tables, what is wrong with them in one line, and no traceback ever."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import fit, laws
from analysis.reading import contents, events, points, readers, tables
from analysis.reading.expressions import Expression
from analysis.reading.sampling import Options
from scaling.errors import InputError

ROWS = [{'N': 1e8, 'D': 2e9, 'loss': 3.5}, {'N': 2e8, 'D': 2e9, 'loss': 3.25}]
FRAME = pd.DataFrame(ROWS)
CSV = FRAME.to_csv(index=False)
ANY_FILE = settings(max_examples=120, deadline=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(folder, content, name='data'):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


def parquet(frame):
  buffer = io.BytesIO()
  frame.to_parquet(buffer)
  return buffer.getvalue()


def zipped(*names):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as archive:
    for name in names:
      archive.writestr(name, CSV)
  return buffer.getvalue()


LINES = ''.join(json.dumps(row) + '\n' for row in ROWS)
CONTENTS = {
    'commas': CSV, 'semicolons': CSV.replace(',', ';'), 'tabs': CSV.replace(',', '\t'),
    'byte order mark': b'\xef\xbb\xbf' + CSV.encode(),
    'carriage returns': CSV.replace('\n', '\r\n'),
    'UTF-16 with tabs, as from Excel': CSV.replace(',', '\t').encode('utf-16'),
    'decimal commas': 'N;D;loss\n1e8;2e9;3,5\n2e8;2e9;3,25\n',
    'suffixes': 'N,D,loss\n100M,2B,3.5\n200 M,2000M,3.25\n',
    'thousands': 'N,D,loss\n'
                 '"100,000,000","2,000,000,000",3.5\n'
                 '"200,000,000","2,000,000,000",3.25\n',
    'lines': LINES, 'lines, the last cut off': LINES + '{"N": 1', 'array': json.dumps(ROWS),
    'rows by name': json.dumps({'a': ROWS[0], 'b': ROWS[1]}, indent=1),
    'columns': json.dumps({c: [r[c] for r in ROWS] for c in FRAME}, indent=1),
    'parquet': parquet(FRAME), 'parquet with an index': parquet(FRAME.set_index('N')),
    'gzip': gzip.compress(CSV.encode()), 'bzip2': bz2.compress(CSV.encode()),
    'xz': lzma.compress(LINES.encode()), 'zip': zipped('a.csv')}


@pytest.mark.parametrize('content', CONTENTS.values(), ids=CONTENTS.keys())
def test_the_format_is_told_by_the_content(tmp_path, content):
  path = put(tmp_path, content)
  found = tables.values(readers.read(path), {n: Expression(n) for n in ('N', 'D', 'loss')})
  for name in FRAME:
    np.testing.assert_array_equal(found[name], FRAME[name])
  assert len(points.of_table(laws.get('chinchilla'), path).loss) == 2


def test_cells_are_read_exactly(tmp_path):
  table = readers.read(put(tmp_path, 'loss,N\n2.3419999999999996,7.1B\n0.1,1.1k\n'))
  found = tables.values(table, {'loss': Expression('loss'), 'N': Expression('N')})
  assert found['loss'][0] == 2.3419999999999996 and list(found['N']) == [7.1e9, 1.1e3]
  assert tables.notes(table, [Expression('N * 2')]) == [
      "N: 2 cells read with a unit suffix, such as '7.1B'"]


@pytest.mark.parametrize('cells, hint', [
    (['1,234', '5,678'], 'thousands or of decimals'), (['410m', '1'], 'write 410M'),
    (['7b'], 'write 7B'), (['2E'], 'write 2e18'), (['30 %', '1'], 'share of 1'),
    (['1e3M'], 'not a number'), (['1.234,5'], 'not a number'),
    (['1,2,3'], 'not a number'), (['Pythia-70M'], 'not a number')])
def test_ambiguous_cells_are_not_guessed(cells, hint):
  with pytest.raises(InputError, match=hint):
    tables.values(pd.DataFrame({'x': cells}), {'x': Expression('x')})


def test_text_columns_stay_comparable():
  table = pd.DataFrame({'size': ['70M', '7B'], 'model': ['a', '7B'], 'n': [7e9, 1.0]})
  for text, expected in (("size == '7B'", [0, 1]), ('size > 100M', [0, 1]),
                         ("model == '7B'", [0, 1]),
                         ('model == 7B', [0, 1]), ("n == '7B'", [1, 0]), ("n != 'x'", [1, 1])):
    np.testing.assert_array_equal(Expression(text).evaluate(table), np.array(expected, bool))


WRONG = {
    'empty': (b'', 'is empty'), 'blank': (b' \n\n', 'is empty'),
    'junk': (bytes(range(256)) * 4, 'binary'), 'nul': (b'N,D\n1,\0\n', 'binary'),
    'windows-1252': ('size,größe\n1,2\n'.encode('windows-1252'), 'line 1 is not UTF-8'),
    'two encodings': ('é\n'.encode() + 'é'.encode('latin-1'), 'line 2 is not UTF-8'),
    'columns twice': ('N,N,loss\n1,2,3\n', "'N' is there 2 times"),
    'twice but for spaces': ('N, N ,loss\n1,2,3\n', "'N' is there 2 times"),
    'numbers only': ('1e8,2e9,3.5\n2e8,2e9,3.2\n', 'names of the columns'),
    'two separators': ('N;x,D\n', '--format'), 'more cells': ('N,D\n1,2,3\n', 'more cells'),
    'ragged': ('N,D\n1,2\n1,2,3\n', 'cannot be read'), 'header only': ('N,D\n', 'no rows'),
    'open quote': ('N,D\n1,"2\n', 'cannot be read'),
    'damaged gzip': (gzip.compress(CSV.encode())[:-9], 'gzip compression is damaged'),
    'flipped gzip': (gzip.compress(CSV.encode())[:20] + b'xxxx', 'damaged'),
    'damaged zip': (zipped('a')[:40], 'zip compression'), 'archive': (zipped('a', 'b'), '2 files'),
    'workbook': (zipped('[Content_Types].xml', 'xl/a.xml'), 'export the sheet'),
    'zstandard': (b'\x28\xb5\x2f\xfd' + bytes(9), 'zstandard'),
    'parquet': (b'PAR1' + bytes(40), 'Parquet'), 'cut parquet': (parquet(FRAME)[:-20], 'Parquet'),
    'JSON': ('{"N": 1}\n{"N": \n{"N": 2}\n', 'line 2 is not JSON'), 'array': ('[1, 2', 'not JSON'),
    'numbers': ('[1, 2]', 'entry 1 is no object'), 'key twice': ('{"a": 1, "a": 2}', 'same key'),
    'deep': ('[' * 100000, 'not JSON|deep'), 'no rows': ('[]', 'no rows')}


@pytest.mark.parametrize('content, said', WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line(tmp_path, content, said):
  with pytest.raises(InputError, match=said) as error:
    readers.read(put(tmp_path, content))
  assert '\n' not in str(error.value) and str(tmp_path) in str(error.value)


def test_paths(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  (tmp_path / 'w' / 'runs').mkdir(parents=True)
  for path, said in ((tmp_path / 'no.csv', 'no such'), (tmp_path / 'pipe', 'regular'),
                     (tmp_path, 'without TensorBoard'), (tmp_path / 'w', '--logs')):
    with pytest.raises(InputError, match=said):
      readers.read(str(path))
  with pytest.raises(InputError, match='--format'):
    readers.read(str(tmp_path), 'xls')
  with pytest.raises(InputError, match='folder'):
    readers.read(str(tmp_path), 'csv')


def test_permission(tmp_path, monkeypatch):
  """Whatever the system says on opening, as one line; tests may run as root, who may read all."""
  def refused(*_):
    raise PermissionError(13, 'Permission denied')
  path = put(tmp_path, CSV)
  put(tmp_path, b'', 'run/events.out.tfevents.1')
  monkeypatch.setattr('builtins.open', refused)
  for what in (path, str(tmp_path)):
    with pytest.raises(InputError, match='Permission denied'):
      readers.read(what)


def test_missing_columns_are_guessed_at_in_the_message(tmp_path):
  path = put(tmp_path, 'Model Size,tokens,Loss\n1,2,3\n')
  law = laws.get('chinchilla')
  for columns, said in (('', "--columns='N=`Model Size`'"),
                        ('N=model_size,D=tokens,loss=Loss', 'mean Model Size'),
                        ('N=`Model Size`,D=tokens', "--columns='loss=Loss'")):
    with pytest.raises(InputError, match=said):
      points.of_table(law, path, columns)


def test_values_no_law_can_take_are_dropped_and_counted(tmp_path):
  text = 'N,D,loss\n' + ''.join(f'{n},{d},{2 + n**-.3 + d**-.4}\n' for n in (10, 100, 1000)
                                for d in (10, 100, 1000))
  text += f'0,1,2\n-1,1,2\n1,,2\n{"9" * 400},1,2\n1,1,-3\n1,1,NA\n1,1,inf\n'
  found = points.of_table(laws.get('chinchilla'), put(tmp_path, text))
  made = fit.fit(laws.get('chinchilla'), found.inputs, found.loss, bootstrap=0)
  assert made.dropped == {'N infinite': 1, 'N not positive': 2, 'D missing': 1, 'loss missing': 1,
                          'loss infinite': 1, 'loss not positive': 1}


def record(data, checksum=None):
  head = struct.pack('<Q', len(data))
  return head + events._masked(head) + data + (checksum or events._masked(data))


def test_checksum():
  assert events._masked(b'123456789') == struct.pack(
      '<I', ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF)  # RFC 3720's check


def test_tensorboard_folder(tmp_path):
  writers = pytest.importorskip('tensorboardX')
  for run, offset in (('a', 0.0), ('b/late', 1.0)):
    with writers.SummaryWriter(str(tmp_path / run)) as writer:
      for step in (10, 20):
        writer.add_scalar('val/loss', offset + step / 8, step, walltime=5.0)
      writer.add_scalar('step', 7, 10)
      writer.add_scalar('val/loss', offset + 3, 20)
      writer.add_histogram('weights', np.arange(9.0), 20)
      writer.add_text('note', 'hello', 20)
  with writers.SummaryWriter(str(tmp_path / 'c')) as writer:
    writer.add_hparams({'N': 1e6, 'kind': 'x', 'tied': True}, {'val/loss': 4.5}, name='.')
  table = readers.read(str(tmp_path))
  assert list(table['run']) == ['a', 'a', 'b/late', 'b/late', 'c']
  assert list(table['step']) == [10, 20, 10, 20, 0]
  assert list(table['val/loss']) == [1.25, 3, 2.25, 4, 4.5]
  assert table['tag/step'][0] == 7 and table['wall_time'][0] > 5
  assert list(table[['N', 'kind', 'tied']].loc[4]) == [1e6, 'x', True]
  assert table.attrs['notes'] == ['2 values logged again for the same step: the later one kept']
  assert len(readers.sha256(str(tmp_path))) == 64
  path = events.files_of(str(tmp_path))[0]
  alone = readers.read(path)
  assert list(alone['run']) == ['a', 'a']
  content = contents.raw(path)
  cut = readers.read(put(tmp_path, content[:-3], 'elsewhere'))
  assert len(cut) == 2 and 'end within a record' in ' '.join(cut.attrs['notes'])
  first = content.index(b'val/loss')
  flipped = content[:first] + b'X' + content[first + 1:]
  wrong = readers.read(put(tmp_path, flipped, 'elsewhere'))
  assert '1 records of event files with a wrong checksum: left out' in wrong.attrs['notes']


def test_tensorboard_tensors():
  """Scalars as TensorFlow 2 writes them: a tensor of one number, of any type."""
  def tensor(dtype, content):
    return events._tensor(bytes([8, dtype, 0x22, len(content)]) + content)
  assert tensor(1, struct.pack('<f', 2.5)) == 2.5 and tensor(2, struct.pack('<d', -1)) == -1
  assert tensor(9, struct.pack('<q', -7)) == -7 and tensor(19, struct.pack('<e', 1.5)) == 1.5
  assert tensor(14, struct.pack('<f', 3.0)[2:]) == 3 and tensor(1, bytes(8)) is None
  assert tensor(7, b'text') is None
  assert events._tensor(bytes([8, 3, 0x38, 5])) == 5
  assert events._tensor(bytes([8, 1, 0x2D]) + struct.pack('<f', 4.0)) == 4


def test_weights_and_biases_chart(tmp_path):
  text = ('"Step","big - 1 - loss","big - 1 - loss__MIN","big - 1 - loss__MAX",'
          '"b - loss","b - loss__MIN","b - loss__MAX"\n"1","3","3","3","","",""\n'
          '"2","2","1.5","2.5","4","4","4"\n')
  table = readers.read(put(tmp_path, text))
  assert list(table.columns) == ['run', 'Step', 'loss', 'loss__MIN', 'loss__MAX']
  assert table.to_numpy().tolist() == [['big - 1', 1, 3, 3, 3], ['big - 1', 2, 2, 1.5, 2.5],
                                       ['b', 2, 4, 4, 4]]
  assert '1 steps at which a run has no value left out' in table.attrs['notes'][0]
  assert len(readers.read(put(tmp_path, text), 'csv').columns) == 7


def test_weights_and_biases_runs(tmp_path):
  text = ('Name,State,Created,Runtime,N,loss\na,finished,2024,5,10,3\nb,crashed,2024,5,10,9\n'
          'c,finished,2024,5,20,2\n')
  table = readers.read(put(tmp_path, text))
  assert list(table['Name']) == ['a', 'c'] and '1 crashed left out' in table.attrs['notes'][0]
  assert len(readers.read(put(tmp_path, text), 'csv')) == 3
  with pytest.raises(InputError, match='finished'):
    readers.read(put(tmp_path, text.replace('finished', 'running')))
  with pytest.raises(InputError, match='not an export'):
    readers.read(put(tmp_path, CSV), 'wandb')


PIECES = st.lists(st.sampled_from([
    'N', 'D', 'loss', ',', '\n', ';', '\t', '1e9', '-1', 'nan', '"', '410M', '7b', '1,5', '1,234',
    ' - ', '__MIN', 'Name', 'State', 'ID', 'finished', '{', '}', '[', ']', ':', '"N"', 'null', '{}',
    '\\', '\ufeff', '\x00', '9' * 400, 'é', '\x1f', '1e400', 'true', '"a":1']), max_size=30)
FILES = st.one_of(st.binary(max_size=80), PIECES.map(''.join).map(str.encode),
                  PIECES.map(lambda p: ('N,D,loss\n' + ''.join(p)).encode()),
                  PIECES.map(lambda p: ('{"N": 1}\n' + ''.join(p)).encode('utf-16')))


def attempt(path, form=''):
  """The whole way from a file to a fit; only an InputError of one line may come out."""
  try:
    found = points.of_table(laws.get('chinchilla'), path, form=form)
    assert len(found.loss) >= 1 and all('\n' not in note for note in found.notes)
  except InputError as error:
    assert '\n' not in str(error)


@ANY_FILE
@given(content=FILES, form=st.sampled_from(['', *readers.FORMATS]))
def test_no_file_gives_a_traceback(tmp_path, content, form):
  attempt(put(tmp_path, content), form)


@ANY_FILE
@given(data=st.data(), kind=st.sampled_from(['parquet', 'gzip', 'bzip2', 'xz', 'zip', 'events']))
def test_no_damage_gives_a_traceback(tmp_path, data, kind):
  scalar = b'\x0a\x04loss\x15' + struct.pack('<f', 2.5)
  event = b'\x09' + bytes(8) + b'\x10\x05\x2a' + bytes([len(scalar) + 2, 10, len(scalar)]) + scalar
  content = bytearray(record(event) * 3 if kind == 'events' else CONTENTS[kind])
  for _ in range(data.draw(st.integers(1, 4))):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  attempt(put(tmp_path, bytes(content[:data.draw(st.integers(1, len(content)))])))


@ANY_FILE
@given(message=st.binary(max_size=60))
def test_no_event_gives_a_traceback(tmp_path, message):
  """Any message in records with right checksums."""
  attempt(put(tmp_path, record(message) + record(b'\x2a' + bytes([len(message)]) + message)))


CELLS = st.sampled_from(['1', '2', '1e9', '', 'nan', '-1', '0', 'a', '410M', '7b', '1,5', 'inf'])
NUMBERS = st.sampled_from(['1', '2', '3', '1e9', '410M'])
NAMES = st.sampled_from(['', 'seed', 'window', 'lr', 'N', 'loss', 'x', 'N,lr'])
CONDITIONS = st.sampled_from(['', '', 'loss < 2', 'N > 100M', "lr == 'a'", 'N/D', 'seed',
                              'not lr > 1'])


@ANY_FILE
@given(rows=st.lists(st.lists(CELLS, min_size=6, max_size=6)
                     | st.lists(NUMBERS, min_size=6, max_size=6), min_size=1, max_size=12),
       names=st.tuples(NAMES, NAMES, NAMES, NAMES), log=st.booleans(),
       conditions=st.tuples(CONDITIONS, CONDITIONS, CONDITIONS))
def test_no_choice_of_columns_gives_a_traceback(tmp_path, rows, names, log, conditions):
  path = put(tmp_path, 'N;D;loss;lr;seed;window\n' + '\n'.join(map(';'.join, rows)))
  where, hold_out, weight = conditions
  try:
    found = points.of_table(laws.get('chinchilla'), path, '', where, names[3], hold_out, weight,
                            options=Options(*names[:3], log))
    assert len(found.loss) == len(found.groups) == len(found.inputs['N'])
  except InputError as error:
    assert '\n' not in str(error)
