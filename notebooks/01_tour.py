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
# # A tour of POTAD
# The Power Of Two Allocator with Descriptor, sketched by Matthew Wilcox in March 2021: blocks of
# any power of two, a descriptor of its own kind for each, found from any byte; contiguous claims
# in place of CMA; memory failure that knows whom to tell. All of it on 16 MiB in granules of 512
# bytes.

# %%
import potadlab as pl

potad = pl.Potad(pl.Space.ram("16MiB", granule=512))
hand = pl.lab.Hand(potad)
hand

# %% [markdown]
# Blocks from 512 bytes up. The lookup answers for any byte with kind, size and owner.

# %%
log = potad.allocate(512, kind="xfs_buf", owner="log of /home")
guest = potad.allocate("4MiB", kind="folio", owner="guest 7")
cache = [potad.allocate("16KiB", kind="file", owner=f"page cache {n}") for n in range(64)]
potad.lookup(guest.start + 1234567), potad.lookup(log.start + 100)

# %% [markdown]
# A large block may be cut and released piece by piece: the pieces share its descriptor, so
# releasing never needs memory. A pinned block stays where it is, and leaves with its last pin.

# %%
pieces = potad.split(guest, "1MiB")
potad.release(pieces[1])
potad.pin(pieces[2])
potad.release(pieces[2]), potad.lookup(pieces[2].start).pins, potad.unpin(pieces[2].start)

# %% [markdown]
# *8 MB at 1 MB alignment*: one 8 MiB chunk, then two of 4, four of 2, eight of 1, then give up.
# The result tells the steps. Here page cache lies in the way; it is movable.
#
# And a byte of the log's buffer fails. Linux would ignore it and tell nobody; here an owner who
# asked for it is told, and the 512 bytes alone leave service when the buffer is given back.

# %%
claim = potad.claim("8MiB", align="1MiB", owner="camera", migrate=True)
claim.steps, claim.moved_bytes

# %%
print(potad.fail(log.start + 100, by="linux"))
heard = []
other = potad.allocate("1KiB", "xfs_buf", "log of /var", on_failure=heard.append)
print(potad.fail(other.start + 600))
print(f"told: {heard[0].owner}, {heard[0].size} bytes of {heard[0].kind} at {heard[0].start:#x}")
print(potad.descriptors())
