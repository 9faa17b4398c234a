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
# # Your own allocator
# An allocator is a state of arrays and a function for each verb. This one takes the lowest place
# that can serve. The cell copies it beside this notebook, once: change the copy, and run the cells
# below again.

# %%
import importlib
import shutil
from pathlib import Path

from IPython.display import Code

import potadlab as pl

mine = Path("first_fit.py")
mine.exists() or shutil.copy(pl.examples()["first_fit"], mine)
Code(mine.read_text(), language="python")

# %% [markdown]
# Registered, it is an allocator like the others, wherever one can be named: options, tables,
# pictures, ageing. Its functions are compiled when they are first asked for, anew in each process.

# %%
import first_fit

importlib.reload(first_fit)
pl.Allocator.register("first_fit", first_fit.new, words="first_fit looks from the start")
pl.Allocator.names()

# %% [markdown]
# By hand: what `allocate` answers, granule by granule.

# %%
import numpy as np

state = first_fit.new(np.array([(0, 64)]), np.zeros(1))
pl.interface.add(state, 0, 64)
[int(pl.interface.allocate(state, order, 0, 0, -1, 0, 0)) for order in (0, 2, 0, 3)]

# %% [markdown]
# On a recorded trace, beside POTAD, from the recorded machine's memory.

# %%
trace = pl.Trace.read(pl.datasets()["thp_split"])
run = pl.replay(trace, ["potad", "first_fit"], lookups=["heads"])
run.table()

# %% [markdown]
# And in the long run, with a load that reacts: 128 MiB, used over and over.

# %%
pl.age("128MiB", ["potad", "first_fit"], turnovers=6, seeds=2).table()

# %% [markdown]
# `pl.lab.Dashboard(trace, ["potad", "first_fit"])` shows it at every moment.
