"""The loops and libraries that one would train many small nets with instead of a study.

Each is `peer(workload) -> run`, and `run(seeds) -> float[P]` trains one net for each seed with Adam
and returns their losses on the last fifth of the rows. All draw reshuffled epochs of full batches.
"""

import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workloads import LEARNING_RATE, Workload, num_train, task

from dljax.lanes import num_cores


def per_step_jit(workload: Workload):
    """A Python loop over a jitted step of flax's own layers, one member after the other."""
    start, step, evaluate = _optax_parts(workload, workload.usual)
    start, evaluate = jax.jit(start), jax.jit(evaluate)
    jitted = jax.jit(step, donate_argnums=0)
    x, y = jnp.asarray(workload.x), jnp.asarray(workload.y)

    def one(seed):
        state = start(x, jax.random.key(seed))
        for index in batch_order(workload, seed):
            state = jitted(state, x, y, index)
        return float(evaluate(state, x, y))

    return lambda seeds: np.array([one(int(seed)) for seed in seeds])


def whole_run_jit(workload: Workload):
    """A Python loop over runs that are compiled whole, of dljax's layers."""
    run = jax.jit(_whole_run(workload))
    x, y = jnp.asarray(workload.x), jnp.asarray(workload.y)
    return lambda seeds: np.array([float(run(x, y, seed)) for seed in seeds])


def jit_vmap_scan(workload: Workload):
    """All runs in one program, as an expert writes it: `jit(vmap(scan))`, of dljax's layers."""
    run = jax.jit(jax.vmap(_whole_run(workload), (None, None, 0)))
    x, y = jnp.asarray(workload.x), jnp.asarray(workload.y)
    return lambda seeds: np.asarray(run(x, y, seeds))


def pytorch_eager(workload: Workload, num_threads: int):
    """PyTorch's eager loop with its fused Adam, one member after the other."""
    import torch

    x, y = torch.tensor(workload.x), _torch_targets(workload)
    held_out = slice(num_train(workload), None)

    def one(seed):
        torch.manual_seed(seed)
        net = _torch_net(workload)
        adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        for index in torch.from_numpy(batch_order(workload, seed)):
            adam.zero_grad(set_to_none=True)
            _torch_loss(net(x[index]), y[index]).backward()
            adam.step()
        with torch.no_grad():
            return _torch_loss(net(x[held_out]), y[held_out]).item()

    def run(seeds):
        torch.set_num_threads(num_threads)
        return np.array([one(int(seed)) for seed in seeds])

    return run


def torch_func(workload: Workload, num_threads: int):
    """PyTorch's ensemble: stacked parameters, `vmap` of `grad`, one fused Adam for all."""
    import torch
    from torch.func import functional_call, grad, stack_module_state, vmap

    x, y = torch.tensor(workload.x), _torch_targets(workload)
    held_out = slice(num_train(workload), None)
    skeleton = _torch_net(workload).to("meta")

    def loss(params, x, y):
        return _torch_loss(functional_call(skeleton, params, (x,)), y)

    grads_of_all, losses_of_all = vmap(grad(loss)), vmap(loss, (0, None, None))

    def run(seeds):
        torch.set_num_threads(num_threads)
        nets = []
        for seed in seeds:
            torch.manual_seed(int(seed))
            nets.append(_torch_net(workload))
        params, _ = stack_module_state(nets)
        adam = torch.optim.Adam(params.values(), lr=LEARNING_RATE, fused=True)
        orders = torch.from_numpy(np.stack([batch_order(workload, seed) for seed in seeds], 1))
        for index in orders:
            grads = grads_of_all({k: p.detach() for k, p in params.items()}, x[index], y[index])
            for name, p in params.items():
                p.grad = grads[name]
            adam.step()
        with torch.no_grad():
            return losses_of_all(params, x[held_out], y[held_out]).numpy()

    return run


def sklearn_joblib(workload: Workload):
    """scikit-learn's perceptrons, one on each core."""
    from joblib import Parallel, delayed

    if workload.sizes is None:
        raise NotImplementedError("scikit-learn trains plain perceptrons alone.")
    fit = delayed(partial(_sklearn_fit, workload._replace(net=None, usual=None)))
    pool = Parallel(n_jobs=num_cores())
    return lambda seeds: np.array(pool(fit(int(seed)) for seed in seeds))


def sklearn_steps(workload: Workload) -> int:
    """Steps that scikit-learn takes: whole epochs, the last batch of each smaller."""
    slots = -(-num_train(workload) // workload.batch_size)
    return -(-workload.num_steps // slots) * slots


def batch_order(workload: Workload, seed: int) -> np.ndarray:
    """Draws reshuffled epochs of full batches, int64[T, B]."""
    draw, size = np.random.default_rng(seed), workload.batch_size
    slots = num_train(workload) // size
    epochs = [
        draw.permutation(num_train(workload))[: slots * size].reshape(slots, size)
        for _ in range(-(-workload.num_steps // slots))
    ]
    return np.concatenate(epochs)[: workload.num_steps]


def _optax_parts(workload, net):
    learnt, adam = task(workload, net), optax.adam(LEARNING_RATE)
    held_out = slice(num_train(workload), None)

    def start(x, key):
        params = learnt.init(key, {"x": x[:1]})
        return params, adam.init(params)

    def mean_loss(params, x, y):
        batch = {"x": x, "y": y}
        return learnt.loss(learnt.predict(params, batch)[0], batch).mean()

    def step(state, x, y, index):
        params, opt_state = state
        grads = jax.grad(mean_loss)(params, x[index], y[index])
        updates, opt_state = adam.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state

    return start, step, lambda state, x, y: mean_loss(state[0], x[held_out], y[held_out])


def _whole_run(workload):
    start, step, evaluate = _optax_parts(workload, workload.net)
    count, size = num_train(workload), workload.batch_size
    slots = count // size
    num_epochs = -(-workload.num_steps // slots)

    def run(x, y, seed):
        key, shuffles = jax.random.split(jax.random.key(seed))
        order = lambda key: jax.random.permutation(key, count)[: slots * size]  # noqa: E731
        orders = jax.vmap(order)(jax.random.split(shuffles, num_epochs))
        indices = orders.reshape(-1, size)[: workload.num_steps]
        one_step = lambda state, index: (step(state, x, y, index), None)  # noqa: E731
        return evaluate(jax.lax.scan(one_step, start(x, key), indices)[0], x, y)

    return run


def _torch_targets(workload):
    import torch

    y = torch.tensor(workload.y)
    return y.long() if workload.y.dtype.kind == "i" else y


def _torch_loss(outputs, y):
    from torch.nn import functional

    if y.is_floating_point():
        return functional.mse_loss(outputs[..., 0], y)
    return functional.cross_entropy(outputs, y)


def _torch_net(workload):
    from torch import nn

    if workload.sizes is not None:
        pairs = itertools.pairwise(workload.sizes)
        layers = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers[:-1])
    if workload.x.shape[1:] == (28, 28):
        convolutions = [
            layer
            for channels in ((1, 8), (8, 16))
            for layer in (nn.Conv2d(*channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        dense = [nn.Flatten(), nn.Linear(16 * 49, 64), nn.ReLU(), nn.Linear(64, 10)]
        return nn.Sequential(nn.Unflatten(1, (1, 28)), *convolutions, *dense)
    return _last_of_lstm()()


@cache  # one class: an ensemble is of nets of the same one
def _last_of_lstm():
    from torch import nn

    class LastOfLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.outputs = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)

        def forward(self, x):
            return self.outputs(self.layer(x)[0][:, -1])

    return LastOfLSTM


def _sklearn_fit(workload, seed):
    import warnings

    from sklearn.metrics import log_loss, mean_squared_error
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    count, classes = num_train(workload), workload.y.dtype.kind == "i"
    net = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=workload.sizes[1:-1],
        alpha=0.0,
        batch_size=workload.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=sklearn_steps(workload) // -(-count // workload.batch_size),
        n_iter_no_change=10**9,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was not to converge
        net.fit(workload.x[:count], workload.y[:count])
    if classes:
        return log_loss(workload.y[count:], net.predict_proba(workload.x[count:]))
    return mean_squared_error(workload.y[count:], net.predict(workload.x[count:]))
