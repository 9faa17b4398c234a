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
# # On stage
# Three things to click through before others. First a claim: 1 GiB is full of page cache, but for
# 8 MiB in a row that begin at an odd MiB, and single holes.

# %%
import potadlab as pl

READ = "page_cache_ra_unbounded;filemap_get_pages;ext4_file_read_iter;vfs_read"
potad = pl.Potad(pl.Space.ram("1GiB"))
cache = [potad.allocate("256KiB", "file", READ) for _ in range(4 * 1024 - 1)]
buffer = potad.allocate("4KiB", "xfs_buf", "xfs_trans_read_buf_map;xfs_buf_alloc;mount /home")
gone = {block.start: block for block in cache if 17 <= block.start >> 20 < 25}
gone |= {block.start: block for block in cache[400:4000:16]}
for block in gone.values():
    potad.release(block)
stage = pl.lab.Dashboard(potad.trace("on stage"), ["potad", "buddy"])
stage

# %% [markdown]
# The tab *Claims*, then the key End: 8 MiB, aligned to 1 MiB, CMA's area 64 MiB. *Search*, and its
# arrows go through the steps: 1 x 8 MiB, 2 x 4, 4 x 2, and 8 x 1 is found. *Claim* takes it.
# *Search* again: now all steps are in vain, and the nearest window is outlined with what is in its
# way. Choose a block there, and its owner's call stack is shown. *Migrate and claim* moves them;
# the log has the cost. CMA's answer stands in the same table.
#
# Then a byte of a buffer of XFS goes bad. The cell below writes its address into the tab
# *Failures*; press *Fail* there. POTAD tells the owner by name; what Linux does with the same
# block stands beside: Ignored, since its page belongs to no process and no page cache.

# %%
stage.failing.address.value = f"{buffer.start + 100:#x}"
print(f"{buffer.size} bytes of {buffer.kind} at {buffer.start:#x}, of {buffer.owner}")

# %% [markdown]
# Last, why grouping matters: memory in use for long, and a slider for the share of it that kernel
# objects hold which cannot be moved. Move it, and see how many huge pages each policy still gets.
# [Notebook 08](08_unmovable.ipynb) says how to read it.

# %%
unmovable = pl.lab.Unmovable()
unmovable
