"""The benchmarks' figures: the README shows what the results say, and a step's operations are counted right."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from depict_jax.architecture import Architecture, Convolution
from depict_jax.networks import Depict
from depict_jax.training import Loss, fresh_state, train_step
from experiments.benchmarks import record, step, stock

PROJECT = Path(__file__).resolve().parents[1]


def test_the_readme_shows_the_results():
    readme = (PROJECT / "README.md").read_text()
    assert readme == record.renewed(readme, record.markdown(record.results()))


def test_a_page_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="no place for the table"):
        record.renewed("nothing", "table")
    begin, end = record.MARKS
    assert record.renewed(f"a\n{begin}\nold\n{end}\nb", "new") == f"a\n{begin}\nnew\n{end}\nb"


def test_results_carry_command_and_provenance():
    for path in (PROJECT / "experiments/benchmarks/results").glob("*.json"):
        result = json.loads(path.read_text())
        assert result["command"] == f"make bench-{path.stem}"
        assert f"\n{result['command'].split()[1]}:" in (PROJECT / "Makefile").read_text()
        assert {"commit", "date", "processor", "cores", "python", "versions"} <= result["provenance"].keys()


def test_operations_of_a_step_are_those_of_the_stock_convolutions():
    """XLA's own count of a compiled step adds what is done element by element (and leaves padding out: none here)."""
    layers = (Convolution(20, (4, 4), (2, 2)), Convolution(20, (3, 3), (2, 2)))
    model = Depict(Architecture((16, 16, 1), layers, 10, (0.0, 0.0, 0.0)))
    batch = np.zeros((4, 16, 16, 1), np.float32), np.full((4, 10), 0.1, np.float32), np.ones(4, np.float32)
    with stock.in_place_of_ours():
        state = fresh_state(jax.eval_shape(model.init, jax.random.key(0), batch[0]))
        lowered = jax.jit(train_step, static_argnums=(0, 1)).lower(
            model, Loss((1.0, 0.1, 0.1), 1.0), state, *batch, 1e-4, jax.random.key(0)
        )
    counted = lowered.compile().cost_analysis()["flops"]
    assert 0.9 < step.step_operations(model.architecture, 4) / counted < 1.0
