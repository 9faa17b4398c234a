"""Maple Tree, as Linux's lib/maple_tree.c: a B-tree of ranges; a node is 256 bytes, four lines.

    leaf, range64   parent | 15 pivots | 16 slots
    arange64        parent |  9 pivots | 10 slots | 10 gaps | end and place of the largest gap

Slot i holds what lives from behind pivot i - 1 up to pivot i, both within the bounds that the
parent gives; the last pivot in use is the node's own bound, left out where the node is full.  A
free range takes a slot of its own; two never stand side by side, and no leaf ends with one, but the
last.  A lookup (`mtree_load`) scans the pivots of a node one by one, level by level.  With gaps
(MT_FLAGS_ALLOC_RANGE) the inner nodes are arange64 and know the largest free range below each slot.

A store finds its leaf and does the least of: change one slot; shift a few (exact fit, slot store,
append, node store); push to a sibling that has room, or split (`mas_split`); where too little is
left, take in the next node, or the one before, and make one or two of both (`mas_rebalance`);
where it covers the end of a leaf, join what is left of both sides and the cousins it needs, level
by level (`mas_spanning_rebalance`).  Nodes of the last three are made afresh, and adopt their
children.  The split point, and how empty a node may be, are Linux's.

Unlike Linux: no RCU, no lock, no preallocation; a node store shifts in place, where Linux copies
the node from a temporary one; the way up is remembered on the way down, not found by parents; keys
end at 2**63 - 1; bulk mode, dense nodes and allocation by `mas_empty_area` with bounds are left
out.  A slot holds memdesc's word, so a lookup ends at a descriptor.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped
from .memdesc import Descriptors, describe, descriptors, descriptors_bytes, drop, read

NODE_BYTES = 256
LAST = (1 << 63) - 1  # the last key
LEAF, RANGE, ARANGE = 1, 2, 3  # types of nodes; a pointer is number << 8 | type << 3 | 2
_WORDS = NODE_BYTES // 8
_META = 30  # word of an arange64: end | place of the largest gap << 8
_LEVELS = 24
_BIG = 64  # entries of the scratch node: two and a half nodes at most
_ROOT_PARENT, _DEAD = 1, -1  # in a node's first word
# in `root`
ROOT, FREE, FRESH, NODES, BURIED, FIRST_BURIED, GAPS = range(7)
# in `big` and `made`
PIVOT, SLOT, GAP = range(3)
# in `paths`: the node at each level, the slot taken in it, its bounds
NODE, OFFSET, LOW, HIGH = range(4)
LEFT, RIGHT = 0, 1


@state
class Maple(NamedTuple):
    words: np.ndarray  # i8[node * 32 + word]
    root: np.ndarray  # i8[7]  root (0: empty, a word: granule 0 alone), free nodes, counts, gaps?
    big: np.ndarray  # i8[3, 64]  scratch: what one or several nodes hold together
    made: np.ndarray  # i8[3, 4]  scratch: nodes made of it
    paths: np.ndarray  # i8[2, 4, level]  scratch: from the root to the left and right leaf
    stack: np.ndarray  # i8[...]  scratch
    descriptors: Descriptors


def new(granules: int, kinds: np.ndarray, gaps: bool = False) -> Maple:
    """A lookup over `granules`, empty; gaps: inner nodes know the free ranges below them."""
    root = np.zeros(7, np.int64)
    root[FRESH], root[GAPS] = 1, gaps
    return Maple(
        mapped(
            (granules // 2 + 64) * _WORDS, "i8"
        ),  # seven entries a leaf, each second one a block
        root,
        np.zeros((3, _BIG), np.int64),
        np.zeros((3, 4), np.int64),
        np.zeros((2, 4, _LEVELS), np.int64),
        np.zeros(16 * _LEVELS, np.int64),
        descriptors(granules, kinds),
    )


def new_with_gaps(granules: int, kinds: np.ndarray) -> Maple:
    """The same, as Linux has it for trees that also find free ranges."""
    return new(granules, kinds, gaps=True)


# ---- a node ----------------------------------------------------------------------------------


@inlined
def _is_node(entry):
    return entry & 3 == 2


@inlined
def _type(node):
    return node >> 3 & 15


@inlined
def _base(node):
    return (node >> 8) * _WORDS


@inlined
def _pivot(node, offset):
    return _base(node) + 1 + offset


@inlined
def _slot(node, offset):
    return _base(node) + offset + (np.int64(10) if _type(node) == ARANGE else np.int64(16))


@inlined
def _gap(node, offset):
    return _base(node) + 20 + offset


@inlined
def _room(kind):
    """Slots of a node."""
    return np.int64(10) if kind == ARANGE else np.int64(16)


@inlined
def _least(kind):
    """mt_min_slots: the end of a node that is not the last of its level is not below it."""
    return np.int64(4) if kind == ARANGE else np.int64(6)


@inlined
def _end(index, node, high):
    """ma_data_end: the last slot in use, of a node whose bound is `high`."""
    if _type(node) == ARANGE:
        return index.words[_base(node) + _META] & 0xFF
    last = index.words[_pivot(node, 14)]
    if last == 0:
        return index.words[_slot(node, 15)]
    return np.int64(14) if last == high else np.int64(15)


@inlined
def _bound(index, node, offset, end, high):
    """The last key of a slot."""
    return index.words[_pivot(node, offset)] if offset < end else high


@inlined
def _first_key(index, node, offset, low):
    return index.words[_pivot(node, offset - 1)] + 1 if offset > 0 else low


@inlined
def _set_end(index, node, end):
    """After slots and pivots are written: how many, where there is room to say so."""
    if end < 14:
        index.words[_pivot(node, 14)] = 0
        index.words[_slot(node, 15)] = end


# ---- lookup ----------------------------------------------------------------------------------


@inlined
def _word(index, granule):
    """mtree_load: what lives at `granule`, 0 for nothing."""
    entry = index.root[ROOT]
    if not _is_node(entry):
        return entry if granule == 0 else np.int64(0)
    while True:
        kind = _type(entry)
        pivots, offset = _room(kind) - 1, np.int64(0)
        while offset < pivots and index.words[np.uint64(_pivot(entry, offset))] < granule:
            offset += 1
        entry = index.words[np.uint64(_slot(entry, offset))]
        if kind == LEAF:
            return entry


@interface.locate.register
@inlined
def locate(index: Maple, granule):
    return read(index.descriptors, _word(index, granule), granule)


# ---- making and burying nodes ----------------------------------------------------------------


@kernel
def _take_node(index):
    number = index.root[FREE]
    if number != 0:
        index.root[FREE] = index.words[number * _WORDS + 1]
    else:
        number = index.root[FRESH]
        assert number * _WORDS < len(index.words)
        index.root[FRESH] += 1
    index.root[NODES] += 1
    return number


@kernel
def _bury(index, node):
    """Mark a node dead; it is free when the whole store is done, for dead nodes point to it."""
    base = _base(node)
    if index.words[base] == _DEAD:
        return
    index.words[base], index.words[base + 1] = _DEAD, index.root[BURIED]
    if index.root[BURIED] == 0:
        index.root[FIRST_BURIED] = node >> 8
    index.root[BURIED] = node >> 8
    index.root[NODES] -= 1


@kernel
def _free_buried(index):
    if index.root[BURIED] != 0:
        index.words[index.root[FIRST_BURIED] * _WORDS + 1] = index.root[FREE]
        index.root[FREE], index.root[BURIED] = index.root[BURIED], 0


@kernel
def _bury_all(index, node):
    """A node and all below it that are not dead already."""
    index.stack[0] = node
    top = 1
    while top > 0:
        top -= 1
        node = index.stack[top]
        if index.words[_base(node)] == _DEAD:
            continue
        if _type(node) != LEAF:
            for offset in range(_inner_end(index, node) + 1):
                index.stack[top] = index.words[_slot(node, offset)]
                top += 1
        _bury(index, node)


@kernel
def _inner_end(index, node):
    """The last slot of an inner node whose bound is not known: slot 15 is a node or none."""
    if _type(node) == ARANGE or index.words[_pivot(node, 14)] == 0:
        return _end(index, node, np.int64(NONE))
    return np.int64(15) if _is_node(index.words[_slot(node, 15)]) else np.int64(14)


@kernel
def _make(index, which, first, last, kind, low, high):
    """A node of entries first .. last of `big`; made[:, which] says bound, node, largest gap."""
    number = _take_node(index)
    node = number << 8 | kind << 3 | 2
    gap, place = np.int64(0), np.int64(0)
    before = low - 1
    for i in range(first, last + 1):
        at, slot = i - first, index.big[SLOT, i]
        index.words[_slot(node, at)] = slot
        if at < _room(kind) - 1:
            index.words[_pivot(node, at)] = index.big[PIVOT, i]
        if kind == LEAF:
            wide = index.big[PIVOT, i] - before if slot == 0 else np.int64(0)
        else:
            wide = index.big[GAP, i]
            index.words[_base(slot)] = number << 8 | at << 3 | 2  # it adopts its children
        if wide > gap:
            gap, place = wide, at
        if kind == ARANGE:
            index.words[_gap(node, at)] = wide
        before = index.big[PIVOT, i]
    if kind == ARANGE:
        index.words[_base(node) + _META] = place << 8 | last - first
    else:
        if last - first == 14:
            index.words[_slot(node, 15)] = 0  # see _inner_end
        _set_end(index, node, last - first)
    index.made[PIVOT, which], index.made[SLOT, which], index.made[GAP, which] = high, node, gap


@kernel
def _put(index, at, pivot, slot, gap):
    index.big[PIVOT, at], index.big[SLOT, at], index.big[GAP, at] = pivot, slot, gap
    return at + 1


@kernel
def _copy(index, node, first, last, end, high, at):
    """Slots first .. last of a node go to `big` from `at` on; return where they end."""
    for offset in range(first, last + 1):
        gap = index.words[_gap(node, offset)] if _type(node) == ARANGE else np.int64(0)
        bound = _bound(index, node, offset, end, high)
        at = _put(index, at, bound, index.words[_slot(node, offset)], gap)
    return at


# ---- the way down ----------------------------------------------------------------------------


@kernel
def _walk(index, side, key):
    """Remember the way to the leaf of `key`; return its level."""
    node, low, high, level = index.root[ROOT], np.int64(0), np.int64(LAST), 0
    while True:
        end, offset = _end(index, node, high), np.int64(0)
        while offset < end and index.words[_pivot(node, offset)] < key:
            offset += 1
        _remember(index, side, level, node, offset, low, high)
        if _type(node) == LEAF:
            return level
        low = _first_key(index, node, offset, low)
        high = _bound(index, node, offset, end, high)
        node = index.words[_slot(node, offset)]
        level += 1


@kernel
def _remember(index, side, level, node, offset, low, high):
    path = index.paths[side]
    path[NODE, level], path[OFFSET, level] = node, offset
    path[LOW, level], path[HIGH, level] = low, high


@kernel
def _mirror(index, level):
    """Let the right way be the left one."""
    for field in range(4):
        for above in range(level + 1):
            index.paths[RIGHT, field, above] = index.paths[LEFT, field, above]


# ---- stores ----------------------------------------------------------------------------------


@kernel
def store_range(index, first, last, entry):
    """mas_store: let `entry` (0: nothing) live from `first` to `last`, whatever did before."""
    if not _is_node(index.root[ROOT]):
        _store_root(index, first, last, entry)
        return
    level = _walk(index, LEFT, first)
    high = index.paths[LEFT, HIGH, level]
    if last > high or (last == high != LAST and entry == 0):
        _store_spanning(index, level, first, last, entry)
    else:
        _store_in_leaf(index, level, first, last, entry)
    _free_buried(index)


@kernel
def _store_root(index, first, last, entry):
    """mas_store_root: there is no node yet."""
    contents = index.root[ROOT]
    if entry == 0 and (first > 0 or contents == 0):
        return  # nothing lives there
    if first == last == 0 or entry == 0:
        index.root[ROOT] = entry
        return
    at = 0
    if first > 0 and contents != 0:
        at = _put(index, at, 0, contents, 0)
    if first > 1 or (first == 1 and contents == 0):
        at = _put(index, at, first - 1, 0, 0)
    at = _put(index, at, last, entry, 0)
    if last != LAST:
        at = _put(index, at, LAST, 0, 0)
    _make(index, 0, 0, at - 1, LEAF, 0, LAST)
    _set_root(index, index.made[SLOT, 0])


@kernel
def _set_root(index, node):
    index.root[ROOT] = node
    if _is_node(node):
        index.words[_base(node)] = _ROOT_PARENT


@kernel
def _store_in_leaf(index, level, first, last, entry):
    leaf, offset = index.paths[LEFT, NODE, level], index.paths[LEFT, OFFSET, level]
    low, high = index.paths[LEFT, LOW, level], index.paths[LEFT, HIGH, level]
    end = _end(index, leaf, high)
    over, bound = offset, _bound(index, leaf, offset, end, high)  # the last slot it overwrites
    while last > bound:
        over += 1
        bound = _bound(index, leaf, over, end, high)
    begin = _first_key(index, leaf, offset, low)
    if entry == 0:  # mas_wr_extend_null: free ranges beside it become one with it
        if index.words[_slot(leaf, over)] == 0:
            last = bound
        elif last == bound and over < end and index.words[_slot(leaf, over + 1)] == 0:
            over += 1
            last = bound = _bound(index, leaf, over, end, high)
        if index.words[_slot(leaf, offset)] == 0:
            first = begin
        elif first == begin and offset > 0 and index.words[_slot(leaf, offset - 1)] == 0:
            offset -= 1
            first = begin = _first_key(index, leaf, offset, low)
    if first == 0 and last == LAST:
        _store_everywhere(index, entry)
        return
    before, after = np.int64(begin < first), np.int64(bound > last)  # is something left of them?
    fresh_end = end - (over - offset) + before + after
    if (fresh_end < _least(LEAF) and level > 0) or fresh_end >= _room(LEAF):
        at = _copy(index, leaf, 0, offset - 1, end, high, 0)
        if before:
            at = _put(index, at, first - 1, index.words[_slot(leaf, offset)], 0)
        at = _put(index, at, last, entry, 0)
        if after:
            at = _put(index, at, bound, index.words[_slot(leaf, over)], 0)
        at = _copy(index, leaf, over + 1, end, end, high, at)
        _mirror(index, level)
        if fresh_end >= _room(LEAF):
            _split(index, level, at)
        else:
            _rebalance(index, level, _take_in(index, level, at))
        return
    remains, contents = index.words[_slot(leaf, over)], index.words[_slot(leaf, offset)]
    _shift(index, leaf, over + 1, end, fresh_end, high)
    if before:
        _write(index, leaf, offset, first - 1, contents)
    _write(index, leaf, offset + before, last, entry)
    if after:
        _write(index, leaf, offset + before + 1, bound, remains)
    _set_end(index, leaf, fresh_end)
    if index.root[GAPS] != 0:
        _raise_gap(index, level, _leaf_gap(index, leaf, fresh_end, low, high))


@inlined
def _write(index, leaf, offset, bound, slot):
    index.words[_slot(leaf, offset)] = slot
    if offset < 15:
        index.words[_pivot(leaf, offset)] = bound


@kernel
def _shift(index, leaf, first, end, fresh_end, high):
    """Move slots first .. end of a leaf so that they end at `fresh_end`."""
    by = fresh_end - end
    if by < 0:
        for offset in range(first, end + 1):
            bound = _bound(index, leaf, offset, end, high)
            _write(index, leaf, offset + by, bound, index.words[_slot(leaf, offset)])
    elif by > 0:
        for offset in range(end, first - 1, -1):
            bound = _bound(index, leaf, offset, end, high)
            _write(index, leaf, offset + by, bound, index.words[_slot(leaf, offset)])


@kernel
def _store_everywhere(index, entry):
    """mas_new_root: one entry for all keys, or an empty tree."""
    _bury_all(index, index.root[ROOT])
    _set_root(index, np.int64(0))
    if entry != 0:
        _put(index, 0, LAST, entry, 0)
        _make(index, 0, 0, 0, LEAF, 0, LAST)
        _set_root(index, index.made[SLOT, 0])


@kernel
def _store_spanning(index, level, first, last, entry):
    """mas_wr_spanning_store: over the end of a leaf, or a free range that would end one."""
    if last < LAST:
        _walk(index, RIGHT, last + 1)
    else:
        _walk(index, RIGHT, last)
    left, right = index.paths[LEFT], index.paths[RIGHT]
    leaf, offset = left[NODE, level], left[OFFSET, level]
    low, high = left[LOW, level], left[HIGH, level]
    end = _end(index, leaf, high)
    begin = _first_key(index, leaf, offset, low)
    other, behind = right[NODE, level], right[OFFSET, level]
    other_high = right[HIGH, level]
    other_end = _end(index, other, other_high)
    if entry == 0:  # mas_extend_spanning_null
        if index.words[_slot(leaf, offset)] == 0:
            first = begin
        elif first == begin and offset > 0 and index.words[_slot(leaf, offset - 1)] == 0:
            offset -= 1
            first = begin = _first_key(index, leaf, offset, low)
        if last < LAST and index.words[_slot(other, behind)] == 0:
            last = _bound(index, other, behind, other_end, other_high)
            behind += 1
    if first == 0 and last == LAST:
        _store_everywhere(index, entry)
        return
    at = _copy(index, leaf, 0, offset - 1, end, high, 0)
    if begin < first:
        at = _put(index, at, first - 1, index.words[_slot(leaf, offset)], 0)
    at = _put(index, at, last, entry, 0)
    if last < other_high:
        at = _copy(index, other, behind, other_end, other_end, other_high, at)
    if at <= _least(LEAF) and not (low == 0 and other_high == LAST):
        at = _take_in(index, level, at)
    _rebalance(index, level, at)


# ---- split -----------------------------------------------------------------------------------


@kernel
def _no_null_split(index, split, count, kind):
    """mab_no_null_split: no node but the last ends with a free range."""
    if index.big[SLOT, split] != 0:
        return split
    if split < _room(kind) - 1 and count - 1 - split > _least(kind):
        return split + 1
    return split - 1


@kernel
def _split(index, level, count):
    """mas_split: `count` entries, one or two too many for the node at `level`."""
    while True:
        node = index.paths[LEFT, NODE, level]
        kind = _type(node)
        if count <= _room(kind):
            _install(index, level, count)
            return
        if level > 0 and (_push_left(index, level, count) or _push_right(index, level, count)):
            return
        split = _no_null_split(index, (count - 1) // 2, count, kind)
        _make_two(index, split, count, kind, level)
        _bury(index, node)
        if level == 0:
            _raise_root(index, 2)
            return
        level -= 1
        count = _combine(index, level, 2)


@kernel
def _make_two(index, split, count, kind, level):
    """Nodes of entries up to `split` and behind it, between the bounds of left and right way."""
    middle = index.big[PIVOT, split]
    low, high = index.paths[LEFT, LOW, level], index.paths[RIGHT, HIGH, level]
    _make(index, 0, 0, split, kind, low, middle)
    _make(index, 1, split + 1, count - 1, kind, middle + 1, high)


@inlined
def _space(index, level, kind):
    """How many slots two siblings may hold together to be pushed, not split (mas_push_data)."""
    is_last = index.paths[LEFT, HIGH, level] == LAST
    return 2 * _room(kind) - 2 - np.int64(kind == LEAF) - np.int64(is_last)


@kernel
def _push_left(index, level, count):
    """mas_push_data: the node before it has room."""
    path = index.paths[LEFT]
    parent, offset, kind = path[NODE, level - 1], path[OFFSET, level - 1], _type(path[NODE, level])
    if offset == 0:
        return False
    sibling = index.words[_slot(parent, offset - 1)]
    high = index.words[_pivot(parent, offset - 1)]
    end = _end(index, sibling, high)
    if count - 1 + end >= _space(index, level, kind):
        return False
    node, low = path[NODE, level], _first_key(index, parent, offset - 1, path[LOW, level - 1])
    count = _prepend(index, sibling, end, high, count)
    _remember(index, LEFT, level, sibling, 0, low, high)
    path[OFFSET, level - 1] = offset - 1
    split = _no_null_split(index, _room(kind) - 2, count, kind)
    _install_two(index, level, split, count, node, sibling)
    return True


@kernel
def _push_right(index, level, count):
    path, right = index.paths[LEFT], index.paths[RIGHT]
    parent, offset, kind = path[NODE, level - 1], path[OFFSET, level - 1], _type(path[NODE, level])
    parent_end = _end(index, parent, path[HIGH, level - 1])
    if offset == parent_end:
        return False
    sibling = index.words[_slot(parent, offset + 1)]
    high = _bound(index, parent, offset + 1, parent_end, path[HIGH, level - 1])
    end = _end(index, sibling, high)
    if count - 1 + end >= _space(index, level, kind):
        return False
    split = count - 1 + end - (_room(kind) - 2)
    count = _copy(index, sibling, 0, end, end, high, count)
    _remember(index, RIGHT, level, sibling, 0, path[HIGH, level] + 1, high)
    right[OFFSET, level - 1] = offset + 1
    split = _no_null_split(index, split, count, kind)
    _install_two(index, level, split, count, path[NODE, level], sibling)
    return True


@kernel
def _install_two(index, level, split, count, node, sibling):
    """Two nodes in the places of two siblings."""
    _make_two(index, split, count, _type(node), level)
    _bury(index, node)
    _bury(index, sibling)
    _install(index, level - 1, _combine(index, level - 1, 2))


@kernel
def _prepend(index, node, end, high, count):
    """All of a node goes before what `big` holds; return how many entries there are then."""
    for i in range(count - 1, -1, -1):
        _put(
            index,
            i + end + 1,
            index.big[PIVOT, i],
            index.big[SLOT, i],
            index.big[GAP, i],
        )
    _copy(index, node, 0, end, end, high, 0)
    return count + end + 1


# ---- rebalance -------------------------------------------------------------------------------


@kernel
def _take_in(index, level, count):
    """mast_spanning_rebalance: all of the next node of this level, else of the one before."""
    left, right = index.paths[LEFT], index.paths[RIGHT]
    for above in range(level - 1, -1, -1):
        end = _end(index, right[NODE, above], right[HIGH, above])
        if right[OFFSET, above] < end:
            if right[NODE, level] != left[NODE, level]:
                _bury(index, right[NODE, level])
            right[OFFSET, above] += 1
            _descend(index, RIGHT, above, level)
            node, high = right[NODE, level], right[HIGH, level]
            end = _end(index, node, high)
            return _copy(index, node, 0, end, end, high, count)
        if left[OFFSET, above] > 0:
            if right[NODE, level] != left[NODE, level]:
                _bury(index, left[NODE, level])
            left[OFFSET, above] -= 1
            _descend(index, LEFT, above, level)
            node, high = left[NODE, level], left[HIGH, level]
            return _prepend(index, node, _end(index, node, high), high, count)
    return count


@kernel
def _descend(index, side, above, level):
    """From the slot taken at level `above`, by first slots (right) or last ones (left)."""
    path = index.paths[side]
    for below in range(above + 1, level + 1):
        parent, offset = path[NODE, below - 1], path[OFFSET, below - 1]
        end = _end(index, parent, path[HIGH, below - 1])
        node = index.words[_slot(parent, offset)]
        low = _first_key(index, parent, offset, path[LOW, below - 1])
        high = _bound(index, parent, offset, end, path[HIGH, below - 1])
        last = _end(index, node, high) if side == LEFT else np.int64(0)
        _remember(index, side, below, node, last, low, high)


@kernel
def _rebalance(index, level, count):
    """mas_spanning_rebalance: `count` entries take the place of all from left to right node."""
    left, right = index.paths[LEFT], index.paths[RIGHT]
    while True:
        kind = _type(left[NODE, level])
        low, high = left[LOW, level], right[HIGH, level]
        nodes = _make_some(index, count, kind, low, high)
        _bury(index, left[NODE, level])
        _bury(index, right[NODE, level])
        if nodes == 1 and low == 0 and high == LAST:
            for above in range(level - 1, -1, -1):
                _bury_between(index, above)
                _bury(index, left[NODE, above])
                _bury(index, right[NODE, above])
            _set_root(index, index.made[SLOT, 0])
            return
        if level == 0:
            _raise_root(index, nodes)
            return
        level -= 1
        _bury_between(index, level)
        count = _combine(index, level, nodes)
        kind = _type(left[NODE, level])
        if count > _least(kind):
            if count <= _room(kind) and left[NODE, level] == right[NODE, level]:
                _install(index, level, count)
                return
        elif level == 0:
            _install(index, level, count)
            return
        else:
            count = _take_in(index, level, count)


@kernel
def _make_some(index, count, kind, low, high):
    """mas_mab_to_node: one node, two, or three where two cannot hold all; return how many."""
    end, room = count - 1, _room(kind)
    if end < room:
        _make(index, 0, 0, end, kind, low, high)
        return 1
    split, nodes = end // 2, 2
    if end >= 2 * room or (index.big[SLOT, split] == 0 and end >= 2 * room - 1):
        split, nodes = end // 3, 3
    middle = _no_null_split(index, split * 2, count, kind) if nodes == 3 else end
    split = _no_null_split(index, split, count, kind)
    bound = index.big[PIVOT, split]
    _make(index, 0, 0, split, kind, low, bound)
    if nodes == 3:
        _make(index, 1, split + 1, middle, kind, bound + 1, index.big[PIVOT, middle])
        bound, split = index.big[PIVOT, middle], middle
    _make(index, nodes - 1, split + 1, end, kind, bound + 1, high)
    return nodes


@kernel
def _bury_between(index, level):
    """All below this level that lies between the left and the right way."""
    left, right = index.paths[LEFT], index.paths[RIGHT]
    node, other = left[NODE, level], right[NODE, level]
    end = _end(index, node, left[HIGH, level])
    last = right[OFFSET, level] - 1 if node == other else end
    for offset in range(left[OFFSET, level] + 1, last + 1):
        _bury_all(index, index.words[_slot(node, offset)])
    if node != other:
        for offset in range(right[OFFSET, level]):
            _bury_all(index, index.words[_slot(other, offset)])


@kernel
def _combine(index, level, nodes):
    """`big` is what lies left of the left way, the nodes made, what lies right of the right one."""
    left, right = index.paths[LEFT], index.paths[RIGHT]
    node, high = left[NODE, level], left[HIGH, level]
    at = _copy(index, node, 0, left[OFFSET, level] - 1, _end(index, node, high), high, 0)
    for which in range(nodes):
        made = index.made[:, which]
        at = _put(index, at, made[PIVOT], made[SLOT], made[GAP])
    node, high = right[NODE, level], right[HIGH, level]
    end = _end(index, node, high)
    return _copy(index, node, right[OFFSET, level] + 1, end, end, high, at)


@kernel
def _raise_root(index, nodes):
    """A root above the nodes made."""
    for which in range(nodes):
        made = index.made[:, which]
        _put(index, which, made[PIVOT], made[SLOT], made[GAP])
    kind = np.int64(ARANGE if index.root[GAPS] != 0 else RANGE)
    _make(index, 0, 0, nodes - 1, kind, 0, LAST)
    _set_root(index, index.made[SLOT, 0])


@kernel
def _install(index, level, count):
    """mas_wmb_replace: one node of `big` in the place of the left way's at `level`."""
    path = index.paths[LEFT]
    node = path[NODE, level]
    _make(index, 0, 0, count - 1, _type(node), path[LOW, level], path[HIGH, level])
    fresh, gap = index.made[SLOT, 0], index.made[GAP, 0]
    _bury(index, node)
    if level == 0:
        _set_root(index, fresh)
        return
    parent, offset = path[NODE, level - 1], path[OFFSET, level - 1]
    index.words[_slot(parent, offset)] = fresh
    index.words[_base(fresh)] = parent >> 8 << 8 | offset << 3 | 2
    if index.root[GAPS] != 0:
        _raise_gap(index, level, gap)


# ---- gaps ------------------------------------------------------------------------------------


@kernel
def _leaf_gap(index, leaf, end, low, high):
    """mas_leaf_max_gap: keys of the widest free range of a leaf."""
    gap = np.int64(0)
    for offset in range(end + 1):
        if index.words[_slot(leaf, offset)] == 0:
            begin = _first_key(index, leaf, offset, low)
            gap = max(gap, _bound(index, leaf, offset, end, high) - begin + 1)
    return gap


@kernel
def _raise_gap(index, level, gap):
    """mas_parent_gap: tell the parents, as far up as their own largest gap changes."""
    path = index.paths[LEFT]
    for above in range(level - 1, -1, -1):
        node, offset = path[NODE, above], path[OFFSET, above]
        meta = _base(node) + _META
        before = index.words[_gap(node, index.words[meta] >> 8)]
        index.words[_gap(node, offset)] = gap
        end, place = index.words[meta] & 0xFF, np.int64(0)
        for slot in range(end + 1):
            if index.words[_gap(node, slot)] > index.words[_gap(node, place)]:
                place = slot
        index.words[meta] = place << 8 | end
        gap = index.words[_gap(node, place)]
        if gap == before:
            return


@kernel
def empty_area(index, granules):
    """mas_empty_area: the first of so many free granules in a row, the lowest; NONE without gaps.

    There is no alignment in it: who wants some asks for more, as Linux's callers do.
    """
    node, low, high = index.root[ROOT], np.int64(0), np.int64(LAST)
    if not _is_node(node):
        return np.int64(node != 0)
    if index.root[GAPS] == 0:
        return np.int64(NONE)
    while True:
        end, found = _end(index, node, high), np.int64(NONE)
        for offset in range(end + 1):
            if _type(node) == LEAF:
                begin = _first_key(index, node, offset, low)
                wide = _bound(index, node, offset, end, high) - begin + 1
                wide = wide if index.words[_slot(node, offset)] == 0 else np.int64(0)
            else:
                wide = index.words[_gap(node, offset)]
            if wide >= granules:
                found = offset
                break
        if found == NONE:
            return found
        low = _first_key(index, node, found, low)
        if _type(node) == LEAF:
            return low
        high = _bound(index, node, found, end, high)
        node = index.words[_slot(node, found)]


# ---- the interface ---------------------------------------------------------------------------


@interface.store.register
@kernel
def store(index: Maple, granule, order, kind, owner):
    word = describe(index.descriptors, granule, order, kind, owner)
    store_range(index, granule, granule + (np.int64(1) << order) - 1, word)


@interface.erase.register
@kernel
def erase(index: Maple, granule):
    word = _word(index, granule)
    if word == 0:
        return np.int64(NONE)
    start, order, _, _ = read(index.descriptors, word, granule)
    if start != granule:
        return np.int64(NONE)
    drop(index.descriptors, word)
    store_range(index, granule, granule + (np.int64(1) << order) - 1, np.int64(0))
    return order


@interface.check.register
@kernel
def check(index: Maple):
    if not _is_node(index.root[ROOT]):
        assert index.root[NODES] == 0, "a tree without a root has no node"
        return
    assert index.words[_base(index.root[ROOT])] == _ROOT_PARENT
    key, nodes, leaves, was_free = np.int64(0), np.int64(0), np.int64(NONE), False
    while True:  # leaf by leaf, each from the root
        level = _walk(index, LEFT, key)
        assert leaves in (NONE, level), "all leaves are on one level"
        leaves = np.int64(level)
        path = index.paths[LEFT]
        for above in range(level, -1, -1):
            if path[LOW, above] != key:
                break  # it was seen with an earlier leaf
            nodes += 1
            _check_node(index, above)
        leaf, high = path[NODE, level], path[HIGH, level]
        end = _end(index, leaf, high)
        for offset in range(end + 1):
            is_free = index.words[_slot(leaf, offset)] == 0
            assert not (is_free and was_free), "two free ranges are one"
            was_free = is_free
        assert high == LAST or not was_free, "only the last leaf ends with a free range"
        if high == LAST:
            break
        key = high + 1
    assert nodes == index.root[NODES], "every node in use hangs in the tree"


@kernel
def _check_node(index, level):
    path = index.paths[LEFT]
    node, low, high = path[NODE, level], path[LOW, level], path[HIGH, level]
    kind, end = _type(node), _end(index, node, high)
    assert end < _room(kind)
    assert high == LAST or end >= _least(kind), "no node but the last is emptier than Linux allows"
    assert level > 0 or kind == LEAF or end > 0, "a root has two children"
    before, widest = low - 1, np.int64(0)
    for offset in range(end + 1):
        bound = _bound(index, node, offset, end, high)
        assert bound > before, "pivots ascend"
        if kind != LEAF:
            child = index.words[_slot(node, offset)]
            assert index.words[_base(child)] == node >> 8 << 8 | offset << 3 | 2, "a child's parent"
        if kind == ARANGE:
            child_end = _end(index, child, bound)
            if _type(child) == LEAF:
                gap = _leaf_gap(index, child, child_end, before + 1, bound)
            else:
                gap = index.words[_gap(child, index.words[_base(child) + _META] >> 8)]
            assert index.words[_gap(node, offset)] == gap, "a gap is the widest below"
            widest = max(widest, gap)
        before = bound
    assert before == high, "the last pivot is the node's own bound"
    if end < _room(kind) - 1:
        assert index.words[_pivot(node, end)] == high
    if kind == ARANGE:
        place = index.words[_base(node) + _META] >> 8
        assert index.words[_gap(node, place)] == widest, "where the largest gap is"


@interface.bytes_of.register
def bytes_of(index: Maple, live_blocks: int, granules: int) -> dict[str, int]:
    """Nodes in use, descriptors by kind."""
    return {
        "lookup": NODE_BYTES * int(index.root[NODES]),
        "descriptors": descriptors_bytes(index.descriptors),
    }
