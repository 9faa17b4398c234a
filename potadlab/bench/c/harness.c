/*
 * Replays an exchange file in an allocator (ALLOCATOR, a header), one round for each line of input.
 *
 *   harness FILE PAGES     FILE: little-endian records {u8 op, u8 order, u16 0, u32 id}; op 0 allocates
 *                          2**order pages of PAGES and calls the block id, op 1 releases it.
 *
 * Input "replay": replays the file; answers "ns-per-op refused".  What lives at the end is released
 * afterwards, outside the time.  Input "pairs ORDER": allocates and releases one block, then, from a half
 * full pool, 128 blocks at a time in random order; answers "ns ns", of a pair each.  Input "end":
 * gives back what per-CPU lists hold; answers how many blocks of the largest order are free.
 * Times are of this process's processor time.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void *huge_pages(size_t bytes) /* of 2 MiB, as the kernel maps its memmap */
{
	const size_t huge = 2u << 20;
	char *place;

	bytes = (bytes + huge - 1) & ~(huge - 1);
	place = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (place == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	place = (char *)(((uintptr_t)place + huge - 1) & ~(uintptr_t)(huge - 1));
	madvise(place, bytes, MADV_HUGEPAGE);
	return place;
}

#include ALLOCATOR

enum { BLOCKS_AT_A_TIME = 128, PAIRS = 1 << 15 };

struct record { uint8_t op, order; uint16_t zero; uint32_t id; };

static struct record *records;
static size_t count, ids;
static int64_t *where;
static uint8_t *orders;

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static void read_file(const char *name)
{
	FILE *file = fopen(name, "rb");

	if (!file || fseek(file, 0, SEEK_END)) {
		perror(name);
		exit(1);
	}
	count = ftell(file) / sizeof(struct record);
	rewind(file);
	records = huge_pages(count * sizeof(struct record));
	if (fread(records, sizeof(struct record), count, file) != count) {
		perror(name);
		exit(1);
	}
	fclose(file);
	for (size_t i = 0; i < count; i++)
		if (records[i].id >= ids)
			ids = records[i].id + 1ul;
	where = huge_pages(ids * sizeof(*where));
	orders = calloc(ids, 1);
	memset(where, 0xff, ids * sizeof(*where));
}

static __attribute__((noinline)) uint64_t replay(void)
{
	uint64_t refused = 0;

	for (size_t i = 0; i < count; i++) {
		struct record record = records[i];

		if (record.op == 0) {
			int64_t pfn = allocate(record.order);

			where[record.id] = pfn;
			refused += pfn < 0;
		} else if (where[record.id] >= 0) {
			release(where[record.id], record.order);
			where[record.id] = -1;
		}
	}
	return refused;
}

static void release_the_rest(void)
{
	for (size_t i = 0; i < count; i++)
		orders[records[i].id] = records[i].order;
	for (size_t id = 0; id < ids; id++)
		if (where[id] >= 0) {
			release(where[id], orders[id]);
			where[id] = -1;
		}
}

static uint64_t random_number(void) /* splitmix64 */
{
	static uint64_t state = 7;
	uint64_t mixed = state += 0x9e3779b97f4a7c15ull;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ull;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebull;
	return mixed ^ mixed >> 31;
}

static void shuffle(int64_t *pool, size_t size)
{
	for (size_t i = size - 1; i > 0; i--) {
		size_t j = random_number() % (i + 1);
		int64_t other = pool[i];

		pool[i] = pool[j];
		pool[j] = other;
	}
}

static void pairs(int order, uint64_t pages)
{
	size_t size = (pages >> order) / 2;
	size_t batch = size < BLOCKS_AT_A_TIME ? size : BLOCKS_AT_A_TIME;
	int64_t *pool = malloc(size * sizeof(*pool));
	double before = now_ns(), hot, batches = 0;

	for (int i = 0; i < PAIRS; i++)
		release(allocate(order), order);
	hot = (now_ns() - before) / PAIRS;
	for (size_t i = 0; i < size; i++)
		pool[i] = allocate(order);
	for (int i = 0; i < PAIRS / BLOCKS_AT_A_TIME; i++) {
		shuffle(pool, size);
		before = now_ns();
		for (size_t j = 0; j < batch; j++)
			release(pool[j], order);
		for (size_t j = 0; j < batch; j++)
			pool[j] = allocate(order);
		batches += now_ns() - before;
	}
	for (size_t i = 0; i < size; i++)
		release(pool[i], order);
	free(pool);
	printf("%.3f %.3f\n", hot, batches / (PAIRS / BLOCKS_AT_A_TIME * batch));
}

int main(int arguments, char **argument)
{
	uint64_t pages;
	char line[64];
	int order;

	if (arguments != 3)
		return 2;
	read_file(argument[1]);
	pages = strtoull(argument[2], NULL, 10);
	begin(pages);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "replay\n")) {
			double before = now_ns();
			uint64_t refused = replay();
			double after = now_ns();

			printf("%.3f %llu\n", (after - before) / count, (unsigned long long)refused);
			release_the_rest();
		} else if (sscanf(line, "pairs %d", &order) == 1) {
			pairs(order, pages);
		} else {
			drain();
			printf("%llu\n", (unsigned long long)largest_free_blocks());
		}
		fflush(stdout);
	}
	return 0;
}
