"""Which memory a kernel touches: any kernel, unchanged, called with `metered(state)`.

Each array of a metered state is a `Metered`, an ndarray with a Numba type of its own.  A kernel
that is called with one is compiled anew for it, and while it is lowered to LLVM's IR a call goes in
before each load and store that is not to its own stack: address and bytes are appended to `LOG`.
So nothing is sprinkled over kernels, a user's own allocator is metered like ours, and the kernels
that replay without a meter are, to the instruction, those that they were.

What has no address is free: the ints of a state, such as `Tree.top`, are in registers here; in a
kernel they would be constants or one line that is only read.  The loads are those of the program
as written, before LLVM leaves out what is dead or read twice; lines are counted once per op.

The log is one for the process: who meters holds `BUSY`.  Not there under NUMBA_DISABLE_JIT=1
(`AVAILABLE` says so): the plain kernels have no loads to see.
"""

import functools
import threading
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import lowering, types
from numba.core.datamodel import models
from numba.extending import register_model, typeof_impl
from numba.np.numpy_support import from_dtype, map_layout

from ._jit import DISABLED
from .mapped import mapped

AVAILABLE = not DISABLED
BUSY = threading.Lock()

ACCESS = np.dtype([("address", "i8"), ("bytes", "i8")])  # bytes < 0: they are written
ROOM = 1 << 22
LOG = mapped(ROOM, ACCESS)
LOGGED = np.zeros(1, np.int64)  # since it was set to 0; what is beyond ROOM was not kept


class Metered(np.ndarray):
    """An array of which kernels log what they touch."""

    __numba_array_subtype_dispatch__ = True


class _MeteredTuple:
    """First base of a metered state's class; to Numba it is the state's own, its arrays Metered."""


def metered(state: Any) -> Any:
    """`state` (a NamedTuple) over the same memory, its arrays and those of its parts Metered."""
    parts = []
    for part in state:
        if isinstance(part, np.ndarray):
            parts.append(part.view(Metered))
        else:
            parts.append(metered(part) if isinstance(part, tuple) else part)
    return _metered_class(type(state))(*parts)


@functools.cache
def _metered_class(state_class: type) -> type:
    """A class of its own: Numba's dispatch would take the arrays of a NamedTuple for plain ones."""
    return type(f"Metered{state_class.__name__}", (_MeteredTuple, state_class), {})


# ---- Numba's types --------------------------------------------------------------------------

_MARK = "metered "


class MeteredRecord(types.Record):
    """A record of a metered array: a kernel that gets nothing but this is metered too."""

    def __init__(self, plain: types.Record) -> None:
        fields = [(name, field._asdict()) for name, field in plain.fields.items()]
        super().__init__(fields, plain.size, plain.aligned)
        self.name = _MARK + self.name

    def can_convert_to(self, typingctx, other):
        return None  # else a kernel compiled for the plain one would serve


class MeteredArray(types.Array):
    """The type of `Metered`."""

    def __init__(self, dtype, ndim, layout, readonly=False, aligned=True) -> None:
        name = f"{_MARK}array({dtype}, {ndim}d, {layout}, {readonly}, {aligned})"
        super().__init__(dtype, ndim, layout, readonly=readonly, name=name, aligned=aligned)

    def copy(self, dtype=None, ndim=None, layout=None, readonly=None):
        """Slices and rows are of the same kind."""
        return MeteredArray(
            self.dtype if dtype is None else dtype,
            self.ndim if ndim is None else ndim,
            self.layout if layout is None else layout,
            not self.mutable if readonly is None else readonly,
            self.aligned,
        )

    def can_convert_to(self, typingctx, other):
        return None


register_model(MeteredRecord)(models.RecordModel)
register_model(MeteredArray)(models.ArrayModel)


@typeof_impl.register(Metered)
def _type_of_array(array, context):
    dtype = from_dtype(array.dtype)
    if isinstance(dtype, types.Record):
        dtype = MeteredRecord(dtype)
    aligned, readonly = array.flags.aligned, not array.flags.writeable
    return MeteredArray(dtype, array.ndim, map_layout(array), readonly, aligned)


@typeof_impl.register(_MeteredTuple)
def _type_of_tuple(state, context):
    return typeof_impl(type(state).__mro__[2]._make(state), context)


def _is_metered(kind: types.Type) -> bool:
    return _MARK in str(kind)  # the name of a type holds those of its parts


# ---- LLVM's instructions --------------------------------------------------------------------

_I64, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_ENTRY = ir.LiteralStructType([_I64, _I64])
_LOG, _LOGGED, _TOUCH = "potadlab_log", "potadlab_logged", "potadlab_touch"
_STRAIGHT = ir.instructions.CastInstr | ir.instructions.GEPInstr
_ATOMIC = ir.instructions.AtomicRMW | ir.instructions.CmpXchg
_COPIES = {"llvm.memcpy": (0, 1), "llvm.memmove": (0, 1), "llvm.memset": (0,)}


def _lower(lower, fndesc):
    """Numba's own lowering of one function, and its log if it is given anything metered."""
    _lower_plain(lower, fndesc)
    if any(map(_is_metered, fndesc.argtypes)):
        lower.function.attributes.discard("alwaysinline")  # no speed is wanted: compiles in half
        lower.function.attributes.add("noinline")
        _log_accesses(lower.function)


_lower_plain = lowering.Lower.lower_normal_function
lowering.Lower.lower_normal_function = _lower
binding.add_symbol(_LOG, LOG.ctypes.data)
binding.add_symbol(_LOGGED, LOGGED.ctypes.data)


def _log_accesses(function: ir.Function) -> None:
    """Put a call of `_touch` before each access of a lowered function to other memory."""
    touch, own = _touch(function.module), set(function.args[:2])  # where result and error go
    for block in function.blocks:
        found, block.instructions = block.instructions, []
        builder = ir.IRBuilder(block)
        for instruction in found:
            for pointer, size, writes in _accesses(instruction):
                origin = _origin(pointer)
                if origin in own or isinstance(origin, ir.AllocaInstr | ir.GlobalVariable):
                    continue  # its stack, a constant
                size = builder.neg(size) if writes else size
                builder.call(touch, [builder.bitcast(pointer, _BYTES), size])
            block.instructions.append(instruction)
            builder.position_at_end(block)


def _accesses(instruction):
    """(pointer, bytes, writes?) of each piece of memory that an instruction touches."""
    if isinstance(instruction, ir.LoadInstr):
        invariant = "invariant.load" in instruction.metadata  # a field of the state itself
        return [] if invariant else [(instruction.operands[0], _bytes_of(instruction.type), False)]
    if isinstance(instruction, ir.StoreInstr):
        value, pointer = instruction.operands
        return [(pointer, _bytes_of(value.type), True)]
    if isinstance(instruction, _ATOMIC):
        pointer, value = instruction.operands[:2]
        return [(pointer, _bytes_of(value.type), True)]
    if not isinstance(instruction, ir.CallInstr):
        return []
    name = getattr(instruction.callee, "name", "")
    places = _COPIES.get(".".join(name.split(".")[:2]), ())
    size = instruction.args[2] if places else None
    return [(instruction.args[place], size, place == 0) for place in places]


def _bytes_of(kind: ir.Type) -> ir.Constant:
    """Bytes of a type as LLVM lays it out: the address of element 1 of an array at 0."""
    null = ir.Constant(kind.as_pointer(), None)
    return null.gep([ir.Constant(ir.IntType(32), 1)]).ptrtoint(_I64)


def _origin(pointer: ir.Value) -> ir.Value:
    """What a pointer was computed from."""
    while isinstance(pointer, _STRAIGHT):
        pointer = pointer.operands[0]
    return pointer


def _touch(module: ir.Module) -> ir.Function:
    """void touch(address, bytes): append to the log.  A call: inline it compiles twice as long."""
    known = module.globals.get(_TOUCH)
    if known is not None:
        return known
    touch = ir.Function(module, ir.FunctionType(ir.VoidType(), [_BYTES, _I64]), _TOUCH)
    touch.linkage = "linkonce_odr"
    touch.attributes.add("noinline")
    log = ir.GlobalVariable(module, ir.ArrayType(_ENTRY, ROOM), _LOG)
    logged = ir.GlobalVariable(module, _I64, _LOGGED)
    builder = ir.IRBuilder(touch.append_basic_block())
    at = builder.load(logged)
    builder.store(builder.add(at, _I64(1)), logged)
    with builder.if_then(builder.icmp_unsigned("<", at, _I64(ROOM))):
        entry = builder.gep(log, [_I64(0), at])
        for place, value in enumerate([builder.ptrtoint(touch.args[0], _I64), touch.args[1]]):
            builder.store(value, builder.gep(entry, [ir.IntType(32)(0), ir.IntType(32)(place)]))
    builder.ret_void()
    return touch
