"""The pictures of predictions show the numbers that they are given."""

import numpy as np

from dljax import predict
from dljax.comparison.canvas import picture
from dljax.predict_pictures import bands, reliability_diagram, selective_risk

PNG = b"\x89PNG"


def test_a_reliability_diagram_has_a_point_for_each_bin_and_hollow_ones_for_few_rows():
    table = predict.Reliability(
        np.array([0.3, np.nan, 0.9]), np.array([1.0, np.nan, 0.8]), np.array([1, 0, 99])
    )
    figure = reliability_diagram({"ensemble": table})
    above, below = figure.axes
    _, many, few = above.lines
    np.testing.assert_allclose(many.get_xydata(), [[0.9, 0.8]])
    np.testing.assert_allclose(few.get_xydata(), [[0.3, 1.0]])
    np.testing.assert_allclose(below.lines[0].get_ydata(), [1, 99])
    low, high = above.collections[0].get_segments()[0][:, 1]
    assert 0.2 < low < 0.21  # Wilson's interval of one right of one: [1 / (1 + z^2), 1]
    assert abs(high - 1) < 1e-9
    assert picture(figure, "png")[:4] == PNG


def test_risk_and_bands_are_those_that_were_given():
    curve = predict.RiskCoverage(np.array([0.5, 1]), np.array([0.1, 0.2]))
    figure = selective_risk({"ensemble": curve, "one member": curve})
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[50, 0.1], [100, 0.2]])
    x = np.array([2.0, 0, 1])  # in no order
    parts = predict.Uncertainty(np.full(3, 0.25), np.full(3, 0.16), np.full(3, 0.09))
    figure = bands(x, x**2, parts, (x, x))
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 0], [1, 1], [2, 4]])
    total, epistemic = (band.get_paths()[0].vertices[:, 1] for band in axes.collections)
    assert (total.min(), total.max()) == (-1, 5)
    np.testing.assert_allclose((epistemic.min(), epistemic.max()), (-0.6, 4.6))
    assert picture(figure, "png")[:4] == PNG
