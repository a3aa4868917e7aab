"""Members that predict a normal each: as a learner's outputs, joined, and scored."""

from typing import Any

import jax
import jax.numpy as jnp

from dljax.losses import mean_and_variance
from dljax.predict.ensemble import normal_mixture
from dljax.predict.regression import log_likelihood
from dljax.types import Batch, Metrics


def normal_outputs(outputs: jax.Array, scale: Any) -> dict[str, jax.Array]:
    """Reads the two outputs of a network as a normal in units of the target.

    It is what `dj.scaled(learner, target="y", restore=dj.predict.normal_outputs)` asks for, where
    the loss is `dj.losses.gaussian_nll`.

    Args:
      outputs: float[..., 2], see `dj.losses.mean_and_variance`.
      scale: `mean` and `sd` of the target, such as of `dj.standardizer`.

    Returns:
      "mean" and "variance", float[...] each.
    """
    mean, variance = mean_and_variance(outputs)
    return {"mean": scale.mean + scale.sd * mean, "variance": scale.sd**2 * variance}


def normal_ensemble(members: dict[str, jax.Array]) -> dict[str, Any]:
    """Joins S normals to one, see `normal_mixture`; it is what `dj.ensemble` asks for.

    Args:
      members: "mean" and "variance", float[S, B] each.

    Returns:
      "mean" and "variance" of the mixture, float[B] each, and "members", those of the members,
      float[B, S].
    """
    mean, variance = normal_mixture(members["mean"], members["variance"])
    return {"mean": mean, "variance": variance, "members": jax.tree.map(lambda x: x.T, members)}


def normal_scores(outputs: dict[str, Any], batch: Batch) -> Metrics:
    """Scores a normal, and those that it is made of; it is what `Learner.measure` asks for.

    Args:
      outputs: Of `normal_outputs`, or of `normal_ensemble`.
      batch: With the targets "y", float[B].

    Returns:
      "nll", nats, and "squared_error", float[B]; of an ensemble also "member_nll" and
      "member_squared_error", float[B, S], and "mixture_nll", float[B], that of the S normals before
      they are joined to one.
    """
    y = batch["y"]

    def scores(mean, variance):
        nll = -log_likelihood(mean[None], variance[None], y)
        return {"nll": nll, "squared_error": (mean - y) ** 2}

    one = scores(outputs["mean"], outputs["variance"])
    if "members" not in outputs:
        return one
    members = outputs["members"]
    of_members = jax.vmap(scores, 1, 1)(members["mean"], members["variance"])
    mixture = -log_likelihood(members["mean"].T, members["variance"].T, y)
    return {
        **one,
        **{f"member_{name}": x for name, x in of_members.items()},
        "mixture_nll": mixture,
    }


def draw_scores(outputs: dict[str, jax.Array], batch: Batch) -> Metrics:
    """Scores the masks of MC-dropout as one mixture of normals; for `Learner.measure`.

    Args:
      outputs: "draws", float[B, T], of `mc_dropout`, and "variance" of the noise, 1 / tau, > 0,
        float[B], both in units of the target.
      batch: With the targets "y", float[B].

    Returns:
      "nll", nats, see `log_likelihood`, and "squared_error" of the mean of the draws, float[B].
    """
    draws, y = outputs["draws"].T, batch["y"]
    variance = jnp.broadcast_to(outputs["variance"][None], draws.shape)
    return {
        "nll": -log_likelihood(draws, variance, y),
        "squared_error": (draws.mean(axis=0) - y) ** 2,
    }
