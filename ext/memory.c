/* The memory pool.
 *
 * Fresh pages are expensive: the first touch of a 4 KiB page runs at about a tenth
 * of the speed of memory that is there already.  A training step asks for the same
 * sizes again and again, so freed blocks are kept and given out again, the last
 * freed first (it may still be in the cache).
 *
 * Sizes are rounded up to classes, eight to a doubling: 64, 128, 192, ... 512, then
 * 576, 640, ... 1024, 1152, ...  A block above 512 bytes wastes at most an eighth.
 * Each class has a list of free blocks, linked through the blocks themselves, and
 * the size is all that tells the class: the caller keeps it, so blocks have no
 * header.
 *
 * Large blocks are mapped on their own, aligned to 2 MiB, and offered to the kernel
 * for huge pages: a fresh huge page costs a quarter of its 512 small ones.
 *
 * One lock guards the lists; nothing slow happens under it.  A forked child finds
 * the lock free, as the parent takes it around fork. */
#include "batten.h"
#include "system.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define HIDE(p, n) ((void)0)
#define SHOW(p, n) ((void)0)
#endif

enum { ALIGNMENT = 64, STEPS = 8, CLASSES = STEPS * 58 };
static const size_t HUGE_PAGE = (size_t)2 << 20;

struct block {
    struct block *next;
};

static system_lock lock = SYSTEM_LOCK;
static struct block *spare[CLASSES];
static batten_memory stats;

/* The class of a size, and its true size in *bytes.  From 512 on, a class is an
 * exponent and the three bits behind the leading one. */
static size_t class_of(size_t *bytes)
{
    const size_t n = *bytes ? *bytes : 1;
    if (n <= STEPS * ALIGNMENT) {
        const size_t class = (n - 1) / ALIGNMENT;
        *bytes = (class + 1) * ALIGNMENT;
        return class;
    }
    const unsigned exponent = 63 - (unsigned)__builtin_clzll(n - 1); /* 2^exponent <= n - 1 */
    const size_t step = ((size_t)1 << exponent) / STEPS, above = (n - 1 - ((size_t)1 << exponent)) / step;
    *bytes = ((size_t)1 << exponent) + (above + 1) * step;
    return (exponent - 8) * STEPS + above;
}

static int mapped(size_t bytes)
{
    return bytes >= HUGE_PAGE;
}

static void *fresh(size_t bytes)
{
    return mapped(bytes) ? system_pages(HUGE_PAGE, bytes) : system_block(ALIGNMENT, bytes);
}

static void give_back(void *p, size_t bytes)
{
    SHOW(p, bytes);
    if (mapped(bytes))
        system_free_pages(p, bytes);
    else
        system_free_block(p);
}

static void before_fork(void)
{
    system_take(&lock);
}
static void after_fork(void)
{
    system_let_go(&lock);
}
static void in_child(void)
{
    lock = (system_lock)SYSTEM_LOCK;
}
__attribute__((constructor)) static void watch_forks(void)
{
    system_watch_forks(before_fork, after_fork, in_child);
}

void *batten_allocate(size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2)
        return NULL;
    size_t size = bytes;
    const size_t class = class_of(&size);

    system_take(&lock);
    struct block *p = spare[class];
    if (p) {
        SHOW(p, sizeof *p);
        spare[class] = p->next;
        stats.reused++;
    }
    system_let_go(&lock);

    const int reused = p != NULL;
    if (!p)
        p = fresh(size);
    if (!p) { /* what other sizes keep may be enough */
        batten_empty_cache();
        p = fresh(size);
    }
    if (!p)
        return NULL;

    system_take(&lock);
    stats.requests++;
    stats.reserved += reused ? 0 : size;
    stats.allocated += size;
    if (stats.allocated > stats.peak)
        stats.peak = stats.allocated;
    system_let_go(&lock);
    HIDE(p, size);
    SHOW(p, bytes);
    return p;
}

void batten_release(void *block, size_t bytes)
{
    struct block *p = block;
    size_t size = bytes;
    const size_t class = class_of(&size);
    SHOW(p, sizeof *p);
    system_take(&lock);
    p->next = spare[class];
    spare[class] = p;
    stats.allocated -= size;
    HIDE(p, size);
    system_let_go(&lock);
}

void batten_empty_cache(void)
{
    for (size_t class = 0; class < CLASSES; class++) {
        const size_t size =
            class < STEPS ? (class + 1) * ALIGNMENT : (STEPS + class % STEPS + 1) << (class / STEPS + 5);
        system_take(&lock);
        struct block *p = spare[class];
        spare[class] = NULL;
        for (struct block *q = p; q; q = q->next) {
            SHOW(q, sizeof *q);
            stats.reserved -= size;
        }
        system_let_go(&lock);
        while (p) {
            struct block *const next = p->next;
            give_back(p, size);
            p = next;
        }
    }
}

batten_memory batten_memory_stats(void)
{
    system_take(&lock);
    const batten_memory now = stats;
    system_let_go(&lock);
    return now;
}
