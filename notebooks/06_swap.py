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
# # Not only memory: a swap file
#
# POTAD hands out any space. Here it is a swap file, made by Linux's own `mkswap`: its slots are the
# granules, slot 0 is the header and never touched.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import ipywidgets

import potadlab as pl
from potadlab.views import ageing

folder = TemporaryDirectory()
file = pl.SwapFile.make(Path(folder.name) / "swap", "256KiB", label="classroom")
file.header

# %% [markdown]
# Seven pages go out, in pieces of powers of two, each with a checksum: a block of four pages, one
# of two, one of one. They are really in the file, and come back verified.

# %%
pages = b"".join(bytes([65 + number]) * 4096 for number in range(7))
out = file.swap_out(pages, owner="editor")
assert file.swap_in(out) == pages
out.pieces, file.potad.lookup(out.pieces[0].start + 5000)

# %% [markdown]
# Now a device in use for long: folios of 4 KiB, 16 KiB, 64 KiB and 2 MiB go out (as many pages of
# each), what is out is freed at random. A folio that finds no block of its own size is split and
# goes out page by page. Linux 6.12 keeps clusters of 512 slots, each for one size at a time; POTAD
# merges what is freed, whatever its size was. A turnover: as much went out as fits.

# %%
device = pl.Space.ram("1GiB")
aged = pl.age_swap(device, fill=0.9, turnovers=20)
pl.lab.show(ageing.draw(aged))

# %% [markdown]
# The fuller the device, the harder. Up to 80 % in use POTAD serves every folio, while the clusters
# are soon out of wholly free ones, which 2 MiB needs. From 97 % on POTAD serves ever fewer of
# 64 KiB as well; the clusters, into which no smaller folio but a page is let, go on serving those
# and lose 16 KiB instead. And POTAD pays more for each slot.

# %%
fills = (0.5, 0.8, 0.9, 0.95, 0.97, 0.99)
pl.lab.show(ageing.draw_by_fill([pl.age_swap(device, fill) for fill in fills]))

# %%
choose = ipywidgets.interact_manual(
    lambda fill, seed: pl.lab.show(ageing.draw(pl.age_swap(device, fill, seed=seed))),
    fill=ipywidgets.FloatSlider(value=0.99, min=0.5, max=0.99, step=0.01),
    seed=ipywidgets.IntText(value=1),
)
