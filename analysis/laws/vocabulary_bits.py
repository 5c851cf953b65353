"""bits(N_nv, N_v, H) = E + A1 / N_nv^alpha1 + A2 / N_v^alpha2 + B / H^beta: the vocabulary law for
bits per byte, after approach 3 of Tao et al. 2024 (arXiv 2407.13623).

The paper's form is for the unigram-normalised loss, which is negative and counted per token. Bits
per byte are positive, so E is a floor and the residuals are logarithms; and they are counted per
byte of the text, whatever it is cut into, so what lowers them is the text read, H characters, and
not its number of tokens: the same text under a smaller vocabulary is more tokens and no more to
learn from. N_nv, N_v = V d and the units are those of analysis/laws/vocabulary.py. The vocabulary
of least bits at C FLOPs has H = C / (6 (N_nv + V d) f(V)).
"""

from __future__ import annotations

from typing import Any

from analysis.laws.law import Law, Parameter, Values


def equation(p: Values, x: Values) -> Any:
  """Bits per byte, of the inputs' shape."""
  return (p['E'] + p['A1'] * x['N_nv'] ** -p['alpha1'] + p['A2'] * x['N_v'] ** -p['alpha2']
          + p['B'] * x['H'] ** -p['beta'])


LAW = Law(
    name='vocabulary_bits',
    formula='bits per byte = E + A1 / N_nv^alpha1 + A2 / N_v^alpha2 + B / H^beta',
    source='after Tao et al. 2024, arXiv 2407.13623, approach 3, for a loss per byte',
    inputs=('N_nv', 'N_v', 'H'),
    parameters=(
        Parameter('E', start=(0.3, 0.7), units=(('loss', 1.0),)),
        Parameter('A1', start=(0.1, 0.3), units=(('loss', 1.0), ('N_nv', 'alpha1'))),
        Parameter('A2', start=(0.03, 0.2), units=(('loss', 1.0), ('N_v', 'alpha2'))),
        Parameter('B', start=(0.1, 0.3), units=(('loss', 1.0), ('H', 'beta'))),
        Parameter('alpha1', start=(0.3, 0.7), bounds=(0.0, 3.0), scale='linear'),
        Parameter('alpha2', start=(0.3, 0.7, 1.2), bounds=(0.0, 3.0), scale='linear'),
        Parameter('beta', start=(0.3, 0.7), bounds=(0.0, 3.0), scale='linear'),
    ),
    equation=equation,
    columns=(('N_nv', 'N_nonembedding'),),
    output='bits_per_byte',
    linear=('E', 'A1', 'A2', 'B'),
)
