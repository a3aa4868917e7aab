"""What the order of an epoch costs: one array to sort, two, or jax's own permutation.

    python benchmarks/row_order.py

draws a random order of N rows in turn as `dljax.splits.random_order` does (one sort of one array:
32 random bits over the row's number), by a sort of two arrays, bits and numbers, and by
`jax.random.permutation`; microseconds a draw, medians, and how many times longer the others take.
An order is drawn once an epoch.
"""

import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp

import dljax as dj
from dljax.splits import all_rows, random_order

ROWS, ROUNDS, DRAWS = (100, 1_000, 10_000, 60_000), 9, 20


def microseconds(many, keys) -> float:
    """Returns the time of a draw; whoever calls has compiled it before."""
    since = time.perf_counter()
    jax.block_until_ready(many(keys))
    return 1e6 * (time.perf_counter() - since) / DRAWS


def two_arrays(key, num_rows):
    """Draws the same order, but that bits and numbers are sorted as two arrays."""
    bits = jax.random.bits(key, (num_rows,), jnp.uint32)
    return jax.lax.sort((bits, jnp.arange(num_rows)), num_keys=1)[1]


def main() -> None:
    dj.configure()
    keys = jax.random.split(jax.random.key(0), DRAWS)
    print(f"{'rows':>7} {'ours, us':>9}  two arrays (range)    permutation (range)")
    for num_rows in ROWS:
        rows = all_rows(num_rows)
        draws = (
            lambda key, rows=rows: random_order(key, rows),
            lambda key, n=num_rows: two_arrays(key, n),
            lambda key, n=num_rows: jax.random.permutation(key, n),
        )
        many = [jax.jit(partial(jax.lax.map, draw)) for draw in draws]
        for one in many:
            microseconds(one, keys)  # compiles and warms up
        timed = [[microseconds(one, keys) for one in many] for _ in range(ROUNDS)]
        cells = [f"{statistics.median(ours for ours, *_ in timed):9.0f}"]
        for i in (1, 2):
            ratios = [row[i] / row[0] for row in timed]
            cells.append(
                f"{statistics.median(ratios):6.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
            )
        print(f"{num_rows:7,} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
