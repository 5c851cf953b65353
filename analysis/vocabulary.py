"""The vocabulary a model should have: the three approaches of Tao et al. 2024 (arXiv 2407.13623).

On a study of one's own (`of_runs`, `study_of`), for two metrics that choose differently, and as the
paper does them on its table (`study`). The entry point `python -m analysis.vocabulary` has its
flags in analysis/commands/vocabulary.py; docs/vocabulary.md describes what it writes.
"""

from __future__ import annotations

from analysis.vocabularies.paper import study
from analysis.vocabularies.runs import METRICS, Runs, of_table
from analysis.vocabularies.saved import load, predict
from analysis.vocabularies.study import of as study_of

__all__ = ['METRICS', 'Runs', 'load', 'of_table', 'predict', 'study', 'study_of']

if __name__ == '__main__':
  from analysis.commands import vocabulary as vocabulary_command
  vocabulary_command.start()
