# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A claim, in CMA's place
# A camera wants 8 MiB in a row, aligned to 1 MiB. CMA keeps an area aside for that. POTAD looks
# for adjacent chunks in all of memory: one of 8 MiB, two of 4, four of 2, eight of 1, then it
# gives up.

# %%
import random

import potadlab as pl

potad, dice = pl.Potad(pl.Space.ram("64MiB")), random.Random(1)
cache = [potad.allocate("64KiB", "file", "page cache") for _ in range(1024)]
for block in dice.sample(cache, 700):
    potad.release(block)
hand = pl.lab.Hand(potad)
hand

# %% [markdown]
# Memory is full of holes, none of them large. But page cache can move: with `migrate=True` the
# window with the least of it in the way is emptied into free memory elsewhere; what that costs is
# counted.

# %%
try:
    potad.claim("8MiB", align="1MiB", owner="camera")
except pl.OutOfSpace as error:
    print(error)
claim = potad.claim("8MiB", align="1MiB", owner="camera", migrate=True)
print(f"at {claim.start:#x}: {len(claim.moves)} blocks moved, {claim.moved_bytes >> 10} KiB")

# %% [markdown]
# Pinned memory stays: a page under DMA in each window is enough. Watch where the next claim goes.

# %%
for block in potad.blocks()[::40]:
    if block["handle"] != claim.handle:
        potad.pin(int(block["granule"]) * potad.space.granule_bytes)
try:
    second = potad.claim("8MiB", align="1MiB", owner="encoder", migrate=True)
    print(f"at {second.start:#x}: {second.moved_bytes >> 10} KiB moved")
except pl.OutOfSpace as error:
    print(error)

# %% [markdown]
# The chunks stay one unit, released whole or in part. And on a recorded machine, in the middle of
# its trace, beside Linux's buddy allocator, which can only give one block of up to 4 MiB:

# %%
for chunk in claim.chunks:
    potad.release(chunk)
session = pl.Session(pl.Trace.read(pl.datasets()["thp_split"]), ["potad", "buddy"])
for mib in (2, 4, 8, 32):
    found = session.claim(mib * 256, 6, session.length // 2)  # in pages, at 256 KiB
    print(f"{mib:>3} MiB:", {one.allocator: one.words for one in found})
