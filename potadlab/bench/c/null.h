/* An allocator that answers at once: what remains is the harness. */
#include <stdint.h>

static uint64_t answered;

static __attribute__((noinline)) int64_t allocate(int order)
{
	__asm__ volatile("" : : "r"(order) : "memory");
	return ++answered & 0xfffff;
}

static __attribute__((noinline)) void release(int64_t pfn, int order)
{
	__asm__ volatile("" : : "r"(pfn), "r"(order) : "memory");
}

static void drain(void) {}
static void begin(uint64_t count) { (void)count; }
static uint64_t largest_free_blocks(void) { return 0; }
