"""A user's CSV: columns by expression, rows by condition, and every way it can be wrong."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import fit, laws
from analysis.reading import points
from scaling.errors import InputError

CHINCHILLA = laws.get('chinchilla')
ROWS = 'params, train FLOP,val_loss,run\n' + ''.join(
    f'{n},{6 * n * d},{1.8 + 480 * n**-.35 + 2100 * d**-.37},{n}\n'
    for n in (10**8, 3 * 10**8, 10**9) for d in (10**9, 10**10, 10**11))
COLUMNS = 'N=params,D=`train FLOP`/(6*params),loss=val_loss'


def read(tmp_path, text, columns=COLUMNS, where='', group='', name='runs.csv'):
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return points.of_table(CHINCHILLA, str(path), columns, where, group)


def test_columns_where_and_group(tmp_path):
  found = read(tmp_path, ROWS, where='params > 1e8', group='run')
  assert len(found.loss) == 6 and list(np.unique(found.groups)) == ['1000000000', '300000000']
  np.testing.assert_allclose(np.unique(found.inputs['D'].round()), [1e9, 1e10, 1e11])
  assert found.columns['D'] == '`train FLOP`/(6*params)' and len(found.data['sha256']) == 64
  packed = read(tmp_path, gzip.compress(ROWS.encode()), name='runs.csv.gz')
  assert len(packed.loss) == 9
  lines = '{"N": 1e8, "D": 1e9, "loss": 3}\n{"N": 1e9, "D": 1e9, "loss": null}\n'
  assert np.isnan(read(tmp_path, lines, '', name='runs.jsonl').loss[1])


def test_columns_of_the_inputs_own_names_need_no_flag(tmp_path):
  assert len(read(tmp_path, 'N,D,loss\n1,2,3\n', columns='').loss) == 1


def test_empty_cells_are_dropped_and_counted(tmp_path):
  found = read(tmp_path, ROWS + '1e9,,3.0,5\n1e9,6e18,nan,5\n')
  made = fit.fit(CHINCHILLA, found.inputs, found.loss, bootstrap=0)
  assert made.dropped == {'D missing': 1, 'loss missing': 1}
  assert made.params['alpha'] == pytest.approx(0.35, rel=1e-3)


@pytest.mark.parametrize('text, options, said', [
    ('', {}, 'is empty'), ('N,D,loss\n', {}, 'no rows'), (b'\xff\xfe\x00\x01', {}, 'no rows'),
    (ROWS, {'columns': ''}, "--columns='N=params'"), (ROWS, {'columns': 'N=size'}, 'no such'),
    (ROWS, {'columns': 'N=missing,D=params,loss=val_loss'}, "'missing'"),
    (ROWS, {'columns': COLUMNS + ',X=params'}, 'takes N, D, loss'),
    (ROWS, {'columns': 'N'}, 'input=expression'), (ROWS, {'columns': 'N=params,N=params'}, 'twice'),
    (ROWS, {'where': 'val_loss'}, 'not a condition'), (ROWS, {'where': 'val_loss < 0'}, 'none of'),
    (ROWS, {'where': 'val_loss <'}, 'expression'), (ROWS, {'group': 'cluster'}, 'the columns are'),
    ('N,D,loss\n1,2,3,4\n', {}, 'more cells'),
    (ROWS + 'many,1,2,3\n', {}, "'many'"), ('a,b\n1,2\n"', {}, 'cannot be read|column')])
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, options, said):
  with pytest.raises(InputError, match=said) as error:
    read(tmp_path, text, **options)
  assert '\n' not in str(error.value)


def test_missing_files(tmp_path):
  for path in (tmp_path / 'none.csv', tmp_path):
    with pytest.raises(InputError):
      points.of_table(CHINCHILLA, str(path), '', '', '')


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(
    ['N', 'D', 'loss', ',', '\n', '1e9', '-1', '0', 'nan', '', '"', "'", '1e999', 'x', ';', '\t',
     '\x00', '1,000', 'True', '2024-01-01', '0x10']), max_size=30).map(
         lambda p: 'N,D,loss\n' + ''.join(p)).map(str.encode)))
def test_no_file_gives_a_traceback(tmp_path, text):
  try:
    found = read(tmp_path, text, columns='')
    assert len(found.loss) >= 1
    if len(found.loss) < 5:
      fit.fit(CHINCHILLA, found.inputs, found.loss, bootstrap=0)
  except InputError as error:
    assert '\n' not in str(error)
