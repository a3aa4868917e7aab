"""What is set before the first use of a device, and what is said when it comes too late."""

import os
import subprocess
import sys

import jaxlib
import pytest

from dljax.startup import SAME_BITS_AT_ANY_WIDTH, TRIED


def python(code, tmp_path, **variables):
    """Runs code in a fresh process without the settings of this one."""
    mine = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in mine}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.skipif(jaxlib.__version__ not in TRIED, reason="the option is for tried versions")
def test_the_option_and_the_cache_are_set_and_a_second_call_changes_nothing(tmp_path):
    code = """
import os
import dljax as dj
import jax
assert "XLA_FLAGS" not in os.environ  # importing changes nothing
assert jax.config.jax_compilation_cache_dir is None
assert dj.configure() == [] == dj.configure()
print(os.environ["XLA_FLAGS"], jax.device_count(), jax.config.jax_compilation_cache_dir)
"""
    out, err = python(code, tmp_path)
    flags, devices, cache = out.split()
    assert flags == SAME_BITS_AT_ANY_WIDTH
    assert devices == "1"
    assert cache.startswith(str(tmp_path))
    assert err == ""


def test_settings_of_the_users_own_stay(tmp_path):
    code = """
import os
import dljax as dj
import jax
dj.configure(cache=False)
print(os.environ["XLA_FLAGS"].count("ynn_fusion_type"), jax.device_count())
"""
    flags = "--xla_force_host_platform_device_count=3 --xla_cpu_experimental_ynn_fusion_type=dot"
    out, _ = python(code, tmp_path, XLA_FLAGS=flags)
    assert out.split() == ["1", "3"]


def test_a_call_that_comes_too_late_says_so_in_a_line(tmp_path):
    code = """
import os
import jax
jax.devices()
import dljax as dj
(note,) = dj.configure(num_cpu_devices=2)
assert "XLA_FLAGS" not in os.environ
print(note)
"""
    out, err = python(code, tmp_path)
    assert "came after the first use of a device" in out
    assert "the CPU stays 1 device(s). Call it first." in out
    assert err == f"dljax: {out}"
