"""Where a run was computed: what its bits depend on, and what one would like to know."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jaxlib

from dljax.errors import DataError
from dljax.store import files

NAME = "environment.json"
PACKAGES = ("dljax", "numpy", "flax", "optax", "scipy", "pandas")
NO_BITS = ("device_count", "dump", "cache", "parallelism")  # in flags that change no result


def write(folder: Path, run: str, sessions: list[dict[str, Any]]) -> None:
    """Takes down which processes wrote a run."""
    files.write_document(folder / NAME, {"id": run, "sessions": sessions})


def sessions(folder: Path, run: str) -> list[dict[str, Any]]:
    """Returns which processes wrote a run; raises a `DataError` if the file is damaged."""
    found = files.read_document(folder / NAME, "id", "sessions")
    if found["id"] != run:
        raise DataError(f"{folder / NAME} must be of the declaration's run, got another's.")
    return found["sessions"]


def bits() -> dict[str, str]:
    """Returns what decides the bits of a result beside what was declared."""
    device = jax.local_devices()[0]
    flags = (flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag)
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "backend": device.platform,
        "device": device.device_kind,
        "platform": " ".join(str(device.client.platform_version).split()),
        "instruction_set": _instruction_set() if device.platform == "cpu" else "",
        "xla_flags": " ".join(sorted(f for f in flags if not any(word in f for word in NO_BITS))),
    }


def session() -> dict[str, Any]:
    """Returns what is known of this process and its machine, ready for JSON."""
    return {
        "bits": bits(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "devices": jax.local_device_count(),
        "processes": jax.process_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _instruction_set() -> str:
    """Returns the kind of processor, which XLA compiles for."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".strip()
    told = {line.split(":")[0].strip(): line.split(":", 1)[-1].strip() for line in lines}
    flags = " ".join(sorted((told.get("flags") or told.get("Features") or "").split()))
    return f"{platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def _git() -> dict[str, Any] | None:
    """Returns the commit of the user's code, and whether it holds what was not committed."""
    script = Path(sys.argv[0] if sys.argv and sys.argv[0] else ".").resolve()
    own = Path(sys.prefix).resolve() in script.parents or not script.exists()
    folder = Path.cwd() if own else script if script.is_dir() else script.parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}
