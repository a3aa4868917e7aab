"""The tables behind the means say what the summary says, and nothing where it says nothing."""

import copy

import comparisons
import pytest

from dljax.comparison import details
from dljax.comparison.markdown import markdown
from dljax.comparison.page import page

digits = pytest.fixture(comparisons.digits, scope="module")


def cells(summary, heading, header):
    columns, _ = details.tables(summary)[heading]
    (found,) = (column.cells for column in columns if column.header == header)
    return found


def test_a_rate_that_diverges_bounds_those_that_are_stable(digits):
    stable = cells(digits.summary, "Tuning", "stable\nup to")
    diverges = cells(digits.summary, "Tuning", "diverges\nfrom")
    sgd, adam = 0, 6
    assert float(stable[sgd]) < float(diverges[sgd])
    assert (stable[adam], diverges[adam]) == ("10", "—")


def test_a_good_region_that_the_grid_does_not_enclose_has_an_arrow(digits):
    assert digits.summary["optimizers"][3]["sensitivity"]["basin"]["open"] == "high"
    assert cells(digits.summary, "Tuning", "to")[3].endswith("▸")
    assert not cells(digits.summary, "Tuning", "from")[3].startswith("◂")


def test_a_median_that_is_never_reached_lies_beyond_the_last_step(digits):
    summary = copy.deepcopy(digits.summary)
    missed = {"median": None, "median_interval": [300.0, None], "hits": 3}
    summary["optimizers"][0]["steps_to_target"] |= missed
    assert cells(summary, "Time to the target", "median step")[0] == "> 600 [300, > 600]"


def test_operations_are_told_where_they_differ_and_curvature_where_it_was_measured(digits):
    assert {"Operations of a step", "Curvature along training"}.isdisjoint(
        details.tables(digits.summary)
    )
    summary = copy.deepcopy(digits.summary)
    for number, entry in enumerate(summary["optimizers"]):
        entry["operations_per_step"] = {"gradients": 1.0, "products": 2.0 * number}
        curved = {"top": [4.0, 5.0], "trace": [9.0, 9.0], "edge": [0.5, 0.4]}
        entry["curvature"] = {**curved, "rate_over_edge": None}
    assert cells(summary, "Operations of a step", "products")[:2] == ["0", "2"]
    assert cells(summary, "Curvature along training", "edge")[0] == "0.5 → 0.4"
    for text in (markdown(summary, []), page(summary, {})):
        assert "Curvature along training" in text


def test_an_older_summary_has_no_details(digits):
    old = copy.deepcopy(comparisons.older(digits).summary)
    for entry in old["optimizers"]:
        for name in ("sensitivity", "curvature", "operations_per_step"):
            entry.pop(name, None)
        for name in ("median_interval", "hit_rate"):
            entry["steps_to_target"].pop(name, None)
    assert details.tables(old) == {}
