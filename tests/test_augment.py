"""Random changes of training rows: what they do, and whose draws they are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import dljax as dj
from dljax.augment import in_turn, mirror, noise, shift

KEY = jax.random.key(0)
IMAGES = np.arange(1, 1 + 40 * 5 * 6 * 2, dtype=np.float32).reshape(40, 5, 6, 2)


def moved(image, down, right):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    return padded[2 + down : 7 + down, 2 + right : 8 + right]


@pytest.mark.parametrize("channels", [True, False])
def test_each_image_moves_by_its_own_whole_pixels_with_zeros_from_outside(channels):
    images = IMAGES if channels else IMAGES[..., 0]
    found = np.asarray(shift(KEY, jnp.asarray(images), 2))
    seen = set()
    for image, one in zip(IMAGES, found):
        expected = {
            (down, right): moved(image, down, right)[..., slice(None) if channels else 0]
            for down in range(-2, 3)
            for right in range(-2, 3)
        }
        (move,) = [m for m, e in expected.items() if (e == one).all()]
        seen.add(move)
    assert len(seen) > 12  # of 25, in 40 draws
    np.testing.assert_array_equal(shift(KEY, jnp.asarray(images), 0), images)


def test_images_are_mirrored_at_the_rate():
    assert (mirror(KEY, IMAGES, 1.0) == IMAGES[:, :, ::-1]).all()
    assert (mirror(KEY, IMAGES, 0.0) == IMAGES).all()
    many = mirror(KEY, jnp.broadcast_to(jnp.arange(2.0), (4000, 1, 2)), 0.3)
    assert abs(many[:, 0, 0].mean() - 0.3) < 0.03  # four standard deviations


def test_noise_has_its_standard_deviation():
    found = noise(KEY, jnp.zeros((100, 100)), 0.5)
    assert abs(found.std() - 0.5) < 0.015
    assert noise(KEY, jnp.zeros((3,), jnp.bfloat16), 0.5).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shift(KEY, IMAGES, 6), r"pixels must be in \[0, 5\], got 6"),
        (lambda: mirror(KEY, IMAGES, 2.0), r"rate must be in \[0, 1\], got 2"),
        (lambda: noise(KEY, IMAGES, -1.0), r"scale must be in \[0, inf\), got -1"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_training_sees_changed_rows_and_evaluation_does_not():
    task = dj.augmented(small.classifier(), in_turn(lambda key, x: x * jnp.nan))
    fit = dj.trainer(task, dj.optimizers.sgd(0.1), small.blobs(), batch_size=8)
    state = fit.init(KEY)
    assert np.isfinite(fit.evaluate(state)["train_loss"])
    rows = jax.tree.map(lambda x: x[0], fit.draw(state, 1))
    assert np.isnan(fit.step(state, rows)[1])


def test_a_further_change_leaves_the_draws_of_the_others_alone():
    batch = {"x": jnp.asarray(IMAGES), "y": jnp.arange(40)}
    shifted = partial(shift, pixels=2)
    one = in_turn(shifted)(KEY, batch)
    two = in_turn(shifted, lambda key, x: x + 1)(KEY, batch)
    np.testing.assert_array_equal(two["x"], one["x"] + 1)
    assert two["y"] is batch["y"]


def test_members_of_a_study_draw_their_own_changes():
    task = dj.augmented(small.classifier(), in_turn(partial(noise, scale=1.0)))

    def member(data, *, seed):
        fit = dj.trainer(task, dj.optimizers.sgd(0.1), data, batch_size=None)
        state = fit.init(KEY)._replace(key=dj.stream(KEY, "member", seed))
        return dj.run(fit, state, num_steps=1)[1]["train_loss"][-1]

    losses = dj.study(member, small.blobs(), axes={"seed": np.arange(3)}, progress=False).results
    assert len(set(losses.tolist())) == 3
