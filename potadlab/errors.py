"""Errors people meet: one line each, which says what was asked, where, and what would work."""


class PotadError(Exception):
    """Base of all errors of potadlab; the state is as it was before the call."""


class BadTrace(PotadError):
    """A file cannot be read as a trace or snapshot."""


class CannotRecord(PotadError):
    """This machine cannot be recorded from here, or not now."""


class BadSize(PotadError):
    """A size or alignment that cannot be had."""


class BadSpace(PotadError):
    """A space too small for the trace, or malformed."""


class OutOfSpace(PotadError):
    """Nothing free that would serve."""


class NotLive(PotadError):
    """No live block is there, or not this one, or not from its start."""


class BadAddress(PotadError):
    """An address outside of what is in service."""


class Pinned(PotadError):
    """A pin holds the block where it is."""


class NoDescriptor(PotadError):
    """A block of a kind without a descriptor has nothing to count or write on."""


class BadSwap(PotadError):
    """A file cannot be used as swap, or does not hold what was swapped out to it."""


class UnknownName(PotadError):
    """No allocator, lookup, kind or dataset of this name."""


class BadAllocator(PotadError):
    """An allocator that cannot be registered."""


class BadKind(PotadError):
    """A kind that cannot be registered."""


class Cancelled(PotadError):
    """Work that someone stopped; all is as it was before."""
