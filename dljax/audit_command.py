"""`dljax audit`: results that somebody published, checked for what misleads."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from dljax.options import Flag


@dataclass
class Audit:
    """Check published results of optimizers: what in them misleads, and where.

    Reads DeepOBS's JSON, one file a run, and tidy CSV with the columns optimizer, seed, epoch or
    step, losses or accuracies and, where there are any, problem, value and stage; in folders too.
    Looks for a batch order that is replayed every epoch, several problems under one name, best
    values on the edge of their grid, targets that all meet at once, tuning seeds that are reported,
    and diverged runs that were left out. Exits 1 if it finds any.
    """

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = ""
    """Where the results lie."""
    json: Flag = False
    """Print JSON instead of text."""


def run_audit(options: Audit) -> None:
    """Prints what is wrong with results, and exits 1 if anything is."""
    from dljax.comparison.audit import CHECKS, audit
    from dljax.comparison.published import RUN, read

    if not options.folder:
        raise ValueError("results must be named, as a folder or a file, got none.")
    published = read(options.folder)
    findings = audit(published)
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        runs = published.curves.groupby(RUN, dropna=False).ngroups
        problems = published.curves.problem.nunique()
        print(f"{runs:,} runs on {problems} problem(s), {len(CHECKS)} checks:")
        for finding in findings:
            print(f"  {finding.check} ({finding.where}): {finding.evidence}")
        print(f"{len(findings)} finding(s)." if findings else "nothing found.")
    sys.stdout.flush()
    if findings:
        sys.exit(1)
