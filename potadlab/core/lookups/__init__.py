"""The lookups, by the name people give: name -> new(granules, kinds)."""

from . import heads, memmap

LOOKUPS = {"memmap": memmap.new, "heads": heads.new}
