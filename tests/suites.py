"""Made-up comparisons on several problems, for the tests of what is said over them."""

import numpy as np
import pandas as pd

from dljax.comparison.claims import Question, claims
from dljax.comparison.statistics import Comparison, summarize_optimizer

STEPS = np.array([0, 25, 50, 75, 100])
FROZEN = {f"p{i}": {"steps": 25.0, "of": "sgd", "protocol": "dljax-1"} for i in range(10)}


def made(name, finals, *, start=2.0, target=1.0, evidence="confirmatory", baseline=None, scale=1.0):
    """A made-up comparison: every run goes from `start` half of the way, and then to its final."""
    frames = []
    for optimizer, ends in finals.items():
        for seed, end in enumerate(ends):
            path = start + (end - start) * np.array([0, 0.5, 1, 1, 1])
            loss, lost = scale * path, -1 if np.isfinite(end) else 25
            told = {"argument": "", "value": np.nan, "point": 0, "stage": "evaluation"}
            told |= {"step": STEPS, "cost": STEPS, "valid_loss": loss, "test_loss": loss}
            frames.append(
                pd.DataFrame({"optimizer": optimizer, "seed": seed, **told, "diverged_at": lost})
            )
    results = pd.concat(frames, ignore_index=True)
    problem = {"name": name, "metric": "loss", "goal": "min", "num_rows": None}
    wanted = target and {"metric": "valid_loss", "value": scale * target, "goal": "min"}
    problem |= {"num_parameters": 2, "target": wanted}
    own = dict(list(results.groupby("optimizer", sort=False)))
    question = Question(baseline)
    ends = {n: np.where(np.isfinite(x), x, np.nan) for n, x in finals.items()}
    summary = {
        "evidence": evidence, "because": [] if evidence == "confirmatory" else ["edge"],
        "problem": problem, "question": question._asdict(), "environment": None, "seconds": {},
        "settings": {"num_steps": 100, "batch_size": 8, "evaluation_seeds": [0]},
        "optimizers": [summarize_optimizer(rows, 0, problem) for rows in own.values()],
        "claims": claims(ends, "min", question),
    }  # fmt: skip
    return Comparison(summary, results)


def suite_of(num_problems=6, num_seeds=5, shift=0.3, **how):
    """Comparisons in which adam ends below sgd by `shift`, and momentum like sgd."""
    draw = np.random.default_rng(0)
    found = {}
    for i in range(num_problems):
        ends = {n: 1.0 + 0.02 * draw.normal(size=num_seeds) for n in ("sgd", "momentum", "adam")}
        ends["adam"] -= shift
        found[f"p{i}"] = made(f"p{i}", ends, **how)
    return found


def without(comparisons, name):
    kept = {}
    for problem, one in comparisons.items():
        entries = [e for e in one.summary["optimizers"] if e["name"] != name]
        rows = one.results[one.results.optimizer != name]
        kept[problem] = Comparison({**one.summary, "optimizers": entries}, rows)
    return kept
