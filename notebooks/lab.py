# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% jupyter={"source_hidden": true}
import potadlab as pl

dashboard = pl.lab.Dashboard("compile_redis")
dashboard

# %% [markdown]
# Memory of a recorded machine, as POTAD, Linux's buddy allocator and the recorded kernel place it.
# *Play* it, or drag the time. On a map, the wheel zooms, dragging moves, a click pauses and shows
# the block; then let that address fail, or claim contiguous memory. *Undo* goes back.
