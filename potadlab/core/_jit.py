"""The only use of Numba's decorators in the project: `kernel` and its kin.

Numba's disk cache notices neither a change in a function imported from another file
(numba/numba#1833) nor a change of NUMBA_BOUNDSCHECK.  So compiled kernels live in a
directory named by a digest of everything that may change the machine code: the sources
of `core/`, the versions of Numba and NumPy, the flags.  Edit anything, and the next run
compiles afresh in a new directory; old directories may be deleted at any time.
"""

import functools
import hashlib
import inspect
import os
import pickle
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba
import numpy
from llvmlite.binding import get_host_cpu_name
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer, infer_global
from numba.extending import intrinsic

from ._state import state as state

_CORE = Path(__file__).parent
_PACKAGE = __name__.partition(".")[0]


def _cache_root() -> Path:
    """$POTADLAB_CACHE or the user's cache folder; a private temporary one where that is read-only.

    Numba's index is a pickle, so a folder that another user could write must not be read.
    """
    for place in (os.environ.get("POTADLAB_CACHE"), os.environ.get("XDG_CACHE_HOME"), "~/.cache"):
        if not place:
            continue
        root = Path(os.path.expanduser(place))
        root = root if place == os.environ.get("POTADLAB_CACHE") else root / "potadlab"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if root.stat().st_uid == os.getuid() and os.access(root, os.W_OK):
            return root
    return Path(tempfile.mkdtemp(prefix="potadlab-"))


def _digest() -> str:
    """Of everything that may change the machine code: sources, versions, flags, processor."""
    facts = [numba.__version__, llvmlite.__version__, numpy.__version__, numba.config.BOUNDSCHECK]
    facts += [sys.implementation.cache_tag, numba.config.CPU_NAME, get_host_cpu_name()]
    digest = hashlib.blake2b(digest_size=8)
    for fact in facts:
        digest.update(repr(fact).encode())
    for source in sorted(_CORE.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


DISABLED = bool(numba.config.DISABLE_JIT)
CACHE_DIR = _cache_root() / _digest()


def kernel(fn):
    """Compile `fn` in nopython mode, without the GIL, cached in `CACHE_DIR`; it must not allocate.

    Without Numba's runtime no reference counts are kept for the arrays that a state holds:
    compile_redis replays in POTAD in 63 instead of 340 ns per op, in buddy in 58 instead of 170
    (numba/numba#2345).  Scratch arrays come from the caller.
    """
    return _compile(fn, _nrt=False, forceinline=False)


def inlined(fn):
    """A kernel of the hot path: always made part of its caller.

    A call that stays a call hands over every array of the state, some 130 words; compile_redis
    replays in POTAD in 26 instead of 190 ns per op.  Costs time to compile, so not for the rest.
    """
    return _compile(fn, _nrt=False, forceinline=True)


def allocating_kernel(fn):
    """As `kernel`, for the few outside the hot loops that make arrays of their own."""
    return _compile(fn, forceinline=False)


def _compile(fn, **options):
    ours = fn.__module__.partition(".")[0] == _PACKAGE
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE_DIR)
    try:
        compiled = numba.njit(cache=ours, nogil=True, error_model="numpy", **options)(fn)
    finally:
        numba.config.CACHE_DIR = before
    if ours and not numba.config.DISABLE_JIT:
        _forgive_strangers(compiled)
        _keep_out_strangers(compiled)
    return compiled


def _keep_out_strangers(compiled) -> None:
    """Neither keep nor find again what was compiled for a state of somebody else's.

    Its kernels are part of the machine code, but no part of the digest: a replay kept from before
    an edit of theirs would go on as before.
    """
    cache = compiled._cache
    save, load = cache.save_overload, cache.load_overload
    cache.save_overload = lambda sig, data: None if _is_strange(sig) else save(sig, data)
    cache.load_overload = lambda sig, target: None if _is_strange(sig) else load(sig, target)


def _is_strange(kind) -> bool:
    """Whether a class from outside the package is in these types, however deep."""
    found = getattr(kind, "instance_class", None)
    if found is not None and found.__module__.partition(".")[0] != _PACKAGE:
        return True
    parts = getattr(kind, "types", kind if isinstance(kind, tuple) else ())
    return any(map(_is_strange, parts))


def _forgive_strangers(compiled) -> None:
    """Let an index that cannot be read count as empty.

    Numba pickles the classes of states into the index of what it has compiled; one that is not
    there any more would fail every later process, as would an index that was cut off.
    """
    index = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    load = getattr(index, "_load_index", None)
    if load is None:  # another Numba keeps it elsewhere
        return

    def load_known():
        try:
            return load()
        except (ImportError, AttributeError, EOFError, pickle.UnpicklingError):
            return {}

    index._load_index = load_known


def generic(fn):
    """Make `fn` an open function: the class of its first argument picks the implementation.

    `fn.register` reads that class from the annotation of the implementation's first
    parameter.  Works from Python, inside kernels, and under NUMBA_DISABLE_JIT=1.
    """
    implementations = {}

    @functools.wraps(fn)
    def call(state, *args):
        return implementations[type(state)](state, *args)

    _teach(call, implementations)

    def register(implementation):
        first = next(iter(inspect.signature(implementation, eval_str=True).parameters.values()))
        implementations[first.annotation] = implementation
        if issubclass(first.annotation, tuple):
            state(first.annotation)
        return implementation

    call.register = register
    call.implementations = implementations
    return call


def _teach(call, implementations) -> None:
    """Tell Numba that `call` is, for each class of state, the kernel registered for it.

    `numba.extending.overload` would do, with a function between: some 130 words handed over once
    more, a third of all the time it takes to compile.
    """

    class Chosen(AbstractTemplate):
        key = call

        def generic(self, args, kws):
            kernel = implementations.get(getattr(args[0], "instance_class", None))
            if kernel is None:
                return None
            self.chosen = types.Dispatcher(kernel)
            return self.chosen.get_call_type(self.context, args, kws)

        def get_impl_key(self, signature):
            return self.chosen.get_impl_key(signature)

    infer(Chosen)
    infer_global(call, types.Function(Chosen))


def machine(plain):
    """Pair a plain Python function with its machine code: `machine(plain)(typing_function)`.

    Kernels get the intrinsic, NUMBA_DISABLE_JIT=1 gets the plain twin; tests call both.
    """

    def pair(typing_function):
        if numba.config.DISABLE_JIT:
            return plain
        compiled = intrinsic(typing_function)
        compiled.plain = plain
        return compiled

    return pair
