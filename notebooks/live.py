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

# %% jupyter={"source_hidden": true}
import potadlab as pl

live = pl.lab.Live()
live

# %% [markdown]
# This machine's page allocations as they happen, through a tracing instance of its own that goes
# away with the notebook's kernel. On the map, the wheel zooms and dragging moves; a click says
# what a page is used for. *Record* writes what happens from then on, with the memory before and
# after: a trace for the dashboard. `pl.lab.Live(owners=True)` tells functions of the kernel
# instead of processes.
