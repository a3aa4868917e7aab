"""Papers, Keras 3 and TensorFlow 1 once more, in plain float64 numpy: nothing shared with dljax.

Each is `f(gradient, theta, num_steps, learning_rate, **numbers) -> theta` on one array, with
`gradient(theta, t)` for t = 1, 2, ... and `learning_rate(t)`. The defaults are the libraries' own,
but for a momentum of 0.9. Keras shrinks the weights before each update; TensorFlow 1 has the
gradient of weight_decay / 2 ||theta||^2 in its gradients.
"""

import numpy as np


def paper_momentum(gradient, theta, num_steps, learning_rate, b=0.9):
    before = theta
    for t in range(1, num_steps + 1):  # Polyak's form, whose step is b times the last one
        ahead = theta - learning_rate(t) * gradient(theta, t) + b * (theta - before)
        before, theta = theta, ahead
    return theta


def paper_nag(gradient, W, num_steps, learning_rate, b=0.9):
    v = np.zeros_like(W)
    for t in range(1, num_steps + 1):
        v = b * v - learning_rate(t) * gradient(W + b * v, t)
        W = W + v
    return W


def paper_adagrad(gradient, theta, num_steps, learning_rate, eps=1e-8):
    past = []
    for t in range(1, num_steps + 1):
        g = gradient(theta, t)
        past.append(g)
        H = eps + np.linalg.norm(past, axis=0)
        theta = theta - learning_rate(t) * g / H
    return theta


def paper_centered_rmsprop(gradient, theta, num_steps, learning_rate, decay=0.95, eps=1e-4, b=0.9):
    n, mean, step = (np.zeros_like(theta) for _ in range(3))
    for t in range(1, num_steps + 1):
        g = gradient(theta, t)
        n = decay * n + (1 - decay) * g * g
        mean = decay * mean + (1 - decay) * g
        step = b * step - learning_rate(t) * g / np.sqrt(n - mean * mean + eps)
        theta = theta + step
    return theta


def _adam(gradient, theta, num_steps, b1, b2, update):
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, num_steps + 1):
        g = gradient(theta, t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        theta = update(theta, g, m, v, t)
    return theta


def paper_adam(gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    def update(theta, g, m, v, t):
        return theta - learning_rate(t) * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

    return _adam(gradient, theta, num_steps, b1, b2, update)


def paper_adam_hat(gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    def update(theta, g, m, v, t):
        rate = learning_rate(t) * np.sqrt(1 - b2**t) / (1 - b1**t)
        return theta - rate * m / (np.sqrt(v) + eps)

    return _adam(gradient, theta, num_steps, b1, b2, update)


def paper_adamw(
    gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0
):
    def update(theta, g, m, v, t):
        step = learning_rate(t) * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        return theta - step - weight_decay * theta

    return _adam(gradient, theta, num_steps, b1, b2, update)


def paper_nadam(gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    def update(theta, g, m, v, t):
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        return theta - learning_rate(t) * m_hat / (np.sqrt(b2 * v / (1 - b2**t)) + eps)

    return _adam(gradient, theta, num_steps, b1, b2, update)


def keras_sgd(gradient, theta, num_steps, learning_rate, weight_decay=0.0):
    return keras_momentum(gradient, theta, num_steps, learning_rate, 0.0, weight_decay)


def keras_momentum(
    gradient, theta, num_steps, learning_rate, b=0.9, weight_decay=0.0, nesterov=False
):
    velocity = np.zeros_like(theta)
    for t in range(1, num_steps + 1):
        g, rate = gradient(theta, t), learning_rate(t)
        theta = theta - theta * weight_decay * rate
        velocity = b * velocity - rate * g
        theta = theta + (b * velocity - rate * g if nesterov else velocity)
    return theta


def keras_nag(gradient, theta, num_steps, learning_rate, b=0.9, weight_decay=0.0):
    return keras_momentum(gradient, theta, num_steps, learning_rate, b, weight_decay, nesterov=True)


def keras_adagrad(
    gradient, theta, num_steps, learning_rate, eps=1e-7, initial=0.1, weight_decay=0.0
):
    accumulator = np.full_like(theta, initial)
    for t in range(1, num_steps + 1):
        g, rate = gradient(theta, t), learning_rate(t)
        theta = theta - theta * weight_decay * rate
        accumulator = accumulator + g * g
        theta = theta - rate * g / np.sqrt(accumulator + eps)
    return theta


def keras_adadelta(
    gradient, theta, num_steps, learning_rate, decay=0.95, eps=1e-7, weight_decay=0.0
):
    squares, steps = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, num_steps + 1):
        g, rate = gradient(theta, t), learning_rate(t)
        theta = theta - theta * weight_decay * rate
        squares = decay * squares + (1 - decay) * g * g
        step = -np.sqrt(steps + eps) * g / np.sqrt(squares + eps)
        steps = decay * steps + (1 - decay) * step * step
        theta = theta + rate * step
    return theta


def keras_rmsprop(
    gradient, theta, num_steps, learning_rate, decay=0.9, eps=1e-7, b=0.0, weight_decay=0.0
):
    return _rmsprop(
        gradient, theta, num_steps, learning_rate, decay, eps, b, 0.0, shrink=weight_decay
    )


def keras_centered_rmsprop(
    gradient, theta, num_steps, learning_rate, decay=0.9, eps=1e-7, b=0.0, weight_decay=0.0
):
    return _rmsprop(
        gradient, theta, num_steps, learning_rate, decay, eps, b, 0.0, weight_decay, centered=1
    )


def _rmsprop(
    gradient, theta, num_steps, learning_rate, decay, eps, b, initial, shrink=0.0, centered=0
):
    square, mean, step = np.full_like(theta, initial), np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, num_steps + 1):
        g, rate = gradient(theta, t), learning_rate(t)
        theta = theta - theta * shrink * rate
        square = decay * square + (1 - decay) * g * g
        mean = decay * mean + (1 - decay) * g
        step = b * step + rate * g / np.sqrt(square - centered * mean * mean + eps)
        theta = theta - step
    return theta


def keras_adam(
    gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-7, weight_decay=0.0
):
    def update(theta, g, m, v, t):
        rate = learning_rate(t)
        theta = theta - theta * weight_decay * rate
        return theta - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)

    return _adam(gradient, theta, num_steps, b1, b2, update)


def keras_adamw(gradient, theta, num_steps, learning_rate, weight_decay=4e-3, **numbers):
    return keras_adam(
        gradient, theta, num_steps, learning_rate, weight_decay=weight_decay, **numbers
    )


def keras_nadam(
    gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-7, weight_decay=0.0
):
    mus = b1 * (1 - 0.5 * 0.96 ** np.arange(1.0, num_steps + 2))
    products = np.cumprod(mus)

    def update(theta, g, m, v, t):
        theta = theta - theta * weight_decay * learning_rate(t)
        ahead = mus[t] * m / (1 - products[t]) + (1 - mus[t - 1]) * g / (1 - products[t - 1])
        return theta - learning_rate(t) * ahead / (np.sqrt(v / (1 - b2**t)) + eps)

    return _adam(gradient, theta, num_steps, b1, b2, update)


def _with_l2(gradient, weight_decay):
    return lambda theta, t: gradient(theta, t) + weight_decay * theta


def tf1_sgd(gradient, theta, num_steps, learning_rate, weight_decay=0.0):
    return tf1_momentum(gradient, theta, num_steps, learning_rate, 0.0, weight_decay)


def tf1_momentum(
    gradient, theta, num_steps, learning_rate, b=0.9, weight_decay=0.0, nesterov=False
):
    gradient, accumulator = _with_l2(gradient, weight_decay), np.zeros_like(theta)
    for t in range(1, num_steps + 1):
        g, rate = gradient(theta, t), learning_rate(t)
        accumulator = b * accumulator + g
        theta = theta - (rate * g + rate * b * accumulator if nesterov else rate * accumulator)
    return theta


def tf1_nag(gradient, theta, num_steps, learning_rate, b=0.9, weight_decay=0.0):
    return tf1_momentum(gradient, theta, num_steps, learning_rate, b, weight_decay, nesterov=True)


def tf1_adagrad(gradient, theta, num_steps, learning_rate, initial=0.1, weight_decay=0.0):
    return keras_adagrad(
        _with_l2(gradient, weight_decay), theta, num_steps, learning_rate, eps=0.0, initial=initial
    )


def tf1_adadelta(gradient, theta, num_steps, learning_rate, decay=0.95, eps=1e-8, weight_decay=0.0):
    return keras_adadelta(
        _with_l2(gradient, weight_decay), theta, num_steps, learning_rate, decay, eps
    )


def tf1_rmsprop(
    gradient, theta, num_steps, learning_rate, decay=0.9, eps=1e-10, b=0.0, weight_decay=0.0
):
    gradient = _with_l2(gradient, weight_decay)
    return _rmsprop(gradient, theta, num_steps, learning_rate, decay, eps, b, initial=1.0)


def tf1_centered_rmsprop(
    gradient, theta, num_steps, learning_rate, decay=0.9, eps=1e-10, b=0.0, weight_decay=0.0
):
    gradient = _with_l2(gradient, weight_decay)
    return _rmsprop(
        gradient, theta, num_steps, learning_rate, decay, eps, b, initial=1.0, centered=1
    )


def tf1_adam(
    gradient, theta, num_steps, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0
):
    return keras_adam(
        _with_l2(gradient, weight_decay), theta, num_steps, learning_rate, b1, b2, eps
    )
