"""Errors people meet: one line each, which says what was asked, where, and what would work."""


class PotadError(Exception):
    """Base of all errors of potadlab; the state is as it was before the call."""


class BadTrace(PotadError):
    """A file cannot be read as a trace or snapshot."""


class BadSize(PotadError):
    """A size or alignment that cannot be had."""


class BadSpace(PotadError):
    """A space too small for the trace, or malformed."""


class UnknownName(PotadError):
    """No allocator, lookup, kind or dataset of this name."""


class BadKind(PotadError):
    """A kind that cannot be registered."""
