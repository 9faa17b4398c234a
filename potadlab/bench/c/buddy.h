/*
 * A model of Linux's page allocator (mm/page_alloc.c, 6.12), to compare times with.
 *
 * One zone, one migratetype in use; no lock, no watermarks, no work for gfp flags or memcg: it flatters
 * Linux.  Written from the algorithm, not from its text.
 *
 * PER_CPU=1  adds the lists of pcp_allowed_order: orders 0..3 and 9, one CPU (rmqueue_pcplist,
 *            free_unref_page_commit); batches of 63 >> order, up to six of them kept.
 * TAILS=1    adds what every tail page of a compound page is written (prep_compound_page) and cleared
 *            (free_pages_prepare).  It is what makes Linux's memmap a lookup of heads.
 */
#include <stdint.h>
#include <stddef.h>

#ifndef PER_CPU
#define PER_CPU 0
#endif
#ifndef TAILS
#define TAILS 0
#endif

enum { ORDER_MAX = 10, PAGEBLOCK_ORDER = 9, MIGRATETYPES = 4, MOVABLE = 1, BATCH = 63, BATCHES_KEPT = 6 };

struct list { struct list *next, *prev; };

struct page { /* 64 bytes, as with memcg and without debugging */
	uint64_t flags; /* zone in the top bits */
	struct list list; /* free or per-CPU list; in a tail page: next holds compound_head */
	void *mapping;
	uint64_t index;
	uint64_t private; /* order of a free block */
	uint32_t page_type;
	int32_t refcount;
	uint64_t memcg;
};
_Static_assert(sizeof(struct page) == 64, "a line each");

#define PG_HEAD (1ull << 6)
#define PG_REPORTED (1ull << 20)
#define FLAGS_CHECKED_AT_FREE 0x7e0ffffull
#define ZONE_SHIFT 56
#define TYPE_BUDDY 0xf0000000u
#define TYPE_NONE 0xffffffffu
#define LIST_POISON_NEXT ((struct list *)0xdead000000000100ull)
#define LIST_POISON_PREV ((struct list *)0xdead000000000122ull)
#define TAIL_MAPPING ((void *)0x400) /* TAIL_MAPPING of include/linux/poison.h */

static struct page *memmap;
static uint64_t pages;
static uint32_t *pageblock_flags; /* four bits a pageblock */
static struct { struct list lists[MIGRATETYPES]; uint64_t blocks; } free_area[ORDER_MAX + 1]
	__attribute__((aligned(64)));
static int64_t free_pages, free_pages_in_blocks;

static struct page *page_of(struct list *list)
{
	return (struct page *)((char *)list - offsetof(struct page, list));
}

static void list_insert(struct list *item, struct list *before, struct list *after)
{
	after->prev = item;
	item->next = after;
	item->prev = before;
	before->next = item;
}

static void list_remove(struct list *item)
{
	item->next->prev = item->prev;
	item->prev->next = item->next;
	item->next = LIST_POISON_NEXT;
	item->prev = LIST_POISON_PREV;
}

static int pageblock_migratetype(uint64_t pfn)
{
	uint64_t pageblock = pfn >> PAGEBLOCK_ORDER;
	return pageblock_flags[pageblock >> 3] >> ((pageblock & 7) * 4) & 7;
}

static void free_list_add(struct page *page, int order, int to_tail)
{
	struct list *head = &free_area[order].lists[MOVABLE];

	if (to_tail)
		list_insert(&page->list, head->prev, head);
	else
		list_insert(&page->list, head, head->next);
	free_area[order].blocks++;
	if (order >= PAGEBLOCK_ORDER)
		free_pages_in_blocks += 1 << order;
}

static void free_list_remove(struct page *page, int order)
{
	if (page->flags & PG_REPORTED)
		page->flags &= ~PG_REPORTED;
	list_remove(&page->list);
	page->page_type = TYPE_NONE;
	page->private = 0;
	free_area[order].blocks--;
	if (order >= PAGEBLOCK_ORDER)
		free_pages_in_blocks -= 1 << order;
}

static void mark_free(struct page *page, int order)
{
	page->private = order;
	page->page_type = TYPE_BUDDY;
}

/* The buddy of a block, if it is free, of the same order and in the same zone (find_buddy_page_pfn). */
static struct page *free_buddy(struct page *page, uint64_t pfn, int order, uint64_t *buddy_pfn)
{
	struct page *buddy;

	*buddy_pfn = pfn ^ (1ull << order);
	if (*buddy_pfn >= pages)
		return NULL;
	buddy = page + ((int64_t)*buddy_pfn - (int64_t)pfn);
	if (buddy->page_type == TYPE_BUDDY && buddy->private == (uint64_t)order &&
	    buddy->flags >> ZONE_SHIFT == page->flags >> ZONE_SHIFT)
		return buddy;
	return NULL;
}

/* __free_one_page: merge while the buddy is free; to the tail if the next merge is likely. */
static void free_one_page(uint64_t pfn, int order)
{
	struct page *page = memmap + pfn;
	int migratetype = pageblock_migratetype(pfn), to_tail = 0;
	uint64_t buddy_pfn = 0, merged;

	free_pages += 1ll << order;
	while (order < ORDER_MAX) {
		struct page *buddy = free_buddy(page, pfn, order, &buddy_pfn);

		if (!buddy)
			break;
		if (order >= PAGEBLOCK_ORDER && pageblock_migratetype(buddy_pfn) != migratetype)
			break;
		free_list_remove(buddy, order);
		merged = buddy_pfn & pfn;
		page += (int64_t)merged - (int64_t)pfn;
		pfn = merged;
		order++;
	}
	mark_free(page, order);
	if (order < ORDER_MAX - 1) { /* buddy_merge_likely */
		uint64_t higher_pfn = buddy_pfn & pfn, unused;
		struct page *higher = page + ((int64_t)higher_pfn - (int64_t)pfn);

		to_tail = free_buddy(higher, higher_pfn, order + 1, &unused) != NULL;
	}
	free_list_add(page, order, to_tail);
}

/* __rmqueue_smallest and expand: the head of the first list that can serve, its upper halves given back. */
static int64_t take_smallest(int order)
{
	for (int found = order; found <= ORDER_MAX; found++) {
		struct list *head = &free_area[found].lists[MOVABLE];
		struct page *page;

		if (head->next == head)
			continue;
		page = page_of(head->next);
		free_list_remove(page, found);
		while (found > order) {
			found--;
			free_list_add(page + (1ull << found), found, 0);
			mark_free(page + (1ull << found), found);
		}
		free_pages -= 1ll << order;
		return page - memmap;
	}
	return -1;
}

static void prepare_allocated(struct page *page, int order)
{
	page->private = 0;
	page->refcount = 1;
	if (TAILS && order) {
		page->flags |= PG_HEAD;
		for (int i = 1; i < 1 << order; i++) {
			page[i].mapping = TAIL_MAPPING;
			page[i].list.next = (struct list *)((uintptr_t)page + 1);
			page[i].private = 0;
		}
		page[1].flags |= order;
	}
}

static void prepare_freed(struct page *page, int order)
{
	page->flags &= ~FLAGS_CHECKED_AT_FREE & ~PG_HEAD;
	page->refcount = 0;
	if (TAILS && order) {
		page[1].flags &= ~0xffull;
		for (int i = 1; i < 1 << order; i++) {
			page[i].mapping = NULL;
			page[i].list.next = NULL;
			page[i].flags &= ~FLAGS_CHECKED_AT_FREE;
		}
	}
}

static struct { struct list list; int count; } per_cpu[ORDER_MAX + 1];

static int is_per_cpu(int order)
{
	return PER_CPU && (order <= 3 || order == PAGEBLOCK_ORDER);
}

static int batch_of(int order)
{
	return BATCH >> order > 0 ? BATCH >> order : 1;
}

static int64_t allocate(int order)
{
	int64_t pfn;

	if (is_per_cpu(order)) {
		struct list *head = &per_cpu[order].list;
		struct page *page;

		for (int i = per_cpu[order].count ? batch_of(order) : 0; i < batch_of(order); i++) { /* rmqueue_bulk */
			pfn = take_smallest(order);
			if (pfn < 0)
				break;
			list_insert(&memmap[pfn].list, head->prev, head);
			per_cpu[order].count++;
		}
		if (!per_cpu[order].count)
			return -1;
		page = page_of(head->next);
		list_remove(&page->list);
		per_cpu[order].count--;
		prepare_allocated(page, order);
		return page - memmap;
	}
	pfn = take_smallest(order);
	if (pfn >= 0)
		prepare_allocated(memmap + pfn, order);
	return pfn;
}

static void free_from_per_cpu(int order, int count)
{
	while (count--) { /* free_pcppages_bulk: the longest there goes first */
		struct page *page = page_of(per_cpu[order].list.prev);

		list_remove(&page->list);
		per_cpu[order].count--;
		free_one_page(page - memmap, order);
	}
}

static void release(int64_t pfn, int order)
{
	struct page *page = memmap + pfn;

	prepare_freed(page, order);
	if (!is_per_cpu(order)) {
		free_one_page(pfn, order);
		return;
	}
	list_insert(&page->list, &per_cpu[order].list, per_cpu[order].list.next);
	per_cpu[order].count++;
	if (per_cpu[order].count > BATCHES_KEPT * batch_of(order))
		free_from_per_cpu(order, batch_of(order));
}

static void drain(void)
{
	for (int order = 0; order <= ORDER_MAX; order++)
		free_from_per_cpu(order, per_cpu[order].count);
}

static void begin(uint64_t count)
{
	pages = count;
	memmap = huge_pages(count * sizeof(struct page));
	pageblock_flags = huge_pages((count >> 12) * 4 + 64);
	for (uint64_t i = 0; i <= count >> 12; i++)
		pageblock_flags[i] = 0x11111111u * MOVABLE;
	for (int order = 0; order <= ORDER_MAX; order++) {
		for (int i = 0; i < MIGRATETYPES; i++)
			free_area[order].lists[i].next = free_area[order].lists[i].prev = &free_area[order].lists[i];
		per_cpu[order].list.next = per_cpu[order].list.prev = &per_cpu[order].list;
	}
	for (uint64_t i = 0; i < count; i++) {
		memmap[i].list.next = memmap[i].list.prev = &memmap[i].list;
		memmap[i].page_type = TYPE_NONE;
	}
	for (uint64_t i = 0; i < count; i += 1 << ORDER_MAX) {
		mark_free(memmap + i, ORDER_MAX);
		free_list_add(memmap + i, ORDER_MAX, 1);
	}
	free_pages = count;
}

static uint64_t largest_free_blocks(void)
{
	return free_area[ORDER_MAX].blocks;
}
