"""What each page frame is used for, kept up by the events that go by: one byte a frame.

A byte is the caller's to name; `free` is the one of free frames.
"""

import numpy as np

from ._jit import kernel
from .raster import POISON


@kernel
def follow(frames, pfn, order, freed, value, free):
    """Carry events out in order: an alloc gives its frames `value`, a free makes them `free`.

    frames: u1[]; the others one per event, freed: bool, value: u1.  What lies beyond is left out.
    Returns how many frames that were free are free no more (less than 0: the other way round).
    """
    taken = 0
    for event in range(len(pfn)):
        byte = free if freed[event] else value[event]
        start = max(pfn[event], np.int64(0))
        end = min(pfn[event] + (np.int64(1) << np.int64(order[event])), np.int64(len(frames)))
        for frame in range(start, end):
            taken += np.int64(frames[frame] == free) - np.int64(byte == free)
            frames[frame] = byte
    return taken


@kernel
def rewind(frames, pfn, order, freed, free, used):
    """Undo events, the last first: what was allocated had been free, what was freed had not.

    A frame that is free now, and was freed, becomes `used`; one that is in use keeps its byte.
    """
    for event in range(len(pfn) - 1, -1, -1):
        start = max(pfn[event], np.int64(0))
        end = min(pfn[event] + (np.int64(1) << np.int64(order[event])), np.int64(len(frames)))
        for frame in range(start, end):
            if not freed[event]:
                frames[frame] = free
            elif frames[frame] == free:
                frames[frame] = used


@kernel
def census(frames, counts):
    """Add frames by their byte to `counts`, i8[256]: NumPy's bincount makes eight bytes of each."""
    for frame in range(len(frames)):
        counts[frames[frame]] += 1


@kernel
def free_blocks(frames, free, starts, ends, counts):
    """Add free blocks by order to `counts`: the largest aligned ones, up to its last order.

    Cut at the borders of zones, [starts, ends) in frames.  Linux's own lists hold the same blocks
    but for pages in per-CPU lists, which are free here.
    """
    top = len(counts) - 1
    for zone in range(len(starts)):
        frame, end = starts[zone], min(ends[zone], np.int64(len(frames)))
        while frame < end:
            first = frame
            while frame < end and frames[frame] == free:
                frame += 1
            _decompose(first, frame, top, counts)
            frame += 1


@kernel
def _decompose(start, end, top, counts):
    while start < end:
        order = 0
        while (
            order < top
            and start & ((np.int64(1) << (order + 1)) - 1) == 0
            and start + (np.int64(1) << (order + 1)) <= end
        ):
            order += 1
        counts[order] += 1
        start += np.int64(1) << order


@kernel
def kinds_of_flags(words, masks, meanings, compound, anon, single, kinds):
    """Kinds of pages by their flags: the first mask that has a bit of the word tells.

    words: u8[]; masks: u8[n], meanings: u1[n]; kinds: u1[], the result.  A word of zeros is 0.
    `single` is a page of a process or file: a page more is added for one that is not `anon`, and
    two for a part of a `compound`.  Without a flag that tells, 14 is compound and 15 is not.
    """
    zero = np.uint64(0)
    for page in range(len(words)):
        word = words[page]
        kind = np.int64(0)
        if word != zero:
            kind = np.int64(14) if word & compound != zero else np.int64(15)
            for place in range(len(masks)):
                if word & masks[place] != zero:
                    kind = np.int64(meanings[place])
                    break
            if kind == single:
                kind += word & anon == zero
                kind += np.int64(word & compound != zero) << 1
        kinds[page] = kind


@kernel
def cells(frames, categories, first, per_cell, counts, pixels):
    """The category that holds most frames of each cell, from frame `first` on, to `pixels`.

    frames: u1[]; categories: u1[256], of a frame's byte; counts: i8[256], zero.  Equal shares go to
    the higher category; what lies beyond the frames is 0.  One of POISON is never outvoted.
    """
    for pixel in range(len(pixels)):
        low = first + pixel * per_cell
        high = min(low + per_cell, np.int64(len(frames)))
        best = np.int64(0)
        for frame in range(low, high):
            category = np.int64(categories[frames[frame]])
            counts[category] += 1
            if counts[category] > counts[best] or (
                counts[category] == counts[best] and category > best
            ):
                best = category
        if counts[POISON] > 0:
            best = np.int64(POISON)
        for frame in range(low, high):
            counts[categories[frames[frame]]] = 0
        pixels[pixel] = best
