"""Allocators to hold in the hand: `Potad(space)`, `Buddy(space)`."""

from .allocator import Allocator
from .potad import Buddy, Potad
from .things import Block, Claim, Descriptor, Descriptors, Move, Step

__all__ = [
    "Allocator",
    "Block",
    "Buddy",
    "Claim",
    "Descriptor",
    "Descriptors",
    "Move",
    "Potad",
    "Step",
]
