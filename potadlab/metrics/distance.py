"""How far an allocator's free memory is from the recorded kernel's, the truth it answers to.

At one moment: the share of free memory that stands in blocks of another order, half the sum over
orders of |granules free here - granules free in the record|, over what is free in the record.
Free memory is counted alike for both (`core/census.py`): what per-CPU lists hold is free.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distance:
    """Of one allocator from the record, at moments evenly spaced in time; shares of free memory."""

    allocator: str
    time_ns: np.ndarray  # i8[sample]
    share: np.ndarray  # f8[sample]
    moved: np.ndarray  # f8[sample]  of the record from its own start: what there is to foresee
    signed: np.ndarray  # f8[sample, order]  more free here than in the record, by order

    @property
    def mean(self) -> float:
        return float(self.share.mean())

    @property
    def worst(self) -> float:
        return float(self.share.max())

    @property
    def end(self) -> float:
        return float(self.share[-1])

    @property
    def moved_mean(self) -> float:
        return float(self.moved.mean())

    def as_dict(self) -> dict[str, object]:
        """What `replay --json` says of it; by order: mean over the moments, and at the end."""
        return {
            "mean": round(self.mean, 5),
            "worst": round(self.worst, 5),
            "end": round(self.end, 5),
            "record_moved": round(self.moved_mean, 5),
            "by_order": {
                "mean": np.round(self.signed.mean(axis=0), 5).tolist(),
                "end": np.round(self.signed[-1], 5).tolist(),
            },
        }


def distance(
    allocator: str,
    time_ns: np.ndarray,
    free_blocks: np.ndarray,
    recorded: np.ndarray,
    order_max: int,
) -> Distance:
    """Distance of free_blocks i8[sample, order] from `recorded`, at the same moments.

    Larger blocks count as so many of order_max: the recorded kernel has none.
    """
    here, there = (_granules(each, order_max) for each in (free_blocks, recorded))
    free = np.maximum(there.sum(axis=1, keepdims=True), 1)
    signed, moved = (here - there) / free, there / free - (there / free)[0]
    return Distance(
        allocator, time_ns, np.abs(signed).sum(axis=1) / 2, np.abs(moved).sum(axis=1) / 2, signed
    )


def _granules(blocks: np.ndarray, order_max: int) -> np.ndarray:
    """i8[sample, order]: granules in blocks of each order, larger ones under order_max."""
    granules = blocks << np.arange(blocks.shape[1])
    kept = granules[:, : order_max + 1].copy()
    kept[:, -1] += granules[:, order_max + 1 :].sum(axis=1)
    return kept
