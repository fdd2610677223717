/* What is asked of the operating system: memory, a lock, forks, processors and the time.
 *
 * It is Windows, or POSIX; nothing else in the library needs to know which.  memory.c
 * says why large blocks have pages of their own. */
#ifndef BATTEN_SYSTEM_H
#define BATTEN_SYSTEM_H

#include <stddef.h>

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#include <malloc.h>
#include <windows.h>

static inline void *system_block(size_t alignment, size_t bytes)
{
    return _aligned_malloc(bytes, alignment);
}
static inline void system_free_block(void *p)
{
    _aligned_free(p);
}

/* Huge pages take a privilege here that users do not have, and so these are aligned as pages come. */
static inline void *system_pages(size_t alignment, size_t bytes)
{
    (void)alignment;
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
static inline void system_free_pages(void *p, size_t bytes)
{
    (void)bytes;
    VirtualFree(p, 0, MEM_RELEASE);
}

typedef SRWLOCK system_lock;
#define SYSTEM_LOCK SRWLOCK_INIT
static inline void system_take(system_lock *lock)
{
    AcquireSRWLockExclusive(lock);
}
static inline void system_let_go(system_lock *lock)
{
    ReleaseSRWLockExclusive(lock);
}

/* There are no forks. */
static inline void system_watch_forks(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    (void)before, (void)in_parent, (void)in_child;
}

static inline int system_processors(void)
{
    return (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}

/* Nanoseconds of a clock that nobody sets. */
static inline long long system_time(void)
{
    LARGE_INTEGER ticks, second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&second);
    return (long long)((double)ticks.QuadPart / (double)second.QuadPart * 1e9);
}

#else

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static inline void *system_block(size_t alignment, size_t bytes)
{
    void *p;
    return posix_memalign(&p, alignment, bytes) ? NULL : p;
}
static inline void system_free_block(void *p)
{
    free(p);
}

/* Maps enough to find an aligned piece inside, gives the ends back, and has the rest on huge pages where there are
 * some. */
static inline void *system_pages(size_t alignment, size_t bytes)
{
    char *p = mmap(NULL, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    const size_t head = -(size_t)p % alignment;
    if (head)
        munmap(p, head);
    munmap(p + head + bytes, alignment - head);
#ifdef MADV_HUGEPAGE
    madvise(p + head, bytes, MADV_HUGEPAGE);
#endif
    return p + head;
}
static inline void system_free_pages(void *p, size_t bytes)
{
    munmap(p, bytes);
}

typedef pthread_mutex_t system_lock;
#define SYSTEM_LOCK PTHREAD_MUTEX_INITIALIZER
static inline void system_take(system_lock *lock)
{
    pthread_mutex_lock(lock);
}
static inline void system_let_go(system_lock *lock)
{
    pthread_mutex_unlock(lock);
}

static inline void system_watch_forks(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    pthread_atfork(before, in_parent, in_child);
}

static inline int system_processors(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static inline long long system_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

#endif
#endif
