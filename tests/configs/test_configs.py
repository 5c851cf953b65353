"""What the named configs promise."""

from __future__ import annotations

import pytest

from configs import dcpt, markov, quickstart, sparse, tiny, vocabulary
from scaling import accounting, prefixes, pruning, stages, study
from scaling.errors import InputError
from tests.configs.golden import endless as stores


def test_quickstart_is_a_grid_and_a_larger_run():
  built = study.build(quickstart.get_config(), {}, stores)
  grid = [run.spec for run in built.runs if not run.held_out]
  held = [run.spec for run in built.runs if run.held_out]
  assert len(grid) >= 12 and len(held) == 1
  shapes = {spec.model for spec in grid}
  assert len(shapes) >= 4 and len({spec.tokens for spec in grid}) >= 3
  assert min(spec.steps for spec in grid) >= 800
  assert (accounting.non_embedding(held[0].model)
          > max(accounting.non_embedding(spec.model) for spec in grid))
  assert held[0].tokens > max(spec.tokens for spec in grid)
  assert built.laws == ('chinchilla',)


def test_quickstart_trains_every_size_on_every_budget():
  built = study.build(quickstart.get_config(), {}, stores)
  cells = {(run.spec.model, run.spec.tokens) for run in built.runs if not run.held_out}
  assert len(cells) == len({cell[0] for cell in cells}) * len({cell[1] for cell in cells})


def test_tiny_is_one_shape_and_few_tokens():
  runs = study.build(tiny.get_config(), {}, stores).runs
  assert len(runs) == 4
  assert len({run.spec.model for run in runs}) == 1
  assert max(run.spec.tokens for run in runs) < 10_000


def test_markov_takes_a_scale():
  assert study.build(markov.get_config('tiny'), {}, stores).name == 'markov-tiny'
  with pytest.raises(InputError, match="scale: 'huge' is not allowed; allowed are full, tiny"):
    markov.get_config('huge')


def test_dcpt_has_a_base_a_size_and_every_ratio_in_both_domains():
  built = study.build(dcpt.get_config(), {}, stores)
  bases = [run for run in built.runs if run.stage == -1]
  points = [run.spec for run in built.runs if run.stage == 0]
  assert len({run.spec.model for run in bases}) == len(bases) >= 3
  assert {spec.init.run for spec in points} == {run.run_id for run in bases}
  mixtures = 1  # The two domains share the runs with nothing but docstrings.
  for domain in ('python_code', 'cpp_code'):
    shares = {spec.data.domains[domain].weight for spec in points}
    assert len(shares) >= 7 and {0.0, 1.0} <= shares
    mixtures += len(shares) - 1
  budgets = len({spec.steps for spec in points})
  assert len(points) == len(bases) * budgets * mixtures
  forest = prefixes.forest((run.run_id, run.spec) for run in built.runs)
  trained = sum(segment.tokens for segment in forest.values())
  assert trained < 0.62 * prefixes.tokens_alone((run.run_id, run.spec) for run in built.runs)
  assert len({prefixes.lineage(forest, run.run_id) for run in built.runs}) == len(bases)


def test_large_dcpt_has_the_papers_grid():
  """Que et al. 2024 (arXiv 2406.01375), section 4.1: sizes, ratios and evaluations of a run."""
  built = study.build(dcpt.get_config('large'), {}, stores)
  bases = [run for run in built.runs if run.stage == -1]
  points = [run.spec for run in built.runs if run.stage == 0]
  assert len({run.spec.model for run in bases}) == len(bases) == 3
  assert {spec.init.run for spec in points} == {run.run_id for run in bases}
  shares = {spec.data.domains['domain'].weight for spec in points}
  assert sorted(shares) == [0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0]
  for spec in points:
    assert sum(d.weight for d in spec.data.domains.values()) == pytest.approx(1)
  assert len(points) % (len(bases) * len(shares)) == 0
  assert {len(spec.eval_steps) for spec in points} == {20}


def test_dcpt_is_proved_at_the_ratio_given():
  built = study.build(dcpt.get_config('limited=0.5'), {}, stores)
  points = [run.spec for run in built.runs if run.stage == 0]
  assert len(points) == 15 and sum(run.stage == -1 for run in built.runs) == 3
  for spec in points:
    drawn = spec.tokens * spec.data.domains['python_code'].weight
    assert abs(drawn / dcpt.PROOF_DOMAIN_TOKENS - 1) < 0.01
  grid = study.build(dcpt.get_config(), {}, stores).runs
  assert not {run.run_id for run in built.runs} & {run.run_id for run in grid}  # new seeds
  ratios = [run.spec.data.domains['python_code'].weight
            for run in study.build(dcpt.get_config('trade_off=0.95'), {}, stores).runs
            if run.stage == 0 and run.spec.seed == 1]
  assert ratios == [0.0, 0.75, 0.85, 0.95, 0.975, 1.0]
  for wrong in ('trade_off', 'limited=2', 'limited=x', 'cpu=1', 'huge'):
    with pytest.raises(InputError, match='is not allowed'):
      dcpt.get_config(wrong)


def test_vocabularies_by_sizes_by_characters_share_their_trunks():
  runs = [run.spec for run in study.build(vocabulary.get_config(), {}, stores).runs]
  vocabularies = {spec.data.vocab_size for spec in runs}
  shapes, lengths = {spec.model for spec in runs}, {spec.steps for spec in runs}
  assert len(vocabularies) >= 6 and len(shapes) >= 3 and len(lengths) >= 3
  assert len(runs) == len(vocabularies) * len(shapes) * len(lengths)
  forest = prefixes.forest((str(i), spec) for i, spec in enumerate(runs))
  trained = sum(segment.tokens for segment in forest.values())
  assert trained < 0.65 * sum(spec.tokens for spec in runs)
  proof = [run.spec for run in study.build(vocabulary.get_config('proof=900'), {}, stores).runs]
  assert {spec.data.vocab_size for spec in proof} == {450, 900, 1800} and len(proof) == 9
  assert not {spec.seed for spec in proof} & {spec.seed for spec in runs}
  assert {spec.steps for spec in proof}.isdisjoint(lengths) and proof[0].model in shapes
  for spec in proof:  # To within half a step.
    cost = 6 * accounting.parameters(spec.model, spec.data.vocab_size) * spec.tokens
    assert cost == pytest.approx(vocabulary.PROOF_FLOPS, rel=3e-4)
    assert spec.data.block_characters == runs[0].data.block_characters
  large = [run.spec for run in study.build(vocabulary.get_config('large'), {}, stores).runs]
  assert len(large) == 60 and {spec.data.tokens_per_step for spec in large} == {512 * 2048}
  assert {spec.optim.peak_lr for spec in large} == {4e-4}
  for wrong in ('proof', 'proof=x', 'proof=100', 'huge'):
    with pytest.raises(InputError, match='is not allowed'):
      vocabulary.get_config(wrong)


def flops(spec):
  counts = pruning.counts(spec.sparsity, spec.model, spec.steps)
  N = accounting.parameters(spec.model, spec.data.vocab_size) - counts.whole
  return 6 * spec.data.tokens_per_step * (spec.steps * N + counts.total(spec.steps))


def test_sparse_has_dense_runs_and_pruned_ones_at_every_duration():
  runs = study.build(sparse.get_config(), {}, stores).runs
  budgets = {run.spec.tokens for run in runs if run.spec.sparsity.schedule == 'geometric'
             and run.spec.sparsity.sparsity}
  assert len(budgets) == 2
  for tokens in budgets:
    here = [run.spec for run in runs if run.spec.tokens == tokens]
    dense = {spec.model for spec in here if spec.sparsity.dense and spec.model.linear == 'dense'}
    ramps = [spec for spec in here if spec.sparsity.sparsity and (
        spec.sparsity.start, spec.sparsity.end) == (0.25, 0.75)]
    starts = {spec.model for spec in ramps}
    assert len(dense) >= 4 and len(starts) >= 2 and starts <= dense
    for start in starts:
      assert {spec.sparsity.sparsity for spec in ramps if spec.model == start} >= set(sparse.LEVELS)
    counts = [pruning.counts(spec.sparsity, spec.model, spec.steps) for spec in ramps]
    pairs = [abs(accounting.non_embedding(other) / (
        accounting.non_embedding(spec.model) - of.whole + of.total(spec.steps) / spec.steps) - 1)
        for spec, of in zip(ramps, counts, strict=True) for other in dense]
    assert sum(gap < 0.01 for gap in pairs) >= len(sparse.LEVELS)
    low, both = (next(spec.model for spec in here if spec.model.linear == linear)
                 for linear in ('low_rank', 'sltrain'))
    assert abs(accounting.non_embedding(low) / accounting.non_embedding(both) - 1) < 0.01
  parent, child = study.build(sparse.get_config('spdf'), {}, stores).runs
  assert parent.spec.sparsity.schedule == 'constant' and child.spec.sparsity.dense
  assert child.spec.init.run == parent.run_id
  assert parent.spec.tokens + child.spec.tokens == 3_276_800
  cost = stages.before(child.spec, {parent.run_id: parent.spec}).flops + flops(child.spec)
  model = parent.spec.model
  equal = [run.spec.sparsity.schedule == 'constant' for run in runs if run.spec.model == model
           and flops(run.spec) == pytest.approx(cost, rel=1e-3)]
  assert sorted(equal) == [False, True]  # dense, and sparse all the way
  evidence = study.build(sparse.get_config('evidence'), {}, stores).runs
  assert {run.run_id for run in runs} < {run.run_id for run in evidence}
  with pytest.raises(InputError, match=r'scale: .huge. is not allowed'):
    sparse.get_config('huge')
