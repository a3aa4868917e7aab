"""Every test runs with warnings as errors, no silent rank promotion, and four CPU devices."""

import os
import warnings

import jaxlib

# Tests compile far more than they run: without the costly passes they take two thirds of the time,
# without the emitters of fusions three fifths of that. `DLJAX_TEST_XLA_FLAGS= pytest` tests what
# users run.
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if jaxlib.__version__.startswith("0.10."):  # 0.12 ends the process at it
    FAST += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), os.environ.get("DLJAX_TEST_XLA_FLAGS", FAST))
).strip()

import jax
import pytest

import dljax as dj

# before the first use of a device: the same devices and flags that the command line sets
dj.configure(num_cpu_devices=4, cache=False)
jax.config.update("jax_numpy_rank_promotion", "raise")


# files that take longest, so that no worker is left with one of them at the end
LONGEST = ("test_faults", "test_hosts", "test_training", "test_bits", "test_compare_folder")
LONGEST += ("test_compare", "test_populations", "test_contract", "test_cli", "test_run_folder")
LONGEST += ("test_resampling", "test_boosting", "test_stacking", "test_protocol")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def x64():
    """Computes in float64 within one test."""
    with jax.enable_x64(True):
        yield
