"""How soon does a plain optimizer meet the target of each problem of a suite?

Question: to draw a profile of times to the targets, one needs a time to divide by. If it is the
best of those compared, one more optimizer ranks all others anew. Which times can be frozen?
Method: of every problem the median step, over the evaluation seeds, at which the fastest of sgd,
momentum and adam meets the target, each tuned alike, read from the run folders of stored suites. A
problem whose target half of the runs of each of them miss, or meet before the first step, gets no
time. A time that is frozen stays: to change it, take it out of the file.

Command: python experiments/reference_times.py
Expect, in seconds, after `dljax compare --suite small --out runs/small` and the same of analytic, a
line a problem, and dljax/comparison/reference_times.json with all of them.
"""

import json
from pathlib import Path

import dljax as dj
from dljax.comparison.across import REFERENCE

SUITES = ("runs/small", "runs/analytic", "runs/paper")
OPTIMIZERS = ("sgd", "momentum", "adam")
FILE = Path(dj.__file__).parent / "comparison" / REFERENCE


def reference(comparison: dj.Comparison) -> dict | None:
    """Returns the time of the fastest reference optimizer of a comparison, if any has one."""
    summary = comparison.summary
    times = {
        entry["name"]: (entry["steps_to_target"] or {}).get("median")
        for entry in summary["optimizers"]
        if entry["name"] in OPTIMIZERS
    }
    met = {name: steps for name, steps in times.items() if steps}
    if not met:
        return None
    fastest = min(met, key=met.get)
    return {
        "steps": met[fastest],
        "of": fastest,
        "target": {name: summary["problem"]["target"][name] for name in ("metric", "value")},
        "batch_size": summary["settings"]["batch_size"],
        "protocol": summary["protocol"],
        "fingerprint": summary["fingerprint"]["id"],
        "num_seeds": len(summary["settings"]["evaluation_seeds"]),
    }


def main() -> None:
    """Adds the times of stored suites to the frozen ones."""
    frozen = json.loads(FILE.read_text(encoding="utf-8"))
    for declaration in sorted(p for s in SUITES for p in Path(s).glob("*/declaration.json")):
        comparison = dj.load(declaration.parent)
        name, found = comparison.summary["problem"]["name"], reference(comparison)
        if name in frozen:
            print(f"{name:24} {frozen[name]['steps']:8g} is frozen already")
        elif found is None:
            print(f"{name:24}     none")
        else:
            frozen[name] = found
            print(f"{name:24} {found['steps']:8g} of {found['of']}")
    text = json.dumps(dict(sorted(frozen.items())), indent=2)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
