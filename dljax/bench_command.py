"""`dljax bench`: the user's own member, timed, as a table or as JSON."""

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from dljax.addresses import first_line, imported, is_address, named
from dljax.options import Count, Flag


@dataclass
class Bench:
    """Time a member of your own: widths, compilation apart, memory, share of the device's limits.

    The file holds the member, member(*shared, **cell) or a dljax.Member, and beside it what
    dj.study would be given: `axes`, a dict of values by keyword; `shared`, a tuple of what all
    members see, or a function that makes it, where there is any; and `num_steps`, the steps of one
    run, without which members are counted. Two members are compared in turn.
    """

    members: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE.py:MEMBER [...]")
    ] = ()
    """One member, or two to compare."""
    widths: Annotated[str, tyro.conf.arg(metavar="N,...", help_behavior_hint="")] = ""
    """Members of a tile, separated by commas. By default five around the default width."""
    repeats: Count = 5
    """Timings of each program. By default 5."""
    json: Flag = False
    """Print JSON instead of the table."""


def run_bench(options: Bench) -> None:
    """Times the members that the command line names, and prints what was measured."""
    from dljax.startup import configure

    widths = _numbers(options.widths)
    if not 1 <= len(options.members) <= 2 or not all(map(is_address, options.members)):
        raise ValueError(
            "one member or two must be named as my_member.py:member, "
            f"got {' '.join(options.members) or 'none'}."
        )
    configure(cache=False)  # to compile is what is timed
    # from here on jax may be used: what is imported below touches it
    from dljax.throughput import bench_cases

    measured = bench_cases(_cases(options.members), widths=widths, repeats=options.repeats)
    if options.json:
        rows = [row._asdict() for row in measured.rows]
        told = {**measured._asdict(), "limits": measured.limits._asdict(), "rows": rows}
        print(json.dumps(told, indent=2, allow_nan=False))
    else:
        print("\n".join(lines(measured)))


def lines(measured: Any) -> Iterator[str]:
    """Puts a `Throughput` into a table."""
    import jax

    limits, unit = measured.limits, measured.unit
    yield (
        f"{measured.num_devices} x {measured.device}, {measured.num_lanes} tile(s) at once, "
        f"jax {jax.__version__}; at best {limits.flops / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{limits.bytes / 1e9:,.0f} GB/s of memory; default width {measured.default_width}"
    )
    columns = f"{'compile':>9} {unit + '/s':>14} {'range':>23} {'ratio':>6} {'MB/tile':>9}"
    work = f"{'GFLOP/s':>9} {'of best':>8} {'~GB/s':>8} {'of best':>8}"
    size = max(24, *(len(_label(measured, row)) for row in measured.rows))
    for kind in dict.fromkeys(row.compared for row in measured.rows):
        rows = [row for row in measured.rows if row.compared == kind]
        yield ""
        yield f"{kind:{size}} {columns} {work}"
        for row in rows:
            spread = f"{min(row.rates):,.4g} - {max(row.rates):,.4g}"
            yield (
                f"{_label(measured, row):{size}} {row.compile_seconds:7.2f} s {row.rate:14,.4g} "
                f"{spread:>23} {row.rate / rows[0].rate:6.2f} {row.memory / 1e6:9,.2f} "
                f"{_work(row)} {row.note}".rstrip()
            )
    if measured.ratios:
        low, high = min(measured.ratios), max(measured.ratios)
        yield ""
        yield (
            f"{rows[1].member} by {rows[0].member}: {statistics.median(measured.ratios):.3f} "
            f"({low:.3f} - {high:.3f}, {len(measured.ratios)} pairs in turn)"
        )


def _label(measured: Any, row: Any) -> str:
    several = row.compared == "width" and measured.ratios
    label = f"{row.member}, {row.label}" if several else row.label
    return label if row.compared == "width" else f"{label}, width {row.width}"


def _work(row: Any) -> str:
    if row.flops is None:
        return f"{'-':>9} {'-':>8} {'-':>8} {'-':>8}"
    flops, moved = row.flops / 1e9, row.bytes / 1e9
    return f"{flops:9,.3g} {row.flops_share:8.1%} {moved:8,.3g} {row.bytes_share:8.1%}"


def _cases(addresses: Iterable[str]) -> list:
    from dljax.timings import Case

    modules, cases = {}, []
    for address in addresses:
        path = address.rpartition(":")[0]
        modules[path] = module = modules.get(path) or imported(address)
        member, axes = named(module, address), getattr(module, "axes", None)
        if not isinstance(axes, dict):
            raise ValueError(
                f"{path} must hold `axes`, a dict such as dict(seed=range(32)), got {axes!r}."
            )
        shared = getattr(module, "shared", ())
        try:
            shared = shared() if callable(shared) else shared
        except Exception as error:
            line = first_line(error)
            raise ValueError(f"`shared` of {path} must make a tuple, got {line}") from error
        if not isinstance(shared, tuple):
            raise ValueError(f"`shared` of {path} must be a tuple, got {type(shared).__name__}.")
        cases.append(Case(address, member, shared, axes, getattr(module, "num_steps", None)))
    return cases


def _numbers(text: str) -> list[int] | None:
    try:
        return [int(number) for number in text.split(",")] if text else None
    except ValueError:
        raise ValueError(
            f"--widths must be whole numbers separated by commas, got {text!r}."
        ) from None
