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
# # How much may stay where it is?
#
# Huge pages need 2 MiB in a row, and kernel objects that cannot be moved stand in the way. Here
# memory of 128 MiB is used for twenty turnovers by a load that reacts (a closed loop, three seeds):
# page cache fills it and is reclaimed, processes ask for huge pages, kernel objects come in bursts
# and some stay, until they hold the share that the slider says. Movable pages are moved to make
# room. Drawn on the left: the share of the huge pages asked for that were got, as memory ages; on
# the right: the same over the last five turnovers, at each share that the slider was put to. Put it
# to 0, 10, 30 and 50. What was computed is kept.

# %%
import potadlab as pl

unmovable = pl.lab.Unmovable()
unmovable

# %% [markdown]
# Without grouping, a few objects spoil most regions of 2 MiB: `potad` and `llfree` fall at once.
# With groups by migratetype POTAD gets what Linux's buddy gets, which groups too, up to 10 %; at
# 30 % it is a tenth behind. *Show* has the cost: the pages moved to empty a region, the regions
# spoilt. The same in code, as a table to paste:

# %%
load = {"read": 0.3, "huge": 0.3, "small": 0.1, "kernel": 0.3}  # more kernel objects than usual
policies = ["potad", "potad:groups=migratetype", "buddy", "llfree"]
for share in (0, 0.1, 0.3):
    print(f"{share:.0%} unmovable")
    print(pl.age("128MiB", policies, seeds=3, unmovable=share, **load).table())
