"""The table of a report is complete, readable at 80 columns, and flatters nobody."""

import io

import comparisons
import pytest
from rich.console import Console

from dljax.comparison import report, wording
from dljax.comparison.latex import latex
from dljax.comparison.method import method

digits = pytest.fixture(comparisons.digits, scope="module")


def printed(summary, width=80):
    """What a terminal of `width` columns shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(report.table(summary))
    return console.file.getvalue()


def told(summary):
    """The same on one line, as a caption breaks where the table ends."""
    return " ".join(printed(summary).split())


def row_of(summary, name):
    return next(line for line in printed(summary).splitlines() if line.startswith(name)).split()


def changed(summary, index, **entry):
    """The summary with another entry of one optimizer."""
    entries = list(summary["optimizers"])
    entries[index] = {**entries[index], **entry}
    return {**summary, "optimizers": entries}


def test_the_table_fits_80_columns_and_shows_every_number(digits):
    text = printed(digits.summary)
    assert max(map(len, text.splitlines())) <= 80
    for column in wording.columns(digits.summary):
        for entry, cell in zip(digits.summary["optimizers"], column.cells, strict=True):
            line = next(line for line in text.splitlines() if line.startswith(entry["name"]))
            assert cell in line


def test_the_table_gives_the_mean_and_half_of_its_interval(digits):
    entry = digits.summary["optimizers"][0]
    accuracy, loss = entry["test"]["accuracy"], entry["test"]["loss"]
    row = " ".join(row_of(digits.summary, "sgd"))
    assert (
        f"{100 * accuracy['mean']:.2f} ± {100 * (accuracy['high'] - accuracy['mean']):.2f}" in row
    )
    assert f"{loss['mean']:.4f} ± {loss['high'] - loss['mean']:.4f}" in row


def test_an_optimizer_that_diverged_has_a_count_and_no_mean(digits):
    entry = digits.summary["optimizers"][5]
    assert entry["test"]["accuracy"]["mean"] is None
    row = row_of(digits.summary, "rmsprop")
    assert row.count("—") == 2
    assert row[-1] == "2/10"
    assert "a mean of the others would flatter" in told(digits.summary)


def test_a_value_on_the_edge_of_the_grid_is_marked_and_explained(digits):
    assert digits.summary["optimizers"][3]["edge"] == "high"
    assert "10 ▸" in printed(digits.summary)
    assert "◂ 10" in printed(changed(digits.summary, 3, edge="low"))
    assert "extend the grid" in told(digits.summary)
    assert "edge" not in printed(changed(digits.summary, 3, edge=""))


def test_a_target_that_most_runs_miss_has_no_median_step(digits):
    missed = {"median": None, "hits": 3, "num_runs": 10}
    assert "> 600 (3/10)" in printed(changed(digits.summary, 0, steps_to_target=missed))
    assert "240 (10/10)" in printed(digits.summary)


def test_the_caption_says_what_was_compared_where_and_with_which_evidence(digits):
    text = told(digits.summary)
    for expected in (
        "1,079 train, 359 valid, 359 test rows; 26,122 parameters; 600 steps",
        "validation accuracy ≥ 95 %",
        "It covers initial weights and batch order; the split of the data is fixed.",
        "Evidence: confirmatory: question, seeds and settings were declared "
        "(9a8b7c6d5e4f, 2026-01-02T03:04:05+00:00) before the first run.",
        "protocol dljax-1, fingerprint 0f1e2d3c4b5a, declaration 9a8b7c6d5e4f",
        "dljax 0.1.0, jax 0.10.2, jaxlib 0.10.2, Python 3.11.7; 1 device: cpu, 2 programs at once",
    ):
        assert expected in text


def test_a_problem_without_accuracy_or_target_has_no_such_column():
    summary = comparisons.rosenbrock().summary
    assert "steps to\ntarget" in [column.header for column in wording.columns(summary)]
    summary = {**summary, "problem": {**summary["problem"], "target": None}}
    headers = [column.header for column in wording.columns(summary)]
    assert headers == ["optimizer", "tuned\nvalue", "test\nloss", "diverged"]
    assert "±" in printed(summary)


def test_a_summary_of_schema_1_is_printed_without_claims(digits):
    summary = comparisons.older(digits).summary
    text = told(summary)
    assert "Evidence: exploratory: no claim was declared before the runs" in text
    assert "claim " not in text.replace("no claim was", "")
    assert "We compared sgd" in method(summary)
    assert "adjusted" not in latex(summary)


def test_results_of_others_are_printed_with_what_is_known_of_them(digits):
    unknown = {"target": None, "num_rows": None, "num_parameters": None}
    settings = {"num_steps": 600, "evaluation_seeds": list(range(10)), "tuning_seeds": []}
    entries = [
        {**e, "argument": [], "value": [], "edge": "", "steps_to_target": None}
        for e in digits.summary["optimizers"]
    ]
    summary = {
        **comparisons.older(digits).summary,
        "problem": {**digits.summary["problem"], **unknown},
        "settings": settings,
        "optimizers": entries,
        "environment": None,
        "seconds": {},
        "source": "runs.csv",
    }
    assert "Read from runs.csv." in told(summary)
    assert "It covers what differs from run to run." in told(summary)
    assert "digits-mlp" in report.page(summary, {})
    assert "after 600 steps" in method(summary)
    assert r"\toprule" in latex(summary)


def test_one_run_and_no_tuning_are_said(digits):
    settings = {**digits.summary["settings"], "evaluation_seeds": [3]}
    entries = [{**entry, "argument": [], "value": []} for entry in digits.summary["optimizers"]]
    text = told({**digits.summary, "settings": settings, "optimizers": entries})
    assert "Nothing was tuned; evaluated on the seeds 3." in text
    assert "One evaluation run: there is no interval." in text


def test_several_tuned_arguments_are_named(digits):
    tuned = {"argument": ["learning_rate", "beta"], "value": [0.1, 0.9]}
    assert "learning_rate 0.1, beta 0.9" in printed(changed(digits.summary, 0, **tuned), 120)


@pytest.mark.parametrize(
    ("mean", "half", "cell"),
    [
        (0.1234, 0.0067, "0.1234 ± 0.0067"),
        (12.5, 3.0, "12.50 ± 3.00"),
        (3.21e-12, 4.6e-13, "3.2e-12 ± 5e-13"),
        (1.5e7, 2e5, "1.5e+07 ± 2e+05"),
        (0.0, 0.0, "0 ± 0"),
        (0.5, 0.3, "0.50 ± 0.30"),
        (0.5, None, "0.5000"),
    ],
)
def test_means_are_rounded_to_what_their_interval_supports(digits, mean, half, cell):
    low, high = (None, None) if half is None else (mean - half, mean + half)
    stats = {"mean": mean, "low": low, "high": high, "num_runs": 10}
    summary = {**digits.summary, "optimizers": digits.summary["optimizers"][:1]}
    column = wording.columns(changed(summary, 0, test={"loss": stats}))[2]
    assert column.cells == [cell]


def test_a_name_is_never_read_as_markup(digits):
    summary = changed(digits.summary, 0, name="[red]<b>")
    assert "[red]<b>" in printed(summary)
    assert "&lt;b&gt;" in report.page(summary, {})


@pytest.mark.parametrize(
    ("seeds", "text"), [([0, 1, 2], "0 to 2"), ([0, 1], "0, 1"), ([5, 7, 8, 9], "5, 7 to 9")]
)
def test_seeds_in_a_row_are_shortened(seeds, text):
    assert wording.ranges(seeds) == text
