"""HOG features."""

from __future__ import annotations

import numpy as np
import pytest

from feredge.baselines.runner import hog
from feredge.errors import PictureError


def test_hog_counts_the_orientations_of_edges() -> None:
    """Guards orientations, cells and blocks: brightness growing to the right has gradients of 0 degrees only.

    OpenCV shares an orientation of 0 degrees between the first bin (centre 10) and the last (centre 170).
    """
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8) * 5, (48, 48))
    features = hog(np.stack([ramp, ramp.T]))
    assert features.shape == (2, 5 * 5 * 4 * 9) and features.dtype == np.float32
    across, down = features.reshape(2, -1, 9).mean(axis=1)
    assert set(np.flatnonzero(across > 0.01)) == {0, 8} and set(np.flatnonzero(down > 0.01)) == {4}


def test_hog_sees_no_edge_in_a_constant_image() -> None:
    """Guards against division by a zero norm."""
    assert not hog(np.full((1, 48, 48), 90, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 50, 48), (1, 8, 8)])
def test_hog_refuses_sizes_without_whole_cells(shape: tuple[int, ...]) -> None:
    """Guards recipes with other image sizes: OpenCV would stop with an assertion."""
    with pytest.raises(PictureError, match="multiples of 8"):
        hog(np.zeros(shape, np.uint8))
