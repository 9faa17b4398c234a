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
# # Two allocators by hand
# 64 KiB of memory in granules of 4 KiB, once in POTAD's hands and once in those of Linux's buddy
# allocator. A row is a moment, time goes down; between two rows stands every split and merge.
# *Allocate*, click on a block, *Release* it, and see when halves find each other again.

# %%
import potadlab as pl

ram = pl.Space.ram("64KiB", granule="4KiB")
potad, buddy = pl.Potad(ram), pl.Buddy(ram)
hand = pl.lab.Hand(potad, buddy)
hand

# %% [markdown]
# What code asks of the same allocators appears above as well. In empty memory both put the first
# three blocks in the same places; the hole that is filled next is the lowest for POTAD, and for the
# buddy allocator the one that was freed last.

# %%
for allocator in (potad, buddy):
    first, second, third = (allocator.allocate("4KiB", owner=name) for name in ("a", "b", "c"))
    allocator.release(first)
    allocator.release(third)
    fourth = allocator.allocate("4KiB", owner="d")

# %% [markdown]
# Each byte of a live block knows its block. A size that is no power of two is a claim: POTAD takes
# the largest chunks that lie side by side.

# %%
claim = potad.claim("24KiB", align="8KiB", owner="camera")
claim.steps, potad.lookup(claim.start + 12345)

# %% [markdown]
# 64 granules, to play with: fill them with small blocks, release every other one, and ask for a
# large one.

# %%
larger = pl.Space.ram("256KiB", granule="4KiB")
pl.lab.Hand(pl.Potad(larger), pl.Buddy(larger))
