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
# room. What is drawn: the share of the huge pages asked for that were got.

# %%
import ipywidgets

import potadlab as pl
from potadlab.dashboard.stage import Figures, bring_bokeh
from potadlab.views import ageing_ram

bring_bokeh()
policies = ["potad", "potad:groups=migratetype", "buddy", "llfree"]
load = {"read": 0.3, "huge": 0.3, "small": 0.1, "kernel": 0.3}  # more kernel objects than usual
age = lambda percent: pl.age("128MiB", policies, seeds=3, unmovable=percent / 100, **load)  # noqa: E731
drawn = lambda percent: Figures(ageing_ram.draw(age(percent).ageing, "success"))  # noqa: E731

percent = ipywidgets.IntSlider(10, 0, 50, 5, description="unmovable, %", continuous_update=False)
figure = ipywidgets.VBox([drawn(percent.value)])
percent.observe(lambda change: setattr(figure, "children", [drawn(change["new"])]), "value")
ipywidgets.VBox([percent, figure])

# %% [markdown]
# Without grouping, a few objects spoil most regions of 2 MiB: `potad` and `llfree` fall at once.
# With groups by migratetype POTAD gets what Linux's buddy gets, which groups too, up to 10 %; at
# 30 % it is a tenth behind. The same at each share, over the last five turnovers, with the cost:

# %%
for share in (0, 10, 30):
    print(f"{share} % unmovable")
    print(age(share).table())
