"""What allocators in the hand say, in lines of text; owners are anyone's words, so never markup."""

from html import escape

from ..failure import Failure
from ..metrics.descriptors import struct_page_bytes
from ..potad import Allocator, Claim, Descriptor, Potad
from ..units import format_size
from . import words
from .pictures import Held


def described(found: Descriptor, at_bytes: int) -> list[str]:
    """Lines on the block at an address: size, kind, start, owner, handle, record, pins."""
    start = f", from {words.address(found.start)}" if found.start != at_bytes else ""
    pieces = f", shared by {found.pieces} blocks" if found.pieces > 1 else ""
    lines = [
        f"block of {format_size(found.size)}, {found.kind}{start}",
        f"owner: {words.short(found.owner)}",
        f"handle {found.handle}, {words.record(found.record_bytes)}{pieces}",
    ]
    return [*lines, f"pinned {found.pins} times"] if found.pins else lines


def claimed(claim: Claim) -> str:
    """Place, steps and cost of a claim."""
    chunk = claim.chunks[0].size
    moved = f", {format_size(claim.moved_bytes)} moved away" if claim.moves else ""
    tried = "; tried " + "; ".join(map(str, claim.steps)) if claim.steps else ""
    many = f"{len(claim.chunks)} x {format_size(chunk)}"
    return f"{many} at {words.address(claim.start)}{moved}{tried}"


def released(gone: bool) -> str:
    return "released" if gone else "put off: it goes with its last pin"


def table(allocators: dict[str, Allocator], held: dict[str, Held]) -> str:
    """Free bytes, largest free block and descriptors of each, as a table."""
    rows = [
        (
            name,
            format_size(held[name].free_bytes),
            format_size(allocator.largest_free_bytes),
            format_size(descriptor_bytes(allocator)),
        )
        for name, allocator in allocators.items()
    ]
    head = "".join(f"<th>{text}</th>" for text in ("", "free", "largest block", "descriptors"))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f'<table class="potadlab-numbers"><tr>{head}</tr>{body}</table>'


def descriptor_bytes(allocator: Allocator) -> int:
    """What tells of each block, lookup included: POTAD's own count; elsewhere struct pages."""
    if isinstance(allocator, Potad):
        return allocator.descriptors().total_bytes
    return struct_page_bytes(sum(end - start for start, end in allocator.in_service().tolist()))


def told(failure: Failure) -> str:
    """What became of a failure, whose memory it was, and who was told."""
    whose = (
        "free" if failure.kind == "free" else f"{failure.kind}, {words.short(failure.owner, 80)}"
    )
    moved = "" if failure.moved_to is None else f"; moved to {words.address(failure.moved_to)}"
    return f"{whose}: {failure}{moved}"


def unpoisoned(free: bool) -> str:
    return "in service again" if free else "works again, in its block"
