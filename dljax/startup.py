"""What must be set before the first use of a device, in one call."""

import os
import sys

import jax
import jaxlib
import pooch

# An unknown flag ends the process, so it is set only for versions it was tried with.
SAME_BITS_AT_ANY_WIDTH = "--xla_cpu_experimental_ynn_fusion_type=-reduce"
TRIED = ("0.10.2", "0.12.0.1")


def configure(*, num_cpu_devices: int | None = None, cache: bool = True) -> list[str]:
    """Prepares jax for populations; call it before anything uses a device.

    Compiled programs are kept in a folder of the user's, so that the same study starts at once the
    next time. `XLA_FLAGS` gets an option that makes a member's bits on a CPU the same at all widths
    but 1, whose last bits differ. All cores are used in any case: tiles run side by side in threads
    on one CPU device.

    Args:
      num_cpu_devices: CPU devices, for a mesh of your own; `None` takes one, or what is set in
        `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`.
      cache: Whether compiled programs are kept.

    Returns:
      What could not be set and why, a line each, also printed on standard error.
    """
    notes = []
    before = os.environ.get("XLA_FLAGS")
    flags = before or ""
    if jaxlib.__version__ in TRIED and "xla_cpu_experimental_ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {SAME_BITS_AT_ANY_WIDTH}".strip()
    own = "xla_force_host_platform_device_count" in flags or "JAX_NUM_CPU_DEVICES" in os.environ
    if num_cpu_devices is not None or not own:
        try:
            jax.config.update("jax_num_cpu_devices", num_cpu_devices or 1)
        except RuntimeError:
            os.environ.pop("XLA_FLAGS", None)
            if before is not None:
                os.environ["XLA_FLAGS"] = before
            notes.append(
                "dljax.configure() came after the first use of a device: XLA's option for the same "
                f"bits at every width is not set, and the CPU stays {len(jax.devices('cpu'))} "
                "device(s). Call it first."
            )
    if cache and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(pooch.os_cache("dljax") / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    for note in notes:
        print(f"dljax: {note}", file=sys.stderr)
    return notes
