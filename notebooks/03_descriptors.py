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
# # Descriptors of their own kind and size
# Linux spends 64 bytes of `struct page` on every 4 KiB, used or not. POTAD spends a record on
# each block, as large as its kind needs: 80 bytes for a folio, 360 for an `xfs_buf`, none at all
# for plain kernel pages; and an entry of 8 bytes with start bits for the lookup.

# %%
import potadlab as pl

potad = pl.Potad(pl.Space.ram("64MiB"))
hand = pl.lab.Hand(potad)
hand

# %%
for number in range(200):
    potad.allocate("4KiB", "anon", f"task {number % 7}")
for number in range(20):
    potad.allocate("64KiB", "xfs_buf", "metadata")
    potad.allocate("2MiB" if number < 10 else "32KiB", "large_folio", "guest")
print(potad.descriptors())

# %% [markdown]
# A kind of one's own: how large its descriptor is, whether its blocks may move, who is told when
# its memory fails. The body of a descriptor is its owner's to write.

# %%
told = []
pl.Kind.register("frame", descriptor_bytes=96, movable=False, on_failure=told.append)
camera = pl.Potad(pl.Space.ram("1MiB"))
frame = camera.allocate("64KiB", "frame", "camera 0")
camera.lookup(frame.start).body[:4] = (1, 2, 3, 4)
camera.lookup(frame.start + 5000).body[:4], camera.fail(frame.start + 5000), told

# %% [markdown]
# Descriptors need memory too. Hosted, they take it from the very space that they describe, in
# blocks that need no descriptor: no recursion, and no granule is lost.

# %%
hosted = pl.Potad(pl.Space.ram("64KiB"), hosted=True)
while hosted.largest_free_bytes:
    hosted.allocate("4KiB", "anon", "task")
print(hosted.descriptors())
pl.lab.Hand(hosted)

# %% [markdown]
# A recorded machine: bytes of records and lookup at the end of a kernel build, by what each
# allocator keeps.

# %%
run = pl.replay(pl.Trace.read(pl.datasets()["thp_split"]), ["potad", "buddy"])
run.table()
