"""Shapes for the masks of miniature datasets, and pictures where no photograph is at hand."""

import numpy as np
from numpy.typing import NDArray


def polygon_of(height: int, width: int, seed: int) -> list[float]:
    """Return a star-shaped polygon `[x1, y1, x2, y2, ...]` well inside an image of `height` x `width`."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(0.4, 1.0, 9)
    centre_x, centre_y = rng.uniform(0.35, 0.65, 2)
    x = width * (centre_x + 0.3 * radii * np.cos(angles))
    y = height * (centre_y + 0.3 * radii * np.sin(angles))
    return [round(float(value), 2) for value in np.stack([x, y], axis=1).ravel()]


def ellipse_of(height: int, width: int, seed: int) -> NDArray[np.bool_]:
    """Return a filled ellipse, bool [height, width]."""
    rng = np.random.default_rng(seed)
    centre_y, centre_x = rng.uniform(0.3, 0.7, 2)
    radius_y, radius_x = rng.uniform(0.1, 0.3, 2)
    y = (np.arange(height)[:, None] + 0.5) / height
    x = (np.arange(width)[None, :] + 0.5) / width
    inside: NDArray[np.bool_] = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2 <= 1
    return inside


def picture_of(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return an oblong, asymmetric colour picture of smooth waves and grain, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[None, :, None]
    frequency = rng.uniform(2, 9, (2, 3))
    waves = 0.5 + 0.25 * np.sin(frequency[0] * y + 3 * x**2) + 0.25 * np.cos(frequency[1] * x + y)
    grain = rng.normal(0, 0.05, (height, width, 3))
    picture: NDArray[np.uint8] = (np.clip(waves + grain, 0, 1) * 255).astype(np.uint8)
    return picture
