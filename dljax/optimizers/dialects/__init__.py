"""The same optimizer as the papers, optax, PyTorch, Keras 3 and TensorFlow 1 compute it.

Libraries give one name to different formulas: they add eps inside or outside of a root, start
sums from other values, correct averages or not, keep the learning rate inside or outside of the
momentum, and decay weights through the gradient or beside the update. Each module here writes out
one dialect, with its defaults; `divergence` and `matrix` measure how far they are apart.

All names are dljax's, in every dialect, so that arms are compared argument by argument. Where a
dialect lacks an argument, its formula has none.

    learning_rate  step size, >= 0, in units of the parameters; a schedule sees 0 first
    b              decay of the momentum, in [0, 1), per step
    b1, b2         decays of the means of g and g^2 in Adam's kin, in [0, 1), per step
    decay          decay of the means in RMSprop and Adadelta, in [0, 1), per step
    eps            > 0, in units of the gradient outside a root, of its square inside
    initial        what the sum or mean of the squared gradients starts from, >= 0
    weight_decay   >= 0; it needs the parameters: update(grads, state, params)

Every number but a schedule may be traced; a concrete one out of its range is a `ValueError` that
says the rule and what came, and so is a missing argument `params` where weights are decayed.
"""

from dljax.optimizers.dialects import keras, optax, paper, tf1, torch
from dljax.optimizers.dialects.distances import DIALECTS, divergence, matrix

__all__ = ["DIALECTS", "divergence", "keras", "matrix", "optax", "paper", "tf1", "torch"]
