"""Member-steps a second: one study, against the loops and libraries that one would use instead.

Question: how much faster do many small training runs go as members of one compiled program?
Method: N independent runs of one of five nets (`workloads.py`) are trained by Adam from N seeds: as
one population of dljax at its default width; and as `peers.py` says it: by a Python loop over a
jitted step, as most JAX training scripts do; by a loop over whole runs that are compiled; by
`jit(vmap(scan))` over all members; by PyTorch's eager loop and by torch.func's ensemble, each with
one thread and two, until the first timing says which is better; and, for perceptrons, by
scikit-learn with a process on each core. The first JAX loop has flax's own layers, the other
two have dljax's, whose convolution is the one that stays fast inside a loop. Everybody evaluates
the last fifth of the rows after training (dljax before, too). Contenders that run members one after
the other are given two of them, as a rate does not depend on their number. All are warmed up, then
timed in turn, forth and back, in one process: medians, their range, and ratios to the per-step-jit
loop. What the first call took longer than the later ones is the column "compile".

Command: pip install -e ".[bench]" && python benchmarks/population_throughput.py mlp --members 32
(mlp, cnn, lstm, tiny or uci; several at once for --members 1,8,32,128; --json)
Expect: `benchmarks/RESULTS.md`. A minute for one workload and one N.
"""

import argparse
import json
import statistics
import sys
import time
from functools import partial

import jax
import numpy as np
import peers
from workloads import WORKLOADS, study_member

import dljax as dj

ONE_BY_ONE = 2  # members of the contenders whose rate does not depend on their number
PEERS = {
    "per-step-jit loop": (peers.per_step_jit, True),
    "whole-run-jit loop": (peers.whole_run_jit, True),
    "jit(vmap(scan))": (peers.jit_vmap_scan, False),
    **{
        f"PyTorch eager, {n} thread(s)": (partial(peers.pytorch_eager, num_threads=n), True)
        for n in (1, 2)
    },
    **{
        f"torch.func, {n} thread(s)": (partial(peers.torch_func, num_threads=n), False)
        for n in (1, 2)
    },
    "scikit-learn, joblib": (peers.sklearn_joblib, False),
}


def study(workload):
    """All members as a population of dljax."""
    member, shared = study_member(workload)
    run = dj.population(member)
    return lambda seeds: run(shared, {"seed": seeds})


def measure(workload, num_members, repeats):
    """Times all contenders in turn; the slower number of threads leaves after the first timing."""
    contenders, members = {"dljax": study(workload)}, {"dljax": num_members}
    for name, (peer, one_by_one) in PEERS.items():
        try:
            contenders[name] = peer(workload)
        except (ImportError, NotImplementedError) as error:
            print(f"without {name}: {error}", file=sys.stderr)
        members[name] = min(ONE_BY_ONE, num_members) if one_by_one else num_members
    first, losses, seconds = {}, {}, {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name in list(contenders)[:: (-1) ** repeat]:
            print(f"\r{repeat} of {repeats}: {name:28}", end="", file=sys.stderr, flush=True)
            time.sleep(0.01)  # a pool of threads spins for a while before it sleeps
            started = time.perf_counter()
            try:
                losses[name] = contenders[name](np.arange(members[name], dtype=np.uint32))
            except (RuntimeError, NotImplementedError) as error:
                print(f"\rwithout {name}: {str(error).splitlines()[0]}", file=sys.stderr)
                del contenders[name], seconds[name]
                continue
            taken = time.perf_counter() - started
            if repeat == 0:
                first[name] = taken
            else:
                seconds[name].append(taken)
        for slower in _slower_threads(seconds) if repeat == 1 else ():
            del contenders[slower], seconds[slower]
    print(file=sys.stderr)

    def steps(name):
        is_sklearn = name.startswith("scikit-learn")
        return peers.sklearn_steps(workload) if is_sklearn else workload.num_steps

    rates = {
        name: [members[name] * steps(name) / s for s in times] for name, times in seconds.items()
    }
    base = statistics.median(rates["per-step-jit loop"])
    return [
        {
            "contender": name,
            "member_steps_per_second": statistics.median(rate),
            "range": [min(rate), max(rate)],
            "ratio": statistics.median(rate) / base,
            "compile_seconds": max(0.0, first[name] - statistics.median(seconds[name])),
            "loss": float(np.mean(losses[name])),
        }
        for name, rate in rates.items()
    ]


def _slower_threads(seconds):
    """Names the contenders that another number of threads beat."""
    kind = lambda name: name.partition(",")[0]  # noqa: E731
    threads = [name for name in seconds if name.endswith("thread(s)")]
    best = {
        kind(name): min(seconds[n][0] for n in threads if kind(n) == kind(name)) for name in threads
    }
    return [name for name in threads if seconds[name][0] > best[kind(name)]]


def show(title, rows):
    """Prints one table."""
    print(f"\n{title}")
    print(
        f"{'contender':28} {'member-steps/s':>14} {'range':>19} {'ratio':>7} {'dljax is':>9} "
        f"{'compile':>9} {'loss':>7}"
    )
    ours = rows[0]["member_steps_per_second"]
    for row in rows:
        rate, spread = row["member_steps_per_second"], "{:,.0f} - {:,.0f}".format(*row["range"])
        print(
            f"{row['contender']:28} {rate:14,.0f} {spread:>19} {row['ratio']:7.2f} "
            f"{ours / rate:7.2f} x {row['compile_seconds']:7.1f} s {row['loss']:7.3f}"
        )


def main():
    """Prints a table for each workload and number of members, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["mlp"], metavar="WORKLOAD")
    parser.add_argument("--members", default="32", help="N, or several with commas between")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each contender")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"workloads are {', '.join(WORKLOADS)}, got {', '.join(sorted(unknown))}.")
    dj.configure(cache=False)
    device, results = jax.devices()[0].device_kind, []
    print(f"{jax.device_count()} x {device}, jax {jax.__version__}", file=sys.stderr)
    for name in options.workloads:
        workload = WORKLOADS[name]()
        for num_members in map(int, options.members.split(",")):
            rows = measure(workload, num_members, options.repeats)
            results.append({"workload": name, "num_members": num_members, "rows": rows})
            if not options.json:
                show(f"{name}: {workload.about}; N = {num_members}", rows)
    if options.json:
        print(json.dumps({"device": device, "jax": jax.__version__, "results": results}))


if __name__ == "__main__":
    main()
