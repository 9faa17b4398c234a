"""Power-of-two arithmetic, and the few vector instructions on 64-byte lines.

Each function of the second half is one or a few machine instructions (AVX-512, AVX2 or plain,
as LLVM finds), with a plain Python twin that says what it means.  Words are uint64; counts and
indices int64: Numba turns a mixture of the two into float64, so each crossing is a cast.
"""

import numpy as np
from llvmlite import ir
from numba.core import types

from ._jit import inlined, kernel, machine

ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
# bit i is set where an aligned run of 2, 4, 8, 16, 32 bits may begin
_STARTS = np.array(
    [
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0000_0001_0000_0001,
    ],
    np.uint64,
)
STARTS_1, STARTS_2, STARTS_4, STARTS_8, STARTS_16 = _STARTS


@inlined
def buddy_of(granule, order):
    """The block that merges with this one into a block of the next order."""
    return granule ^ (np.int64(1) << order)


@inlined
def align_down(granule, order):
    return granule >> order << order


@kernel
def largest_order(granule, granules):
    """Order of the largest aligned block that begins at `granule` and holds at most `granules`."""
    order = np.int64(63) - leading_zeros(np.uint64(granules))
    if granule != 0:
        order = min(order, trailing_zeros(np.uint64(granule)))
    return order


@inlined
def run_mask(first, order):
    """The word whose 2**order bits from bit `first` are set; order <= 6."""
    if order >= 6:
        return ONES
    one = np.uint64(1)
    return ((one << np.uint64(np.int64(1) << order)) - one) << np.uint64(first)


@inlined
def runs(word, order):
    """The bits of `word` at which an aligned run of 2**order set bits begins; order <= 5."""
    if order >= 1:
        word &= word >> np.uint64(1) & STARTS_1
    if order >= 2:
        word &= word >> np.uint64(2) & STARTS_2
    if order >= 3:
        word &= word >> np.uint64(4) & STARTS_4
    if order >= 4:
        word &= word >> np.uint64(8) & STARTS_8
    if order >= 5:
        word &= word >> np.uint64(16) & STARTS_16
    return word


@inlined
def widened(starts, order):
    """The word with all bits set of the aligned runs of 2**order that begin at the bits `starts`.

    order <= 5.
    """
    one = np.uint64(1)
    return starts * ((one << np.uint64(np.int64(1) << order)) - one)


@inlined
def longest_run(word):
    """1 + order of the longest aligned run of set bits in `word`: 0 for no bit, 7 for all."""
    if word == np.uint64(0):
        return np.int64(0)
    if word == ONES:
        return np.int64(7)
    longest = np.int64(1)
    word &= word >> np.uint64(1) & STARTS_1
    longest += word != np.uint64(0)
    word &= word >> np.uint64(2) & STARTS_2
    longest += word != np.uint64(0)
    word &= word >> np.uint64(4) & STARTS_4
    longest += word != np.uint64(0)
    word &= word >> np.uint64(8) & STARTS_8
    longest += word != np.uint64(0)
    word &= word >> np.uint64(16) & STARTS_16
    longest += word != np.uint64(0)
    return longest


# ---- one instruction each -------------------------------------------------------------------

_I1, _I8, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_LINE = ir.VectorType(_I8, 64)
_MASK = ir.VectorType(_I1, 64)


def _count_plain(word):
    return np.int64((int(word) & -int(word)).bit_length() - 1 if word else 64)


@machine(_count_plain)
def trailing_zeros(typing, word):
    """Zeros below the lowest set bit of a uint64; 64 for 0."""

    def build(context, builder, signature, args):
        return builder.cttz(args[0], _I1(0))

    return types.int64(types.uint64), build


@machine(lambda word: np.int64(64 - int(word).bit_length()))
def leading_zeros(typing, word):
    """Zeros above the highest set bit of a uint64; 64 for 0."""

    def build(context, builder, signature, args):
        return builder.ctlz(args[0], _I1(0))

    return types.int64(types.uint64), build


@machine(lambda word: np.int64(int(word).bit_count()))
def popcount(typing, word):
    """Set bits of a uint64."""

    def build(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), build


_MIX = 0x9E37_79B9_7F4A_7C15  # odd, its bits in no order (Knuth's 2**64 / golden ratio)


def _mixed_plain(value, word):
    product = (int(value) ^ int(word)) * _MIX % (1 << 64)
    return np.uint64(product ^ (product >> 32))


@machine(_mixed_plain)
def mixed(typing, value, word):
    """A hash of the uint64 `value` and the uint64 `word`: product modulo 2**64, halves folded."""

    def build(context, builder, signature, args):
        product = builder.mul(builder.xor(*args), _I64(_MIX))
        return builder.xor(product, builder.lshr(product, _I64(32)))

    return types.uint64(types.uint64, types.uint64), build


def _load_word_plain(array, at):
    return np.uint64(int.from_bytes(bytes(array[at : at + 8]), "little"))


@machine(_load_word_plain)
def load_word(typing, array, at):
    """Eight bytes of a uint8 array from any index on, as a uint64, the first byte lowest."""

    def build(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), _I64.as_pointer())
        return builder.load(place, align=1)

    return types.uint64(array, types.int64), build


def _line_pointer(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), _LINE.as_pointer())


def _load_line(context, builder, signature, args):
    return builder.load(_line_pointer(context, builder, signature, args), align=1)


def _splat(builder, value):
    one = builder.insert_element(ir.Constant(_LINE, ir.Undefined), value, _I64(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
    return builder.shuffle_vector(one, ir.Constant(_LINE, ir.Undefined), zeros)


def _mask_plain(flags):
    return np.packbits(flags, bitorder="little").view(np.uint64)[0]


def _reduce(builder, operation, vector):
    name = f"llvm.vector.reduce.{operation}.v64i8"
    kind = ir.FunctionType(_I8, [_LINE])
    reduce = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(reduce, [vector])


def _compare(predicate):
    def typed(typing, line, at, value):
        def build(context, builder, signature, args):
            vector = _load_line(context, builder, signature, args)
            limit = _splat(builder, builder.trunc(args[2], _I8))
            flags = builder.icmp_unsigned(predicate, vector, limit)
            return builder.bitcast(flags, _I64)

        return types.uint64(line, types.int64, types.int64), build

    return typed


bytes_at_least = machine(lambda line, at, value: _mask_plain(line[at : at + 64] >= value))(
    _compare(">=")
)
bytes_equal = machine(lambda line, at, value: _mask_plain(line[at : at + 64] == value))(
    _compare("==")
)


@machine(lambda line, at: np.int64(line[at : at + 64].max()))
def bytes_max(typing, line, at):
    """The largest of 64 bytes."""

    def build(context, builder, signature, args):
        vector = _load_line(context, builder, signature, args)
        return builder.zext(_reduce(builder, "umax", vector), _I64)

    return types.int64(line, types.int64), build


def _tightest_plain(line, at, value):
    able = line[at : at + 64][line[at : at + 64] >= value]
    return _mask_plain(line[at : at + 64] == able.min()) if len(able) else np.uint64(0)


@machine(_tightest_plain)
def bytes_tightest(typing, line, at, value):
    """A bit for each of 64 bytes that equals the smallest which is at least `value` > 0."""

    def build(context, builder, signature, args):
        vector = _load_line(context, builder, signature, args)
        limit = _splat(builder, builder.trunc(args[2], _I8))
        able = builder.icmp_unsigned(">=", vector, limit)
        beyond = ir.Constant(_LINE, [255] * 64)
        least = _reduce(builder, "umin", builder.select(able, vector, beyond))
        equal = builder.icmp_unsigned("==", vector, _splat(builder, least))
        return builder.bitcast(builder.and_(equal, able), _I64)

    return types.uint64(line, types.int64, types.int64), build


def _put_plain(line, at, mask, value):
    bits = np.unpackbits(np.array([mask], np.uint64).view(np.uint8), bitorder="little")
    line[at : at + 64][bits.astype(bool)] = value


@machine(_put_plain)
def bytes_put(typing, line, at, mask, value):
    """Write `value` to those of 64 bytes whose bit in `mask` is set."""

    def build(context, builder, signature, args):
        pointer = _line_pointer(context, builder, signature, args)
        flags = builder.bitcast(args[2], _MASK)
        fresh = _splat(builder, builder.trunc(args[3], _I8))
        old = builder.load(pointer, align=1)
        builder.store(builder.select(flags, fresh, old), pointer, align=1)
        return context.get_dummy_value()

    return types.void(line, types.int64, types.uint64, types.int64), build


def _cycles_plain():
    import time

    return np.int64(time.perf_counter_ns())


@machine(_cycles_plain)
def cycles(typing):
    """The processor's cycle counter (x86: rdtsc; not serialising, so time batches, not ones)."""

    def build(context, builder, signature, args):
        kind = ir.FunctionType(_I64, [])
        name = "llvm.readcyclecounter"
        counter = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(counter, [])

    return types.int64(), build


@machine(lambda value: value)
def one_by_one(typing, value):
    """`value`, of which the compiler then knows nothing.

    A loop with it is not made into vector instructions, for an empty one stands there.
    """

    def build(context, builder, signature, args):
        kind = ir.FunctionType(_I64, [_I64])
        return builder.asm(kind, "", "=r,0", [args[0]], True, "opaque")

    return types.int64(types.int64), build


@machine(lambda array, at: None)
def prefetch(typing, array, at):
    """Have the line of array[at] fetched, to be written soon."""

    def build(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), _I8.as_pointer())
        bits = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), bits, bits, bits])
        name = "llvm.prefetch.p0i8"
        fetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(fetch, [place, bits(1), bits(3), bits(1)])
        return context.get_dummy_value()

    return types.none(array, types.int64), build


@machine(lambda: None)
def apart(typing):
    """First line of a kernel that stays a call and is seldom made: LLVM is told so.

    Made part of the hot loop, what is seldom done takes the registers of what is done always.
    """

    def build(context, builder, signature, args):
        for attribute in ("noinline", "cold"):
            builder.function.attributes.add(attribute)
        return context.get_dummy_value()

    return types.none(), build
