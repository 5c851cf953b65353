"""Parts of `python -m analysis.sparse`: runs, joint fits, differences, pairs, techniques."""
