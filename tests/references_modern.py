"""The newer optimizers once more, in plain float64 numpy: nothing shared with dljax.

As in `references`, each is `f(gradient, W, num_steps, learning_rate) -> W` on one array.
"""

import numpy as np


def descend(direction):
    """Makes of `direction(g, W, t, rate, memory)`, which remembers in a dict, a whole run."""

    def run(gradient, W, num_steps, learning_rate, **numbers):
        memory = {}
        for t in range(1, num_steps + 1):
            g = np.asarray(gradient(W, t))
            W = W - direction(g, W, t, learning_rate(t), memory, **numbers)
        return W

    return run


def mean(memory, name, new, decay):
    memory[name] = decay * memory.get(name, np.zeros_like(new)) + (1 - decay) * new
    return memory[name]


def adam_direction(g, t, memory, beta1, beta2, eps):
    m_hat = mean(memory, "m", g, beta1) / (1 - beta1**t)
    v_hat = mean(memory, "v", g * g, beta2) / (1 - beta2**t)
    return m_hat / np.sqrt(v_hat + eps / (1 - beta2**t))


@descend
def adamw(g, W, t, rate, memory, decay=0.01):
    return rate * adam_direction(g, t, memory, 0.9, 0.999, 1e-16) + rate * decay * W


@descend
def amsgrad(g, W, t, rate, memory):
    m_hat = mean(memory, "m", g, 0.9) / (1 - 0.9**t)
    largest = memory["w"] = np.maximum(memory.get("w", 0.0), mean(memory, "v", g * g, 0.999))
    return rate * m_hat / np.sqrt((largest + 1e-16) / (1 - 0.999**t))


@descend
def nadam(g, W, t, rate, memory, psi=0.004):
    mus = [0.9 * (1 - 0.5 * 0.96 ** (psi * i)) for i in range(1, t + 2)]
    m = mean(memory, "m", g, mus[t - 1])
    look = mus[t] * m / (1 - np.prod(mus)) + (1 - mus[t - 1]) * g / (1 - np.prod(mus[:-1]))
    return rate * look / np.sqrt((mean(memory, "v", g * g, 0.999) + 1e-16) / (1 - 0.999**t))


@descend
def adamax(g, W, t, rate, memory):
    m_hat = mean(memory, "m", g, 0.9) / (1 - 0.9**t)
    memory["v"] = np.maximum(0.999 * memory.get("v", 0.0), np.abs(g) + 1e-8)
    return rate * m_hat / memory["v"]


@descend
def adabelief(g, W, t, rate, memory):
    m = mean(memory, "m", g, 0.9)
    memory["s"] = mean(memory, "s", (g - m) ** 2, 0.999) + 1e-16
    return rate * m / (1 - 0.9**t) / (np.sqrt(memory["s"] / (1 - 0.999**t)) + 1e-16)


@descend
def radam(g, W, t, rate, memory):
    m_hat = mean(memory, "m", g, 0.9) / (1 - 0.9**t)
    v = mean(memory, "v", g * g, 0.999)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    if length <= 4:
        return rate * m_hat
    r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return rate * np.sqrt(r * (1 - 0.999**t) / (v + 1e-16)) * m_hat


@descend
def signum(g, W, t, rate, memory):
    return rate * np.sign(mean(memory, "m", g, 0.9))


@descend
def lion(g, W, t, rate, memory, decay=0.001):
    c = 0.9 * memory.get("m", 0.0) + 0.1 * g
    mean(memory, "m", g, 0.99)
    return rate * np.sign(c) + rate * decay * W


@descend
def lars(g, W, t, rate, memory, trust=0.1, decay=0.05):
    w, n = np.sqrt(np.sum(W * W)), np.sqrt(np.sum(g * g))
    local = trust * w / (n + decay * w) if w > 0 and n > 0 else 1.0
    memory["a"] = 0.9 * memory.get("a", 0.0) + rate * local * (g + decay * W)
    return memory["a"]


@descend
def lamb(g, W, t, rate, memory, decay=0.01):
    r = adam_direction(g, t, memory, 0.9, 0.999, 1e-12) + decay * W
    w, n = np.sqrt(np.sum(W * W)), np.sqrt(np.sum(r * r))
    return rate * (w / n if w > 0 and n > 0 else 1.0) * r


@descend
def adafactor(g, W, t, rate, memory):
    beta = 1 - t**-0.8
    if g.ndim < 2:
        V = mean(memory, "V", g * g + 1e-30, beta)
    else:
        full = g * g + 1e-30
        R = mean(memory, "R", np.einsum("...ij->...i", full), beta)
        C = mean(memory, "C", np.einsum("...ij->...j", full), beta)
        V = np.einsum("...i,...j,...->...ij", R, C, 1 / R.sum(-1))
    d = g / np.sqrt(V)
    d = d / max(1.0, np.sqrt(np.mean(d * d)))
    return rate * max(1e-3, np.sqrt(np.mean(W * W))) * d


def quintic(S, num_iterations=5):
    """What Newton & Schulz's iteration of Muon does to singular values."""
    for _ in range(num_iterations):
        S = 3.4445 * S - 4.7750 * S**3 + 2.0315 * S**5
    return S


@descend
def muon(g, W, t, rate, memory, decay=0.01):
    if g.ndim != 2:
        return 0.015 * rate * (adam_direction(g, t, memory, 0.9, 0.95, 1e-16) + decay * W)
    memory["m"] = 0.95 * memory.get("m", 0.0) + g
    G = g + 0.95 * memory["m"]
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    X = U * quintic(S / np.sqrt(np.sum(S * S) + 1e-16)) @ Vt
    return rate * (np.sqrt(max(1.0, g.shape[1] / g.shape[0])) * X + decay * W)


def unfolded(g, axis):
    return np.moveaxis(g, axis, 0).reshape(g.shape[axis], -1)


def multiplied(g, A, axis):
    return np.moveaxis(np.tensordot(A, g, axes=(1, axis)), 0, axis)


@descend
def shampoo(g, W, t, rate, memory):
    u = g = np.atleast_1d(g)
    for i, n in enumerate(g.shape):
        G = unfolded(g, i)
        memory[i] = memory.get(i, 1e-4 * np.eye(n)) + G @ G.T
        x, Q = np.linalg.eigh(memory[i])
        u = multiplied(u, Q @ np.diag(x ** (-0.5 / g.ndim)) @ Q.T, i)
    return rate * u.reshape(W.shape)


@descend
def soap(g, W, t, rate, memory, every=10, eps=1e-8):
    axes = range(g.ndim) if g.ndim > 1 else ()
    for i in axes:
        L = mean(memory, ("L", i), unfolded(g, i) @ unfolded(g, i).T, 0.95)
        if t == 1:
            memory["Q", i] = np.linalg.eigh(L)[1][:, ::-1]
        elif t % every == 1:
            memory["Q", i] = np.linalg.qr(L @ memory["Q", i])[0]

    def rotated(x, transpose):
        for i in axes:
            Q = memory["Q", i]
            x = multiplied(x, Q.T if transpose else Q, i)
        return x

    m = rotated(mean(memory, "m", g, 0.95), True)
    v = mean(memory, "v", rotated(g, True) ** 2, 0.95)
    scale = np.sqrt(1 - 0.95**t) / (1 - 0.95**t)
    return rate * scale * rotated(m / np.sqrt(v + eps), False)
