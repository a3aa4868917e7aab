"""The seven optimizers once more, in plain float64 numpy: nothing shared with dljax.

Each is `f(gradient, W, num_steps, learning_rate) -> W` on one array, with `gradient(W, t)` for
t = 1, 2, ... and `learning_rate(t)` for the rate of step t.
"""

import numpy as np


def sgd(gradient, W, num_steps, learning_rate):
    for t in range(1, num_steps + 1):
        W = W - learning_rate(t) * gradient(W, t)
    return W


def momentum(gradient, W, num_steps, learning_rate, beta=0.9):
    a = np.zeros_like(W)
    for t in range(1, num_steps + 1):
        a = beta * a + gradient(W, t)
        W = W - learning_rate(t) * a
    return W


def nag(gradient, W, num_steps, learning_rate, beta=0.9):
    a = np.zeros_like(W)
    for t in range(1, num_steps + 1):
        a = beta * a + gradient(W - learning_rate(t) * beta * a, t)
        W = W - learning_rate(t) * a
    return W


def adagrad(gradient, W, num_steps, learning_rate, eps=1e-16):
    G = np.zeros_like(W)
    for t in range(1, num_steps + 1):
        g = gradient(W, t)
        G = G + g**2
        W = W - learning_rate(t) * g / np.sqrt(G + eps)
    return W


def adadelta(gradient, W, num_steps, learning_rate, gamma=0.95, eps=1e-6):
    G, H = np.zeros_like(W), np.zeros_like(W)
    for t in range(1, num_steps + 1):
        g = gradient(W, t)
        G = gamma * G + (1 - gamma) * g**2
        step = np.sqrt(H + eps) / np.sqrt(G + eps) * g
        W = W - step
        H = gamma * H + (1 - gamma) * step**2
    return W


def rmsprop(gradient, W, num_steps, learning_rate, gamma=0.9, eps=1e-16):
    G = np.zeros_like(W)
    for t in range(1, num_steps + 1):
        g = gradient(W, t)
        G = gamma * G + (1 - gamma) * g**2
        W = W - learning_rate(t) * g / np.sqrt(G + eps)
    return W


def adam(gradient, W, num_steps, learning_rate, beta1=0.9, beta2=0.999, eps=1e-16):
    m, v = np.zeros_like(W), np.zeros_like(W)
    for t in range(1, num_steps + 1):
        g = gradient(W, t)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        c = np.sqrt(1 - beta2**t) / (1 - beta1**t)
        W = W - learning_rate(t) * c * m / np.sqrt(v + eps)
    return W
