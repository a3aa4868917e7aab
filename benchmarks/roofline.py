"""Floating-point operations a second by width, beside a large matrix product of the same run.

Question: how near does a population come to what the device can multiply, and from which width on?
Method: a workload's member (`workloads.py`) is compiled at each width and timed in turn with all
others by `dj.bench`; operations are those of its matrix products and convolutions, as they are
written. The product is of two square float32 matrices, the better of two sizes, measured before and
after: the better of both counts. The column "estimate" is the time that `dj.study` would have
announced, by the time measured.

Command: python benchmarks/roofline.py mlp --widths 1,2,4,8,16,32,64
(mlp, cnn, lstm, tiny or uci; on a GPU up to 4096 and beyond; --steps shortens runs; --json)
Expect: `benchmarks/RESULTS.md`. On two cores a minute for a workload, most of it compiling.
"""

import argparse
import json
import sys

import jax
import numpy as np
from workloads import WORKLOADS, study_member

import dljax as dj
from dljax import machine
from dljax.throughput import bench_cases
from dljax.timings import Case

ON_CPU, ON_ACCELERATORS = "1,2,4,8,16,32,64,128", "1,4,16,64,256,1024,4096"


def measure(name, workload, widths, repeats):
    """Times one workload; returns the limits and a row a width."""
    member, shared = study_member(workload)
    case = Case(name, member, shared, {"seed": np.arange(64)}, workload.num_steps)
    device = jax.devices()[0]
    before = machine.limits(device)
    told = bench_cases([case], widths=widths, repeats=repeats, variants=False)
    machine.limits.cache_clear()
    limits = machine.Limits(*map(max, before, machine.limits(device)))
    rows = [
        {
            "workload": name,
            "width": row.width,
            "member_steps_per_second": row.rate,
            "range": [min(row.rates), max(row.rates)],
            "gflops": row.flops / 1e9,
            "of_limit": row.flops / limits.flops / told.num_devices,
            "memory": row.memory,
            "compile_seconds": row.compile_seconds,
            "estimate": row.estimate,
        }
        for row in told.rows
    ]
    return limits, rows


def main():
    """Prints a table for each workload, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["mlp"], metavar="WORKLOAD")
    parser.add_argument("--widths", help="widths with commas between")
    parser.add_argument("--steps", type=int, help="steps of a run")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each width")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"workloads are {', '.join(WORKLOADS)}, got {', '.join(sorted(unknown))}.")
    dj.configure(cache=False)
    device = jax.devices()[0]
    usual = ON_CPU if device.platform == "cpu" else ON_ACCELERATORS
    widths = [int(width) for width in (options.widths or usual).split(",")]
    results = []
    print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}", file=sys.stderr)
    for name in options.workloads:
        workload = WORKLOADS[name]()
        workload = workload._replace(num_steps=options.steps or workload.num_steps)
        limits, rows = measure(name, workload, widths, options.repeats)
        results.append({"limits": limits._asdict(), "rows": rows})
        if not options.json:
            show(f"{name}: {workload.about}; {workload.num_steps} steps", limits, rows)
    if options.json:
        print(json.dumps({"device": device.device_kind, "results": results}))


def show(title, limits, rows):
    """Prints one table."""
    print(f"\n{title}\na matrix product: {limits.flops / 1e9:,.0f} GFLOP/s")
    print(
        f"{'width':>6} {'member-steps/s':>14} {'range':>19} {'GFLOP/s':>9} {'of product':>10} "
        f"{'MB a tile':>9} {'compile':>9} {'estimate':>9}"
    )
    for row in rows:
        spread = "{:,.0f} - {:,.0f}".format(*row["range"])
        print(
            f"{row['width']:6} {row['member_steps_per_second']:14,.0f} {spread:>19} "
            f"{row['gflops']:9,.3g} {row['of_limit']:10.1%} {row['memory'] / 1e6:9,.2f} "
            f"{row['compile_seconds']:7.1f} s {row['estimate']:7.2f} x"
        )


if __name__ == "__main__":
    main()
