# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The lab
# Memory of a recorded machine, as POTAD, Linux's buddy allocator and the recorded kernel itself place it. Press *Play*, drag the time, click a map; then let that address fail, or claim contiguous memory.

# %%
import potadlab as pl

dashboard = pl.lab.Dashboard("compile_redis")
dashboard
