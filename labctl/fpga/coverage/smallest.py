"""Which runs are needed to reach what all runs together reach, and which add nothing."""

from __future__ import annotations

import heapq

from labctl.fpga.coverage.model import CoverageData


def needed_runs(data: CoverageData) -> list[tuple[str, int]]:
    """Return a small set of runs that reach all that was reached, and what each adds.

    The best is taken first, then the best for what is left, and so on. That is not always the
    smallest set (finding it takes exponential time), but never larger than ln(points) + 1 times
    it. It depends on the runs alone, not on their order.
    """
    masks = dict(data.masks())
    # What a run adds can only shrink: a stale entry is looked at again when it comes up.
    waiting = [(-mask.bit_count(), run) for run, mask in masks.items()]
    heapq.heapify(waiting)
    reached, chosen = 0, []
    while waiting:
        claimed, run = heapq.heappop(waiting)
        adds = (masks[run] & ~reached).bit_count()
        if not adds:
            continue
        if adds < -claimed:
            heapq.heappush(waiting, (-adds, run))
            continue
        reached |= masks[run]
        chosen.append((run, adds))
    return chosen
