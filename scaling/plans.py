"""What a study costs before it is trained: runs, shapes, tokens, FLOPs and, where known, time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scaling import accounting, files, prefixes, programs, progress, study, tuning
from scaling.prefixes import Segment
from scaling.runs import Run
from scaling.specs import RunSpec
from scaling.train.shape import Shape, hyper


def summarize(planned: study.Study, forest: Mapping[str, Segment], todo: Mapping[str, Segment],
              workdir: str, calibrate: bool = False, lanes: int | None = None) -> dict[str, Any]:
  """Rows for every shape of the study, and totals over what is still to train.

  `tokens_alone` is what the runs see, `tokens` what is trained for it: a shared prefix counts once.

  Seconds come from the speeds recorded in this workdir, or from a few timed steps with `calibrate`;
  None where neither is known.
  """
  shapes: dict[Shape, list[study.StudyRun]] = {}
  for r in planned.runs:
    shapes.setdefault(Shape.of(r.spec), []).append(r)
  left: dict[Shape, int] = {}
  for segment in todo.values():
    shape = Shape.of(segment.spec)
    left[shape] = left.get(shape, 0) + segment.tokens
  whole: dict[Shape, int] = {}
  for segment in forest.values():
    shape = Shape.of(segment.spec)
    whole[shape] = whole.get(shape, 0) + segment.tokens
  rows = []
  for shape, members in shapes.items():
    speed = recorded_speed(workdir, (r.run_id for r in members))
    if speed is None and calibrate and shape in left:
      speed = measured_speed(shape, [r.spec for r in members], lanes)
    remaining = left.get(shape, 0)
    rows.append({
        'V': shape.vocab_size,
        'linear': 'sparse' if shape.sparse else shape.model.linear,
        'layers': shape.model.layers, 'width': shape.model.width, 'heads': shape.model.heads,
        'N': accounting.parameters(shape.model, shape.vocab_size),
        'N_nonembedding': accounting.non_embedding(shape.model), 'B': shape.batch * shape.length,
        'steps': [min(r.spec.steps for r in members), max(r.spec.steps for r in members)],
        'runs': len(members), 'tokens': whole[shape],
        'tokens_alone': sum(r.spec.tokens for r in members),
        'tokens_left': remaining,
        'flops_left': remaining * accounting.counted_flops(
            shape.model, shape.vocab_size, shape.length),
        'tokens_per_second': speed,
        'seconds': remaining / speed if speed else (0.0 if not remaining else None)})
  known = [row['seconds'] for row in rows]
  return {
      'study': planned.name, 'runs': len(planned.runs),
      'runs_left': sum(not segment.shared for segment in todo.values()),
      'prefixes': sum(segment.shared for segment in forest.values()),
      'lineages': len({prefixes.lineage(forest, r.run_id) for r in planned.runs}),
      'fractional_warmup': prefixes.forbidden([(r.run_id, r.spec) for r in planned.runs]),
      'held_out': sum(r.held_out for r in planned.runs), 'shapes': rows,
      'tokens': sum(row['tokens'] for row in rows),
      'tokens_alone': sum(row['tokens_alone'] for row in rows),
      'tokens_left': sum(row['tokens_left'] for row in rows),
      'flops_left': sum(row['flops_left'] for row in rows),
      'seconds': sum(known) if None not in known else None}


def recorded_speed(workdir: str, run_ids: Iterable[str]) -> float | None:
  """Tokens/s of a shape's packs so far, evaluation and checkpoints included, compilation not."""
  if not files.exists(f'{workdir}/runs'):
    return None
  tokens = seconds = 0.0
  for run_id in run_ids:
    try:
      lines = files.read_text(Run(workdir, run_id).path('timing.jsonl')).splitlines()
    except (OSError, ValueError):
      continue
    for line in lines:
      try:
        entry = json.loads(line)
        here = sum(value for name, value in entry['seconds'].items() if name != 'compile')
        tokens += entry['tokens']
        seconds += here
      except (ValueError, KeyError, TypeError, AttributeError):
        continue
  return tokens / seconds if seconds else None


def measured_speed(shape: Shape, members: Sequence[RunSpec], lanes: int | None) -> float:
  """Tokens/s of a few dispatches on made-up tokens, compilation left out."""
  program = programs.build(shape, programs.choose(shape, len(members), lanes))
  program.compile()
  seconds = tuning.step_seconds(program, hyper(members[0]))
  return program.lanes * shape.batch * shape.length / seconds


def text(summary: dict[str, Any]) -> str:
  """The summary as a table for a terminal."""
  lines = [f'{summary["study"]}: {summary["runs"]} runs ({summary["held_out"]} held out), '
           f'{summary["runs_left"]} to train', '',
           f'{"layers":>6} {"width":>6} {"N":>13} {"N non-emb.":>13} {"V":>7} {"tokens/step":>11} '
           f'{"steps":>15} {"runs":>5} {"tokens left":>14} {"FLOPs left":>11} {"tokens/s":>11} '
           f'{"time":>8}']
  for row in summary['shapes']:
    speed = f'{row["tokens_per_second"]:,.0f}' if row['tokens_per_second'] else '?'
    seconds = '?' if row['seconds'] is None else progress.clock(row['seconds'])
    lines.append(f'{row["layers"]:>6} {row["width"]:>6} {row["N"]:>13,} '
                 f'{row["N_nonembedding"]:>13,} {row["V"]:>7,} {row["B"]:>11,} '
                 f'{"-".join(map(str, sorted(set(row["steps"])))):>15} {row["runs"]:>5} '
                 f'{row["tokens_left"]:>14,} {row["flops_left"]:>11.3g} {speed:>11} {seconds:>8}'
                 + (f'  {row["linear"]}' if row['linear'] != 'dense' else ''))
  estimate = ('time unknown: no speeds recorded in this workdir yet; --calibrate measures them'
              if summary['seconds'] is None else f'about {progress.clock(summary["seconds"])}')
  if summary['prefixes']:
    saved = 1 - summary['tokens'] / summary['tokens_alone']
    lines += ['', f'{summary["prefixes"]} shared prefixes: {summary["tokens"]:,} tokens in place '
              f'of {summary["tokens_alone"]:,} ({saved:.0%} less), in {summary["lineages"]} '
              'independent lineages']
  if summary['fractional_warmup']:
    lines += ['', f'{summary["fractional_warmup"]} runs differ in length alone but count their '
              'warm-up as a fraction of it (optim.warmup_fraction), so they share nothing']
  lines += ['', f'to train: {summary["tokens_left"]:,} tokens, {summary["flops_left"]:.3g} FLOPs, '
            + estimate]
  return '\n'.join(lines)
