"""From anyone's files to the rows of a fit: formats, cells, expressions, runs."""
