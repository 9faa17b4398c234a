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
# # Memory fails
# A machine check names a physical address. What then? Linux knows a page; POTAD knows the block,
# its kind and its owner. Click a block on the map below and let it fail, hard or soft.

# %%
import potadlab as pl
from potadlab.failure import State

potad, heard = pl.Potad(pl.Space.ram("1MiB")), []
folio = potad.allocate("64KiB", "anon", "database")
cache = potad.allocate("4KiB", "file", "page cache")
slab = potad.allocate("8KiB", "slab", "dentries", on_failure=heard.append)
buffer = potad.allocate("16KiB", "xfs_buf", "log", on_failure=lambda f: potad.release(f.start))
potad.mark(folio, State.MAPPED | State.DIRTY)
hand = pl.lab.Hand(potad)
hand

# %% [markdown]
# The same four failures as Linux 6.12 deals with them, in the words that it logs. Slab and
# `xfs_buf` are ignored: their owners never hear of it.

# %%
linux = pl.Buddy(potad.space)
for size, kind in (("64KiB", "anon"), ("4KiB", "file"), ("8KiB", "slab"), ("16KiB", "xfs_buf")):
    print(f"{kind:<8}", linux.fail(linux.allocate(size, kind).start + 4000))

# %% [markdown]
# POTAD tells them. The large folio is cut, in halves, and loses one page; the clean page is read
# again from its file; the slab's owner knows, and its page leaves with it; the log gives its
# buffer up at once. Each time the failed granule alone leaves service: red on the map.

# %%
for block in (folio, cache, slab, buffer):
    print(f"{block.kind:<8}", potad.fail(block.start + 4000))
[str(failure) for failure in heard]

# %% [markdown]
# Soft: memory that begins to look bad is emptied in time. What can move, moves; what is pinned
# stays. A page that failed only in a test comes back.

# %%
task, guest = (potad.allocate("4KiB", "anon", name) for name in ("task", "guest"))
potad.mark(task, State.MAPPED)
potad.pin(guest)
for block in (task, guest):
    print(f"{block.owner:<8}", potad.fail(block, soft=True))
potad.unpoison(cache.start), potad.largest_free_bytes
