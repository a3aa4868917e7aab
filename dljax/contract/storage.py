"""Properties of the state as something kept: donated, sharded, written and read."""

import tempfile
from pathlib import Path

import flax.serialization
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dljax.contract.findings import DoesNotApply, Fails, agree
from dljax.contract.subject import Subject, optimizer_of, params_of, run, step


def donation(subject: Subject) -> None:
    """No buffer stands twice in the parameters and the state, so that both may be donated."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    carry = (params, optimizer.init(params))
    for _ in range(3):
        owners = {}
        for path, x in jax.tree_util.tree_flatten_with_path(carry)[0]:
            name = ("params", "state")[path[0].idx] + jax.tree_util.keystr(path[1:])
            if x.size and owners.setdefault(_buffer(x), name) != name:
                raise Fails(f"{owners[_buffer(x)]} and {name} are one buffer.")
        carry = step(optimizer, *carry)


def flax_bytes(subject: Subject) -> None:
    """The state goes through flax.serialization, and the steps after it are the same."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    params, state = run(optimizer, params)
    written = flax.serialization.to_bytes(state)
    read = flax.serialization.from_bytes(optimizer.init(params), written)
    agree("the state read", read, state, rtol=0)
    agree("the steps after it", step(optimizer, params, read), step(optimizer, params, state))


def orbax_checkpoint(subject: Subject) -> None:
    """The state goes through an orbax checkpoint unchanged."""
    try:
        from orbax import checkpoint
    except ImportError:
        raise DoesNotApply("orbax-checkpoint is not installed.") from None
    kept = {"state": run(optimizer_of(subject), params_of(subject))[1]}  # no array alone is taken
    handler = checkpoint.StandardCheckpointHandler()
    with tempfile.TemporaryDirectory() as folder, checkpoint.Checkpointer(handler) as keeper:
        path = Path(folder) / "state"
        keeper.save(path, args=checkpoint.args.StandardSave(kept))
        read = keeper.restore(path, args=checkpoint.args.StandardRestore(kept))
    agree("the state read", read, kept, rtol=0)


def sharding(subject: Subject) -> None:
    """Sharded parameters keep their sharding in a compiled step."""
    if jax.device_count() < 2:
        raise DoesNotApply("there is one device only.")
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    params = params_of(subject)
    specs = {
        "dense": {"bias": PartitionSpec(), "kernel": PartitionSpec("rows")},
        "scale": PartitionSpec(),
    }
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    params = jax.device_put(params, shardings)
    optimizer = optimizer_of(subject)
    moved, _ = jax.jit(lambda p: step(optimizer, p, optimizer.init(p)))(params)
    for (path, p), wanted in zip(
        jax.tree_util.tree_flatten_with_path(moved)[0], jax.tree.leaves(shardings), strict=True
    ):
        if not p.sharding.is_equivalent_to(wanted, p.ndim):
            raise Fails(f"{jax.tree_util.keystr(path)} comes out as {p.sharding.spec}.")


def _buffer(x: jax.Array) -> int:
    is_key = jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)
    return (jax.random.key_data(x) if is_key else x).unsafe_buffer_pointer()


STORAGE = (donation, flax_bytes, orbax_checkpoint, sharding)
