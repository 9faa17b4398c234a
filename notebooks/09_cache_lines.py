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
# # Cache lines
# An allocator "touches too many cachelines to be good with today's CPUs": which ones? *Allocate*
# asks Linux's buddy allocator, the same with memdesc in place of `struct page`, and POTAD for
# 4 KiB. Every line of 64 bytes that they read or write lights up, in its order.
#
# The first press compiles the three with a meter: a minute or so each, once on a machine.

# %%
import potadlab as pl

lines = pl.lab.Lines()
lines

# %% [markdown]
# Memory is empty above, so the first press fills a per-CPU list, or POTAD's front cache, and is
# dear; ask *100 times* and the mean settles. Release *the last* and ask again: the same lines,
# still warm.
#
# The same from the middle of a recorded trace, where memory is in use:

# %%
pl.lab.Lines("mixed_owners", at="50%")

# %% [markdown]
# Which lines does a lookup read? Open the tab *Lookup*, press *Light up the lines*, and click any
# byte of a map. The tab *Lines* shows the same of every op of the trace, and counts them all.

# %%
pl.lab.Dashboard("mixed_owners", ["potad", "buddy"])
