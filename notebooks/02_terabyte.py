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
# # A terabyte of 1.5
# There is no MAX_ORDER: the largest block is as large as memory allows. Registering 1.5 TiB
# writes a few lines; what is never touched costs nothing. (The descriptors that are told hold all
# start bits, one for each page: 48 MiB of addresses, of which a few lines are memory.)

# %%
import potadlab as pl

flat = pl.Potad(pl.Space.ram("1.5TiB"))
hand = pl.lab.Hand(flat)
hand

# %%
guest = flat.allocate("1TiB", kind="folio", owner="guest 7")
flat.lookup(guest.start + 12345), flat

# %% [markdown]
# One page in the wrong place is enough to make it fail; the refusal says what would have worked.

# %%
flat.release(guest)
small = flat.allocate("4KiB", owner="one page")
try:
    flat.allocate("1TiB", kind="folio", owner="guest 7")
except pl.OutOfSpace as error:
    print(error)

# %% [markdown]
# On a real x86 machine address 0 holds the legacy hole and the hole for PCI below 4 GiB, and
# memory ends before 2 TiB: a block of 1 TiB, aligned to itself, cannot exist. Contiguous memory
# of 1 TiB at 1 GiB alignment can: that is a claim. (This layout is the usual one of a machine
# with one large range above 4 GiB; addresses of no particular machine.)

# %%
usual = pl.Potad(pl.Space.ranges([("4KiB", "640KiB"), ("1MiB", "3GiB"), ("4GiB", "1538GiB")]))
claim = usual.claim("1TiB", align="1GiB", owner="guest 7")
hex(claim.start), claim.steps

# %% [markdown]
# And a real machine of 1.5 TiB, from its boot log: an HPE Superdome Flex, whose firmware keeps
# the end of each node for itself. There, no 1 TiB lies in one piece, however it is asked for.

# %%
real = pl.Potad(pl.Space.memory_map("superdome_flex"))
for size, align in (("1TiB", "1GiB"), ("128GiB", "1GiB")):
    try:
        print(size, [str(step) for step in real.claim(size, align, owner="guest 7").steps])
    except pl.OutOfSpace as error:
        print(error)
pl.lab.Hand(real)
