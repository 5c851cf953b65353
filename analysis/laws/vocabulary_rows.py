"""The vocabulary laws with the vocabulary as such, and fewer effective data for a larger one:

  L_u = -E + A1 / N_nv^alpha1 + A2 / V^alpha2 + B / D_eff^beta      D_eff = D (V / 1000)^-kappa
  bits per byte, the same with E and H_eff = H (V / 1000)^-kappa

The paper's form (Tao et al. 2024, arXiv 2407.13623; laws/vocabulary.py) has N_v = V d and D. Small
models on short texts differ: entries are seen a few times only and their rows stay untrained, so
that data count as tokens per entry (kappa = 1); and what a longer vocabulary says in a token does
not depend on the width. On 20 runs of docstrings at 0.8M and 2.4M characters, widths 16 and 32, V
from 128 to 2,048, the paper's form reaches R^2 .86 with beta at its bound, this one .97 with kappa
1.08.
"""

from __future__ import annotations

from analysis.laws import combine, vocabulary, vocabulary_bits
from analysis.laws.law import Parameter

KAPPA = Parameter('kappa', start=(0.1, 1.0), bounds=(0.0, 4.0), scale='linear')
SOURCE = 'Tao et al. 2024, arXiv 2407.13623, approach 3, with effective data'

LAW = combine.of_inputs(
    vocabulary.LAW, 'vocabulary_rows', ('N_nv', 'V', 'D'),
    lambda p, x: {'N_nv': x['N_nv'], 'N_v': x['V'], 'D': x['D'] * (x['V'] / 1000) ** -p['kappa']},
    (KAPPA,), {'N_v': 'V'}, columns=(('N_nv', 'N_nonembedding'),), source=SOURCE,
    formula='L_u = -E + A1 / N_nv^alpha1 + A2 / V^alpha2 + B (V/1000)^(kappa beta) / D^beta')
BITS = combine.of_inputs(
    vocabulary_bits.LAW, 'vocabulary_bits_rows', ('N_nv', 'V', 'H'),
    lambda p, x: {'N_nv': x['N_nv'], 'N_v': x['V'], 'H': x['H'] * (x['V'] / 1000) ** -p['kappa']},
    (KAPPA,), {'N_v': 'V'}, columns=(('N_nv', 'N_nonembedding'),), source=SOURCE,
    formula='bits per byte = E + A1 / N_nv^alpha1 + A2 / V^alpha2 + B (V/1000)^(kappa beta) / '
            'H^beta')
LAWS = (LAW, BITS)
