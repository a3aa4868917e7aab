"""Searches, seeds that are added, declarations: what decides which runs a comparison has."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
import small

import dljax as dj
from dljax.comparison import fingerprint as fp
from dljax.comparison.claims import Question
from dljax.comparison.design import (
    EVALUATION,
    TUNING,
    Design,
    arms_of,
    chosen,
    claims_of,
    is_resolved,
)
from dljax.comparison.search import (
    Range,
    Search,
    checked_range,
    checked_search,
    first,
    further,
)
from dljax.comparison.space import dialect_of, factories, space_of

SPACE = {"learning_rate": Range(1e-5, 10.0), "b2": Range(0.9, 0.9999, "log1m")}
DRAWN = ("random", "sobol", "zoom")


@pytest.mark.parametrize("method", DRAWN)
def test_points_lie_in_their_ranges_and_a_seed_gives_the_same(method):
    search = checked_search(method, 24, 0)
    points = first(search, SPACE, seed=3)
    assert len(points) == (8 if method == "zoom" else 24)
    assert points == first(search, SPACE, seed=3) != first(search, SPACE, seed=4)
    for name, (low, high, _) in SPACE.items():
        values = np.array([point[name] for point in points])
        assert np.all((values >= low) & (values <= high))


def test_the_scale_spreads_points_evenly():
    points = first(checked_search("sobol", 256, 0), SPACE, seed=0)
    rates = np.log10([point["learning_rate"] for point in points])
    decays = np.log10([1 - point["b2"] for point in points])
    # Sobol points of a power of two have as many in each half, up to the scrambling
    assert np.sum(rates < -2) == 128
    assert np.sum(decays < -2.5) == 128


def test_a_search_tries_one_set_of_rates_for_all_optimizers():
    spaces = [{"learning_rate": SPACE["learning_rate"]}] * 2
    one, other = (first(checked_search("random", 5, 0), space, 0) for space in spaces)
    assert one == other


def test_zooming_in_finds_what_a_grid_of_as_many_trials_misses():
    def loss(point):  # a narrow valley, at a rate between the values of a grid
        return abs(np.log(point["learning_rate"] / 0.0237))

    space = {"learning_rate": SPACE["learning_rate"]}

    def best(method, seed):
        search, number = checked_search(method, 24, 0), 1
        points = first(search, space, seed)
        while new := further(
            search, space, seed, points, int(np.argmin([*map(loss, points)])), number
        ):
            points, number = points + new, number + 1
        assert len(points) == 24
        return min(map(loss, points))

    found = np.array([[best(method, seed) for method in ("random", "zoom")] for seed in range(40)])
    assert np.median(found[:, 1]) < np.median(found[:, 0]) / 2


def test_the_zoomed_ranges_stay_within_the_first_ones():
    search = checked_search("zoom", 9, 0)
    corner = [{"learning_rate": 10.0, "b2": 0.9}]
    for number in (1, 2):
        points = further(search, SPACE, 0, corner, 0, number)
        rates = np.log10([point["learning_rate"] for point in points])
        assert np.all((rates > 1 - 6 / 3**number) & (rates <= 1))
    assert further(search, SPACE, 0, corner, 0, 3) == []


def test_a_grid_goes_on_beyond_the_edge_its_best_value_lies_on():
    search = checked_search("grid", None, 2)
    points = first(search, {"learning_rate": [0.01, 0.1, 1.0]}, 0)
    new = further(search, {}, 0, points, 2, 1)
    np.testing.assert_allclose([p["learning_rate"] for p in new], [10.0, 100.0])
    down = further(search, {}, 0, points, 0, 2)
    np.testing.assert_allclose([p["learning_rate"] for p in down], [1e-3, 1e-4])
    assert further(search, {}, 0, points, 1, 1) == []  # in the middle
    assert further(search, {}, 0, points, 2, 3) == []  # often enough


def test_a_widened_product_stays_a_product_and_only_the_rate_is_continued():
    search = checked_search("grid", None, 1)
    points = first(search, {"b1": [0.0, 0.9], "learning_rate": [1.0, 10.0, 100.0]}, 0)
    whole = points + further(search, {}, 0, points, 5, 1)
    axes = [sorted({point[name] for point in whole}) for name in ("b1", "learning_rate")]
    assert axes == [[0.0, 0.9], [1.0, 10.0, 100.0, 1e3, 1e4]]
    assert sorted(tuple(point.values()) for point in whole) == list(itertools.product(*axes))


def test_no_value_is_continued_to_where_it_must_not_be():
    search = checked_search("grid", None, 2)
    decays = first(search, {"b1": [0.5, 0.9, 0.99]}, 0)
    assert further(search, {}, 0, decays, 2, 1) == []
    rates = first(search, {"learning_rate": [0.0, 3.0, 3.5]}, 0)
    assert further(search, {}, 0, rates, 0, 1) == []
    above = [point["learning_rate"] for point in further(search, {}, 0, rates, 2, 1)]
    np.testing.assert_allclose(above, [3.5**2 / 3, 3.5**3 / 9])


@pytest.mark.parametrize("method", DRAWN)
def test_an_optimizer_without_anything_to_tune_is_one_trial_of_any_search(method):
    search = checked_search(method, 9, 0)
    assert first(search, {}, 0) == [{}]
    assert further(search, {}, 0, [{}], 0, 1) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("bayes", None, 0), "search must be one of grid, random, sobol, zoom, got 'bayes'"),
        (("grid", 9, 0), "trials must come with a search that draws points"),
        (("sobol", 9, 1), "only a grid can be widened"),
        (("zoom", 2, 0), "trials must be in"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(arguments, line):
    with pytest.raises(ValueError, match=line):
        checked_search(*arguments)


def test_a_range_must_fit_its_scale_and_a_grid_takes_values():
    with pytest.raises(ValueError, match="low < high, got 2 and 1"):
        checked_range("x", Range(2, 1, "linear"))
    with pytest.raises(ValueError, match="range of x must be in"):
        checked_range("x", Range(0.0, 1.0))
    adam = dj.optimizers.adam
    with pytest.raises(ValueError, match="a list of values for a grid"):
        space_of("adam", adam, {"learning_rate": Range(1e-3, 1.0)}, None, "grid")
    with pytest.raises(ValueError, match=r"must be a dj.Range where points are drawn"):
        space_of("adam", adam, {"learning_rate": [1.0]}, None, "sobol")


def test_a_name_may_carry_a_dialect():
    tf1 = factories(["tf1.adam", "adam"])
    assert dialect_of("tf1.adam", tf1["tf1.adam"]) == "tf1"
    assert dialect_of("adam", tf1["adam"]) == "dljax"
    assert dialect_of("mine", lambda learning_rate: None) is None
    with pytest.raises(ValueError, match="unknown dialect 'tf2'; did you mean 'tf1'"):
        factories(["tf2.adam"])


def made_up(optima, noise=0.1):
    """Gives results of runs that nobody ran: the loss is that of a valley around the optimum."""

    def results_of(name, points, indices, seeds, stage):
        rows = []
        for index, seed in itertools.product(indices, seeds):
            luck = np.random.default_rng([int(seed), 7]).standard_normal()
            own = np.random.default_rng([int(seed), 7, len(name)]).standard_normal()
            loss = abs(np.log10(points[index]["learning_rate"] / optima[name][0])) + optima[name][1]
            told = {"optimizer": name, "point": index, "stage": stage, "seed": int(seed), "step": 1}
            told |= {"diverged_at": -1, "valid_loss": loss + luck + noise * own}
            rows.append({**told, "test_loss": told["valid_loss"]})
        return pd.DataFrame(rows)

    return results_of


def design(optima, *, search=None, batch=5, most=5, question=None):
    points = [{"learning_rate": rate} for rate in (0.01, 0.1, 1.0)]
    return Design(
        search=search or Search(),
        points=dict.fromkeys(optima, points),
        ranges={},
        tuning_seeds=np.arange(2),
        evaluation_seeds=np.arange(2, 2 + most),
        batch=batch,
        question=question or Question(),
        seed=0,
        metric="loss",
        goal="min",
        optimum=None,
    )


def test_an_optimizer_is_evaluated_where_it_did_best_on_seeds_that_did_not_tune():
    optima = {"a": (0.1, 0.0), "bb": (1.0, 0.0)}
    arms = arms_of(design(optima), made_up(optima))
    assert [arm.points[arm.chosen]["learning_rate"] for arm in arms] == [0.1, 1.0]
    for arm in arms:
        seeds = arm.results.groupby("stage")["seed"].agg(set)
        assert not seeds[TUNING] & seeds[EVALUATION]
        evaluated = arm.results[arm.results["stage"] == EVALUATION]
        assert set(evaluated["point"]) == {arm.chosen}


def test_a_grid_is_widened_until_the_best_value_lies_inside():
    optima = {"a": (30.0, 0.0), "bb": (0.1, 0.0)}
    wide, inside = arms_of(design(optima, search=Search(widen=5)), made_up(optima))
    assert (wide.widened, inside.widened) == (1, 0)
    assert wide.points[wide.chosen]["learning_rate"] == pytest.approx(10.0)
    assert len(inside.points) == 3
    (never, _) = arms_of(design(optima), made_up(optima))
    assert (never.widened, len(never.points)) == (0, 3)


def test_seeds_are_added_only_until_the_claims_are_resolved():
    question = Question(margin=0.2)
    apart, near = {"a": (0.1, 0.0), "bb": (0.1, 1.0)}, {"a": (0.1, 0.0), "bb": (0.1, 0.0)}
    plan = design(apart, batch=5, most=60, question=question)
    num_seeds = lambda optima: arms_of(plan, made_up(optima))[0].results["seed"].nunique() - 2  # noqa: E731
    assert num_seeds(apart) <= 10
    assert 5 <= num_seeds(near) < 60
    hopeless = design(near, batch=5, most=20, question=Question(margin=1e-6))
    assert arms_of(hopeless, made_up(near))[0].results["seed"].nunique() == 22


def test_the_last_batch_of_seeds_may_be_a_short_one():
    optima = {"a": (0.1, 0.0), "bb": (0.1, 0.0)}
    plan = design(optima, batch=5, most=12, question=Question(margin=1e-6))
    arms = arms_of(plan, made_up(optima))
    assert arms[0].results["seed"].nunique() == 14
    (claim,) = claims_of(plan, arms, 3)
    assert claim["num_seeds"] == [12, 12]


def test_no_claim_is_a_resolved_one():
    assert is_resolved([])
    assert not is_resolved([{"verdict": "better"}, {"verdict": "unresolved"}])


def test_a_tie_on_the_metric_is_broken_by_the_loss():
    rows = {"seed": 0, "step": 1, "diverged_at": -1, "valid_accuracy": 0.9}
    frame = pd.DataFrame([{**rows, "point": i, "valid_loss": x} for i, x in enumerate([2.0, 1.0])])
    assert chosen(frame, "accuracy", "max") == 1


def blobs(**changes):
    data = small.blobs(60)
    split = dj.holdout(jax.random.key(0), 60, valid=0.25, test=0.25)
    problem = dj.Problem(
        "blobs", small.classifier(()), data, split, batch_size=8, num_steps=10, eval_every=5
    )
    return problem._replace(**changes)


def test_a_fingerprint_is_of_the_data_the_start_and_the_order():
    told = fp.fingerprint(blobs(), 0, 3)
    assert fp.fingerprint(blobs(), 0, 3) == told
    data = small.blobs(60)
    changed = {
        "data": blobs(data={**data, "x": data["x"] + 1e-3}),
        "parameters": blobs(task=small.classifier((4,))),
        "order": blobs(order="once"),
    }
    for field, problem in changed.items():
        other = fp.fingerprint(problem, 0, 3)
        assert other["id"] != told["id"]
        with pytest.raises(ValueError, match=f"one and two differ in .*{field}: "):
            fp.check_comparable({"one": told, "two": other})


def test_numbers_of_a_fingerprint_may_differ_in_their_last_digits():
    told = fp.fingerprint(blobs(), 0, 3)
    near = {**told, "initial_loss": told["initial_loss"] * (1 + 1e-6)}
    far = {**told, "initial_loss": told["initial_loss"] * 1.01}
    assert fp.differing(told, near) == []
    assert fp.identity(told) == told["id"]
    with pytest.raises(ValueError, match="initial_loss"):
        fp.check_comparable({"one": told, "two": far})


def test_the_loss_of_a_fingerprint_is_that_of_the_first_rows():
    problem = blobs()
    told = fp.fingerprint(problem, 0, 3)
    fit = dj.trainer(problem.task, dj.optimizers.sgd(0.0), problem.data, problem.split)
    state = fit.init(dj.stream(jax.random.key(0), "member", 3))
    batch = {name: x[problem.split.train.index] for name, x in problem.data.items()}
    loss = problem.task.loss(fit.predict(state, batch), batch).mean()
    assert told["initial_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_arms_that_did_not_begin_alike_are_refused():
    rows = [
        {"optimizer": name, "seed": 3, "step": step, "test_loss": loss}
        for name, loss in (("adam", 2.3), ("mine", 2.4))
        for step in (0, 10)
    ]
    with pytest.raises(ValueError, match=r"at seed 3 the test_loss .* 2.3 of adam and 2.4 of mine"):
        fp.check_same_start(pd.DataFrame(rows))
