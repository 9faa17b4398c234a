"""XArray with multi-index entries, as Linux's lib/xarray.c: a radix tree of 64 slots a node.

A node of 576 bytes is 9 lines: a header of 40 bytes (shift, offset in the parent, count, parent),
64 slots, three words of marks.  A block of order k lies in the node whose shift is the multiple of
6 below k and fills 2**(k % 6) of its slots: the first has the entry (`canonical`), the others say
which slot that is (`sibling`).  The tree is as high as its largest index needs and is lowered when
only slot 0 of the root is left.  An entry is memdesc's word, so a lookup ends at a descriptor.

Unlike Linux: no RCU and no lock, so freed nodes are reused at once, the last one first; no marks
and no value entries; a store meets free granules only; pointers are numbers.
Sources: lib/xarray.c xas_load, xas_create, xas_store, xas_shrink, xas_delete_node, xas_split;
include/linux/xarray.h struct xa_node.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped
from .memdesc import Descriptors, describe, descriptors, descriptors_bytes, drop, read

NODE_BYTES = 576
_WORDS = NODE_BYTES // 8  # of a node
# words of a node: shift | offset in the parent << 8 | slots in use << 16; 1 + the parent's number
_HEADER, _PARENT, _SLOTS = 0, 1, 5
_ONE_MORE = 1 << 16  # in the header: a slot in use
_INTERNAL = 2  # low bits of an entry that is no block's: a sibling below 64 << 2, else a node
_NODES_FROM = 1024  # node n is (n + 1024) << 2 | 2, as pointers are above 4096


@state
class XArray(NamedTuple):
    words: np.ndarray  # i8[node * 72 + word]
    head: np.ndarray  # i8[1]  entry of the root: a node, or the block of granule 0 alone
    next: np.ndarray  # i8[3]  last freed node + 1 (0: none), the next never used, nodes in use
    descriptors: Descriptors


def new(granules: int, kinds: np.ndarray) -> XArray:
    """A lookup over `granules`, empty."""
    room = granules // 48 + 64  # a full bottom level and what stands above it: 1/64 + 1/4096 + ...
    return XArray(
        mapped(room * _WORDS, "i8"),
        np.zeros(1, np.int64),
        np.zeros(3, np.int64),
        descriptors(granules, kinds),
    )


@inlined
def _is_node(entry):
    return entry & 3 == _INTERNAL and entry >= _NODES_FROM << 2


@inlined
def _is_sibling(entry):
    return entry & 3 == _INTERNAL and entry < 64 << 2


@inlined
def _node_of(entry):
    return (entry >> 2) - _NODES_FROM


@inlined
def _slot(node, offset):
    return node * _WORDS + _SLOTS + offset


@inlined
def _shift(index, node):
    return index.words[node * _WORDS + _HEADER] & 0xFF


@inlined
def _offset(index, node):
    return index.words[node * _WORDS + _HEADER] >> 8 & 0xFF


@inlined
def _count(index, node):
    return index.words[node * _WORDS + _HEADER] >> 16


@inlined
def _parent(index, node):
    """1 + its number, 0 for the root."""
    return index.words[node * _WORDS + _PARENT]


@inlined
def _word(index, granule):
    """xas_load: the word of the block that holds `granule`, 0 if none does."""
    entry = index.head[0]
    if not _is_node(entry):
        return entry if granule == 0 else np.int64(0)
    if granule >> _shift(index, _node_of(entry)) > 63:
        return np.int64(0)  # the tree does not reach so far
    while _is_node(entry):
        node = _node_of(entry)
        offset = granule >> _shift(index, node) & 63
        entry = index.words[_slot(node, offset)]
        if _is_sibling(entry):
            entry = index.words[_slot(node, entry >> 2)]
    return entry


@interface.locate.register
@inlined
def locate(index: XArray, granule):
    return read(index.descriptors, _word(index, granule), granule)


@kernel
def _take_node(index, shift, offset, parent):
    node = index.next[0] - 1
    if node >= 0:
        index.next[0] = index.words[node * _WORDS + _PARENT]
    else:
        node = index.next[1]
        assert node * _WORDS < len(index.words)
        index.next[1] += 1
    index.next[2] += 1
    index.words[node * _WORDS + _HEADER] = offset << 8 | shift
    index.words[node * _WORDS + _PARENT] = parent + 1
    for slot in range(_slot(node, 0), _slot(node, 64)):
        index.words[slot] = 0
    return node


@kernel
def _free_node(index, node):
    index.words[node * _WORDS + _PARENT] = index.next[0]
    index.next[0] = node + 1
    index.next[2] -= 1


@inlined
def _entry_of(node):
    return (node + _NODES_FROM) << 2 | _INTERNAL


@kernel
def _expand(index, last):
    """xas_expand: nodes above the root until the tree reaches granule `last`; return its height."""
    entry = index.head[0]
    shift = np.int64(0)
    if entry == 0:
        while last >> shift > 0:
            shift += 6
        return shift  # an empty tree gets the height that is asked for
    if _is_node(entry):
        shift = _shift(index, _node_of(entry)) + 6
    while last >> shift > 0:
        node = _take_node(index, shift, 0, NONE)
        index.words[_slot(node, 0)] = index.head[0]
        index.words[node * _WORDS + _HEADER] += _ONE_MORE
        if _is_node(index.head[0]):
            index.words[_node_of(index.head[0]) * _WORDS + _PARENT] = node + 1
        index.head[0] = _entry_of(node)
        shift += 6
    return shift


@kernel
def _create(index, granule, order):
    """xas_create: the node that holds a block of this order, with all above it; NONE: the head."""
    mask = (np.int64(1) << order) - 1
    last = granule | mask
    if mask == last and mask > 0:
        last += 1  # an entry of several indices stands in a node with room for more than it
    shift = _expand(index, last)
    node, at = np.int64(NONE), np.int64(NONE)
    while shift > order:
        shift -= 6
        entry = index.head[0] if at == NONE else index.words[at]
        if entry == 0:
            offset = np.int64(0) if node == NONE else granule >> (shift + 6) & 63
            fresh = _take_node(index, shift, offset, node)
            entry = _entry_of(fresh)
            if node == NONE:
                index.head[0] = entry
            else:
                index.words[at] = entry
                index.words[node * _WORDS + _HEADER] += _ONE_MORE
        node = _node_of(entry)
        at = _slot(node, granule >> shift & 63)
    return node


@kernel
def _put(index, node, offset, slots, word):
    """A canonical entry and its siblings."""
    index.words[_slot(node, offset)] = word
    for sibling in range(offset + 1, offset + slots):
        index.words[_slot(node, sibling)] = offset << 2 | _INTERNAL
    index.words[node * _WORDS + _HEADER] += slots * _ONE_MORE


@interface.store.register
@kernel
def store(index: XArray, granule, order, kind, owner):
    word = describe(index.descriptors, granule, order, kind, owner)
    node = _create(index, granule, order)
    if node == NONE:
        index.head[0] = word
        return
    offset = granule >> _shift(index, node) & 63
    _put(index, node, offset, np.int64(1) << (order % 6), word)


@kernel
def _holder(index, granule):
    """The node in which the block of `granule` has its entry; NONE: the head."""
    entry, node = index.head[0], np.int64(NONE)
    while _is_node(entry):
        node = _node_of(entry)
        entry = index.words[_slot(node, granule >> _shift(index, node) & 63)]
    return node


@kernel
def _shrink(index):
    """xas_shrink: lower the tree while only slot 0 of the root is in use."""
    while _is_node(index.head[0]):
        node = _node_of(index.head[0])
        entry = index.words[_slot(node, 0)]
        if _count(index, node) != 1 or entry == 0:
            return
        if not _is_node(entry) and _shift(index, node) > 0:
            return  # a block of several granules cannot stand in the head
        index.head[0] = entry
        if _is_node(entry):
            index.words[_node_of(entry) * _WORDS + _PARENT] = 0
        _free_node(index, node)


@kernel
def _delete_empty(index, node):
    """xas_delete_node: free `node` and those above it as long as they are empty."""
    while _count(index, node) == 0:
        parent = _parent(index, node) - 1
        offset = _offset(index, node)
        _free_node(index, node)
        if parent == NONE:
            index.head[0] = 0
            return
        index.words[_slot(parent, offset)] = 0
        index.words[parent * _WORDS + _HEADER] -= _ONE_MORE
        node = parent
    if _parent(index, node) == 0:
        _shrink(index)


@interface.erase.register
@kernel
def erase(index: XArray, granule):
    start, order, _, _ = locate(index, granule)
    if start != granule:
        return np.int64(NONE)
    drop(index.descriptors, _word(index, granule))
    node = _holder(index, granule)
    if node == NONE:
        index.head[0] = 0
        return order
    offset = granule >> _shift(index, node) & 63
    slots = np.int64(1) << (order % 6)
    for slot in range(_slot(node, offset), _slot(node, offset + slots)):
        index.words[slot] = 0
    index.words[node * _WORDS + _HEADER] -= slots * _ONE_MORE
    _delete_empty(index, node)
    return order


@kernel
def split(index, granule, order):
    """xas_split: make the block at `granule` into pieces; return its order, or NONE.

    Into the slots that it fills or into one level of fresh nodes below them, as Linux can; each
    piece gets a descriptor of its own.
    """
    start, whole, kind, owner = locate(index, granule)
    if start != granule or order > whole or order // 6 < whole // 6 - 1:
        return np.int64(NONE)
    if order == whole:
        return whole
    drop(index.descriptors, _word(index, granule))
    node = _holder(index, granule)
    shift = _shift(index, node)
    offset, slots = granule >> shift & 63, np.int64(1) << (whole % 6)
    if order // 6 == whole // 6:
        index.words[node * _WORDS + _HEADER] -= slots * _ONE_MORE
        _put_pieces(index, node, offset, slots, granule, order, kind, owner)
        return whole
    for slot in range(offset, offset + slots):
        child = _take_node(index, shift - 6, slot, node)
        index.words[_slot(node, slot)] = _entry_of(child)
        first = granule + ((slot - offset) << shift)
        _put_pieces(index, child, 0, 64, first, order, kind, owner)
    return whole


@kernel
def _put_pieces(index, node, offset, slots, granule, order, kind, owner):
    """Blocks of this order, one beside the other, in `slots` slots from `offset` on."""
    each = np.int64(1) << (order % 6)
    for piece in range(slots // each):
        first = granule + (piece << order)
        word = describe(index.descriptors, first, order, kind, owner)
        _put(index, node, offset + piece * each, each, word)


@interface.check.register
@kernel
def check(index: XArray):
    if not _is_node(index.head[0]):
        assert index.next[2] == 0, "a tree without a root has no node"
        return
    root = _node_of(index.head[0])
    assert _parent(index, root) == 0
    node, offset, nodes, count = root, np.int64(0), np.int64(1), np.int64(0)
    while True:  # in address order, down by slots and up by parents
        if offset == 64:
            assert count == _count(index, node) > 0, "a node counts its slots"
            offset = _offset(index, node) + 1
            node = _parent(index, node) - 1
            if node == NONE:
                break
            count = np.int64(0)
            for slot in range(offset):
                count += index.words[_slot(node, slot)] != 0
            continue
        entry = index.words[_slot(node, offset)]
        if _is_node(entry):
            child = _node_of(entry)
            nodes += 1
            assert _parent(index, child) == node + 1
            assert _offset(index, child) == offset
            assert _shift(index, child) + 6 == _shift(index, node)
            node, offset, count = child, np.int64(0), np.int64(0)
            continue
        if _is_sibling(entry):
            canonical = index.words[_slot(node, entry >> 2)]
            assert canonical != 0, "a sibling names a canonical entry"
            assert canonical & 3 == 0, "which is a block's"
            assert offset > entry >> 2
            before = index.words[_slot(node, offset - 1)]
            assert offset - 1 == entry >> 2 or before == entry, "siblings follow their entry"
        count += entry != 0
        offset += 1
    assert nodes == index.next[2], "every node in use hangs in the tree"


@interface.bytes_of.register
def bytes_of(index: XArray, live_blocks: int, granules: int) -> dict[str, int]:
    """Nodes in use, descriptors by kind."""
    return {
        "lookup": NODE_BYTES * int(index.next[2]),
        "descriptors": descriptors_bytes(index.descriptors),
    }
