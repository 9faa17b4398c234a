"""Suite views: a map of a million blocks, at every zoom."""

from functools import partial

import numpy as np

from ..core.raster import USED, rasterise
from ..metrics import latency
from .measuring import Figure, Figures, Progress, alternate, processor_ns

BLOCKS, HEIGHT, WIDTH = 10**6, 512, 1024


def measure(tell: Progress) -> Figures:
    """ms of 1024 x 512 pixels: of the whole space, and of an ever smaller part in the middle."""
    blocks, granules = latency.generated(BLOCKS)
    categories = (USED + blocks["order"]).astype(np.uint8)
    ranges, each = np.array([(0, granules)]), HEIGHT * WIDTH
    zooms = [1 << zoom for zoom in range((granules // each).bit_length(), -1, -1)]
    tell(0.2, f"{len(zooms)} zooms")

    def turn(per_pixel: int) -> float:
        first = max(granules - each * per_pixel, 0) // 2
        window = first, per_pixel, HEIGHT, WIDTH
        return processor_ns(partial(rasterise, blocks, categories, ranges, granules, *window)) / 1e6

    turn(1)
    timed = alternate({str(zoom): partial(turn, zoom) for zoom in zooms})
    slowest = max(timed.values(), key=lambda ms: Figure.of(ms, "ms").median)
    return {
        "map.1e6.whole_ms": Figure.of(timed[str(zooms[0])], "ms"),
        "map.1e6.slowest_ms": Figure.of(slowest, "ms"),
    }
