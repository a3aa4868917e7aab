"""How long do 200 small fits take: cross-validation and bagging, against scikit-learn and a loop?

Question: resampling asks for many fits of one small network. What does one compiled program save,
compile time included?
Method: a perceptron of one hidden layer with 32 units, Adam 1e-3, batches of 16, inputs
standardised in every fold. Forty times 5-fold cross-validation of iris; 200 bags of iris with
out-of-bag scores; 200 bags of the diabetes regression. Contenders: `dj.cross_validate` and
`dj.bagging`; scikit-learn's `cross_val_score`, `BaggingClassifier` and `BaggingRegressor` over
`MLPClassifier` and `MLPRegressor` with a process on each of two cores; a Python loop over
PyTorch's eager steps with fused Adam on one thread (two are slower), of which 4 fits are timed and
200 charged. Everybody takes the same number of steps of the same size. dljax is timed cold, with
all caches cleared, and warm; in turn with the others, forth and back, in one process: medians,
their range, and ratios. Scores are printed, so that one sees that all have learnt.

Command: python benchmarks/resampling.py [--epochs 100 200] [--tasks folds bags] [--repeats 3]
Expect: `benchmarks/RESULTS.md`; three quarters of an hour for all.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from functools import partial

import jax
import numpy as np

import dljax as dj

TASKS = ["folds", "bags", "bags of a regression"]
FITS, FOLDS, HIDDEN, BATCH, RATE, LOOP_FITS = 200, 5, 32, 16, 1e-3, 4


def net(kind, epochs):
    outputs, loss = (3, dj.losses.cross_entropy) if kind == "iris" else (1, dj.losses.squared_error)
    metrics = {"accuracy": dj.losses.accuracy} if kind == "iris" else {}
    model = dj.flat_lecun(dj.linen_model(dj.modules.MLP(outputs, (HIDDEN,))))
    task = dj.supervised(model, loss, metrics)
    learner = dj.learner(
        task, partial(dj.optimizers.adam, RATE), num_epochs=epochs, batch_size=BATCH
    )
    return dj.scaled(learner, target=None if kind == "iris" else "y")


def dljax_folds(data, epochs):
    axes = {"repeat": np.arange(FITS // FOLDS)}
    stratified = partial(dj.stratified_kfold, labels=data["y"], num_classes=3)
    learner = net("iris", epochs)

    def run():
        how = {"axes": axes, "split": stratified, "progress": False}
        found = dj.cross_validate(learner, data, FOLDS, **how)
        return found.study.results["scores"]["accuracy"].mean()

    return run


def dljax_bags(data, epochs, kind, outputs):
    learner = net(kind, epochs)

    def run():
        found = dj.bagging(learner, data, FITS, outputs=outputs, progress=False)
        if kind == "iris":
            return found.scores["accuracy"]
        return 1 - found.scores["loss"] / data["y"].var()

    return run


def sklearn_contender(data, epochs, what):
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    same = dict(  # noqa: C408
        hidden_layer_sizes=(HIDDEN,), batch_size=BATCH, learning_rate_init=RATE, alpha=0.0,
        max_iter=epochs, tol=0.0, n_iter_no_change=epochs + 1,
    )  # fmt: skip
    x, y = data["x"], data["y"]
    if what == "folds":
        pipeline = make_pipeline(StandardScaler(), MLPClassifier(**same))
        folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=FITS // FOLDS, random_state=0)
        return lambda: cross_val_score(pipeline, x, y, cv=folds, n_jobs=2).mean()
    if what == "bags":
        pipeline, bagging = (
            make_pipeline(StandardScaler(), MLPClassifier(**same)),
            BaggingClassifier,
        )
    else:
        y = (y - y.mean()) / y.std()
        pipeline, bagging = make_pipeline(StandardScaler(), MLPRegressor(**same)), BaggingRegressor
    bags = bagging(pipeline, FITS, oob_score=True, n_jobs=2, random_state=0)
    return lambda: bags.fit(x, y).oob_score_


def torch_loop(data, epochs, what):
    import torch

    num_rows = len(data["y"]) * (FOLDS - 1) // FOLDS if what == "folds" else len(data["y"])
    regression = what == "bags of a regression"
    x = torch.tensor((data["x"] - data["x"].mean(axis=0)) / data["x"].std(axis=0))
    y = torch.tensor(data["y"]).float() if regression else torch.tensor(data["y"]).long()
    y = (y - y.mean()) / y.std() if regression else y
    loss = torch.nn.MSELoss() if regression else torch.nn.CrossEntropyLoss()

    def one(seed):
        torch.manual_seed(seed)
        rows = torch.randperm(len(y))[:num_rows]
        layers = torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU()
        model = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN, 1 if regression else 3))
        adam = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        for _ in range(epochs):
            for index in rows[torch.randperm(num_rows)].split(BATCH):
                adam.zero_grad(set_to_none=True)
                outputs = model(x[index])
                loss(outputs[:, 0] if regression else outputs, y[index]).backward()
                adam.step()
        with torch.no_grad():
            outputs = model(x)
        if regression:
            return 1 - ((outputs[:, 0] - y) ** 2).mean().item()
        return (outputs.argmax(dim=1) == y).float().mean().item()

    def run():
        torch.set_num_threads(1)
        return np.mean([one(seed) for seed in range(LOOP_FITS)])

    return run


def contenders(what, epochs):
    """Functions that fit and return a score, by name, with what to multiply their time by."""
    data = dj.datasets.load("diabetes" if what == "bags of a regression" else "iris")
    ours = {
        "folds": partial(dljax_folds, data, epochs),
        "bags": partial(dljax_bags, data, epochs, "iris", "classes"),
        "bags of a regression": partial(dljax_bags, data, epochs, "diabetes", "numbers"),
    }[what]()

    def cold():
        jax.clear_caches()
        return ours()

    return {
        "dljax, compiling": (cold, 1),
        "dljax, compiled": (ours, 1),
        "scikit-learn, 2 processes": (sklearn_contender(data, epochs, what), 1),
        "PyTorch loop": (torch_loop(data, epochs, what), FITS / LOOP_FITS),
    }


def measured(what, epochs, repeats):
    """Seconds to 200 fits of each contender, in turn forth and back, and the last score."""
    runs = contenders(what, epochs)
    seconds, scores = {name: [] for name in runs}, {}
    runs["dljax, compiling"][0]()  # the first use of everything
    for repeat in range(repeats):
        # compiled comes after compiling, whichever way
        names = list(runs) if repeat % 2 == 0 else [*list(runs)[2:], *list(runs)[:2]]
        for name in names:
            run, times = runs[name]
            begun = time.perf_counter()
            scores[name] = float(run())
            seconds[name].append((time.perf_counter() - begun) * times)
            print(f"{what}, {epochs} epochs: {name} {seconds[name][-1]:.2f} s", file=sys.stderr)
    return {
        name: {
            "median": statistics.median(x), "least": min(x), "most": max(x), "score": scores[name]
        }
        for name, x in seconds.items()
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    dj.configure()
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is what is measured
    warnings.filterwarnings("ignore")
    tables = {}
    for epochs in options.epochs:
        for what in options.tasks:
            table = tables[f"{what}, {epochs} epochs"] = measured(what, epochs, options.repeats)
            if options.json:
                continue
            cold = table["dljax, compiling"]["median"]
            print(f"\n{FITS} fits, {what}, {epochs} epochs\n")
            print("| contender | s | range | of cold | score |")
            print("|---|---:|---:|---:|---:|")
            for name, row in table.items():
                spread = f"{row['least']:.2f} - {row['most']:.2f}"
                print(
                    f"| {name} | {row['median']:.2f} | {spread} | "
                    f"{row['median'] / cold:.1f} | {row['score']:.3f} |"
                )
    if options.json:
        print(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
