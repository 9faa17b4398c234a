"""States reach kernels as one address, not as all their words.

Numba hands a NamedTuple over by value: a state of many arrays is some 150 words, at each call and
in each variable.  A class marked `@state` is laid out once, by the wrapper that Python calls, and
kernels get its address; a field is loaded where it is read.  The fields themselves never change
(what they point to does), so the loads are marked invariant, and LLVM may keep one in a register
across stores.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel, default_manager, register_default
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AttributeTemplate
from numba.core.typing.typeof import typeof_impl
from numba.extending import NativeValue, infer_getattr, lower_getattr_generic, unbox

_I32 = ir.IntType(32)


def state(cls):
    """Let kernels get the NamedTuple `cls`, and classes made from it, by its address."""
    typeof_impl.register(cls)(_typeof)
    return cls


class State(types.Type):
    """The type of a NamedTuple that is handed over by its address."""

    def __init__(self, instance_class, members):
        self.instance_class = instance_class
        self.names, self.members = instance_class._fields, members
        told = ", ".join(map(str, members))
        super().__init__(f"{instance_class.__module__}.{instance_class.__qualname__}({told})")


def _typeof(value, context):
    return State(type(value), tuple(typeof_impl(member, context) for member in value))


def _layout(kind: State) -> ir.LiteralStructType:
    """A field that is a state lies inside."""
    return ir.LiteralStructType(
        [
            _layout(member)
            if isinstance(member, State)
            else default_manager.lookup(member).get_value_type()
            for member in kind.members
        ]
    )


@register_default(State)
class _Model(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _layout(kind).as_pointer())


@unbox(State)
def _unbox(kind, value, c):
    """Lay the fields out in the caller's frame, which outlives the kernel."""
    place = cgutils.alloca_once(c.builder, _layout(kind))
    failed = cgutils.alloca_once_value(c.builder, cgutils.false_bit)
    for i, member in enumerate(kind.members):
        native = c.unbox(member, c.pyapi.tuple_getitem(value, i))
        laid = c.builder.load(native.value) if isinstance(member, State) else native.value
        c.builder.store(laid, _field(c.builder, place, i))
        with c.builder.if_then(native.is_error, likely=False):
            c.builder.store(cgutils.true_bit, failed)
    return NativeValue(place, is_error=c.builder.load(failed))


@infer_getattr
class _Fields(AttributeTemplate):
    key = State

    def generic_resolve(self, kind, name):
        if name in kind.names:
            return kind.members[kind.names.index(name)]
        return None


@lower_getattr_generic(State)
def _getattr(context, builder, kind, place, name):
    i = kind.names.index(name)
    member, field = kind.members[i], _field(builder, place, i)
    if isinstance(member, State):
        return field
    return impl_ret_borrowed(context, builder, member, _load(builder, field))


def _field(builder, place, i):
    return builder.gep(place, [_I32(0), _I32(i)], inbounds=True)


def _load(builder, place):
    """Load a value word by word: LLVM then drops those that are not used."""
    kind = place.type.pointee
    if isinstance(kind, ir.LiteralStructType | ir.ArrayType):
        value = ir.Constant(kind, ir.Undefined)
        count = len(kind.elements) if isinstance(kind, ir.LiteralStructType) else kind.count
        for i in range(count):
            value = builder.insert_value(value, _load(builder, _field(builder, place, i)), i)
        return value
    word = builder.load(place)
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word
