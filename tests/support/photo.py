"""A picture like a photograph, drawn."""

import numpy as np


def picture(height, width):
    """A picture with edges, soft parts, texture, black and white, and all colours."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    image = np.stack([x, y, (x + y) / 2], -1) * 150 + 40
    image[(y * 6 % 1 < 0.3) & (x * 5 % 1 < 0.5)] *= (1.2, 0.4, 0.7)
    image += 12 * np.sin(x * 90)[..., None]
    image[: height // 12] = 255
    image[-height // 12 :, : width // 3] = 0
    return np.clip(image, 0, 255).astype(np.uint8)
