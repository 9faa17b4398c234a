"""What each alloc was for: told by its call stack where one was recorded, else guessed from flags.

The innermost function that decides wins: `allocate_slab` below `alloc_buffer_head` is a slab page,
`pte_alloc_one` below `do_anonymous_page` a page table.  Names are those of Linux 6.1 to 6.18.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..core.layout import NONE
from ..errors import BadTrace
from ..kinds import KIND

BEFORE = "before the recording"  # owner 0: of the start's blocks

_FUNCTIONS = {
    "anon": (  # mm/memory.c, mm/huge_memory.c, mm/swap_state.c; do_fault: a private file copied
        "do_anonymous_page do_wp_page wp_page_copy do_cow_fault do_fault alloc_anon_folio "
        "folio_prealloc vma_alloc_anon_folio_pmd do_huge_pmd_anonymous_page alloc_charge_folio "
        "do_swap_page __read_swap_cache_async ksm_might_need_to_copy"
    ),
    "file": (  # mm/filemap.c, mm/readahead.c, mm/shmem.c; pages of a block device count as well
        "page_cache_ra_order page_cache_ra_unbounded ra_alloc_folio filemap_alloc_folio "
        "filemap_create_folio __filemap_get_folio filemap_fault filemap_get_pages "
        "shmem_alloc_folio shmem_alloc_and_add_folio"
    ),
    "ptdesc": (  # arch/x86/mm/pgtable.c, mm/memory.c
        "pte_alloc_one pte_alloc_one_kernel __pte_alloc __pte_alloc_kernel __pmd_alloc __pud_alloc "
        "__p4d_alloc pmd_alloc_one pud_alloc_one pgd_alloc pagetable_alloc"
    ),
    "slab": "allocate_slab new_slab alloc_slab_page",  # mm/slub.c
    "network": (  # net/core/sock.c, skbuff.c, page_pool.c, mm/page_frag_cache.c
        "skb_page_frag_refill __alloc_skb alloc_skb_with_frags napi_alloc_skb __netdev_alloc_skb "
        "page_frag_alloc_align __page_frag_alloc_align __page_frag_cache_refill "
        "page_pool_alloc_pages __page_pool_alloc_pages_slow __page_pool_alloc_page_order"
    ),
    "pipe": "anon_pipe_write pipe_write anon_pipe_get_page",  # fs/pipe.c
    "stack": "alloc_thread_stack_node dup_task_struct",  # kernel/fork.c
    "vmalloc": "vm_area_alloc_pages __vmalloc_area_node",  # mm/vmalloc.c
    "hugetlb": "alloc_buddy_hugetlb_folio alloc_hugetlb_folio alloc_fresh_hugetlb_folio",
    "driver": "dma_direct_alloc __dma_direct_alloc_pages iommu_dma_alloc dma_alloc_attrs",
    "xfs_buf": "xfs_buf_alloc_folio xfs_buf_alloc_backing_mem xfs_buf_alloc_pages",
    "kernel": "tlb_next_batch tlb_remove_table",  # mm/mmu_gather.c: lists of pages to be freed
}
_KIND_OF = {function: kind for kind, names in _FUNCTIONS.items() for function in names.split()}
_GUESS = {1: "folio", 2: "slab"}  # Linux's migratetype Movable, Reclaimable


class Purposes(NamedTuple):
    """Of each row; frees have kind 0 (unknown) and owner NONE."""

    kind: np.ndarray  # u1
    owner: np.ndarray  # i4, index in owners
    owners: list[str]
    guessed: int  # allocs whose kind no stack told


def kind_of_stack(stack: str) -> str | None:
    """Kind told by a stack (functions, innermost first, ";" between), None if none decides."""
    for function in stack.split(";"):
        kind = _KIND_OF.get(function.split(".")[0].removesuffix("_noprof"))
        if kind:
            return kind
    return None


def kind_of_migratetype(migratetype: int) -> str:
    """Kind guessed from Linux's migratetype, which is a function of the gfp flags."""
    return _GUESS.get(migratetype, "kernel")


def flag_names(flags: int, bits: dict[str, str]) -> str:
    """gfp flags as "HIGHMEM|MOVABLE", by the trace's table of bits; hex for those without name."""
    names = [name for bit, name in bits.items() if flags >> int(bit) & 1]
    rest = flags & ~sum(1 << int(bit) for bit in bits)
    return "|".join(names + [f"{rest:#x}"] * bool(rest)) or "no flags"


def purposes(path: Path, table: pa.Table, columns: dict[str, np.ndarray], bits: Any) -> Purposes:
    """Kind and owner of each row of a trace.  Raises BadTrace if the stacks are not text."""
    alloc = columns["op"] == 0
    kind = np.zeros(len(alloc), np.uint8)
    owner = np.full(len(alloc), NONE, np.int32)
    owners = {BEFORE: 0}
    stacks = _stacks(path, table)
    guess = alloc
    if stacks is not None:
        kind, owner = _by_stack(stacks, alloc, owners)
        guess = alloc & (kind == KIND["unknown"])
    by_flags = _by_flags(columns, guess, bits, owners, owner)
    kind[guess] = by_flags
    return Purposes(kind, owner, list(owners), int(np.count_nonzero(guess)))


def _stacks(path: Path, table: pa.Table) -> pa.DictionaryArray | None:
    if "stack" not in table.column_names:
        return None
    stacks = table.column("stack")
    if pa.types.is_string(stacks.type) or pa.types.is_large_string(stacks.type):
        stacks = stacks.dictionary_encode()
    values = stacks.type.value_type if pa.types.is_dictionary(stacks.type) else None
    if values not in (pa.string(), pa.large_string()):
        raise BadTrace(f"{path}: column stack is {stacks.type}: rewrite it as text or drop it")
    return stacks.unify_dictionaries().combine_chunks()


def _by_stack(
    stacks: pa.DictionaryArray, alloc: np.ndarray, owners: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Kind and owner of each row with a stack; unknown and NONE where it does not tell."""
    texts = stacks.dictionary.to_pylist()
    kinds = [KIND[kind_of_stack(text) or "unknown"] for text in texts]
    numbers = [owners.setdefault(text, len(owners)) for text in texts]
    index = stacks.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    index = np.where(alloc, index, len(texts))
    return np.array([*kinds, 0], np.uint8)[index], np.array([*numbers, NONE], np.int32)[index]


def _by_flags(
    columns: dict[str, np.ndarray],
    rows: np.ndarray,
    bits: Any,
    owners: dict[str, int],
    owner: np.ndarray,
) -> np.ndarray:
    """Kinds guessed for `rows` (a mask); names an owner for those of them that have none."""
    classes = columns["gfp_flags"][rows].astype(np.uint64) << np.uint64(8)
    encoded = pa.array(classes | columns["migratetype"][rows]).dictionary_encode()
    values, index = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    nameless = owner[rows] == NONE
    used = set(np.unique(index[nameless]).tolist())
    names = [flag_names(value >> 8, bits) for value in values]
    numbers = [
        owners.setdefault(name, len(owners)) if place in used else NONE
        for place, name in enumerate(names)
    ]
    owner[rows] = np.where(nameless, np.array(numbers, np.int32)[index], owner[rows])
    return np.array([KIND[kind_of_migratetype(value & 255)] for value in values], np.uint8)[index]
