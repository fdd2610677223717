/* How many threads a kernel uses.
 *
 * Every parallel region states its team by batten_team(work): one thread when the
 * work would not pay for waking a team, else batten_threads().  By default that is
 * OMP_NUM_THREADS where it is set, else the smallest of
 *   - the processors that this process may run on (its affinity),
 *   - the processor time that its control group grants (a container's quota),
 *   - the physical cores: two kernels on one core share its arithmetic units and
 *     gain nothing.
 *
 * A team waits for its last member.  Where other processes want the processors, that
 * one may wait for a slice of time, 1 to 10 ms, in each region: beside two busy
 * processes a training step of 3 ms has been seen to take 400 ms, and 7 ms on one
 * thread.  So a region that took far longer than its work can is taken for such a
 * wait.  One may be an accident; after the next within a tenth of a second, kernels
 * stay on one thread for twice as long as it took, and when the team is tried again
 * and soon waits again, for twice as long as before, and so on.  Results are the same
 * for any team, so nobody can tell but by the clock.
 *
 * A thread may ask to stay alone, as one does that prepares what another trains with:
 * the other's team has all processors already.
 *
 * After fork the child has one thread, and GNU's OpenMP runtime waits for ever for
 * the others if it had a team before.  A forked child therefore runs serially. */
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#endif
#include "batten.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static atomic_int threads; /* 0: not asked yet */
static atomic_int forked;

#ifdef __linux__

static long affinity(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
}

/* The quota of this process's control group or of one above it, rounded up;
 * a huge number where there is none. */
static long quota(void)
{
    long least = 1 << 30;
    char line[4096], path[4200], *group = NULL;
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && !group && fgets(line, sizeof line, f))
        if (!strncmp(line, "0::", 3))
            group = line + 3;
    if (f)
        fclose(f);
    if (group)
        group[strcspn(group, "\n")] = 0;
    while (group) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") ? group : "");
        double most, period;
        f = fopen(path, "r");
        if (f && fscanf(f, "%lf %lf", &most, &period) == 2 && most > 0 && period > 0) {
            const long cores = (long)((most + period - 1) / period);
            least = cores < least ? cores : least;
        }
        if (f)
            fclose(f);
        char *slash = strrchr(group, '/');
        if (!slash || !slash[1])
            break;
        slash[slash == group] = 0;
    }
    const char *const old[] = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"};
    double value[2] = {-1, -1};
    for (int i = 0; i < 2; i++)
        if ((f = fopen(old[i], "r"))) {
            if (fscanf(f, "%lf", &value[i]) != 1)
                value[i] = -1;
            fclose(f);
        }
    if (value[0] > 0 && value[1] > 0) {
        const long cores = (long)((value[0] + value[1] - 1) / value[1]);
        least = cores < least ? cores : least;
    }
    return least < 1 ? 1 : least;
}

/* Processors that are the first of their core's siblings. */
static long cores(void)
{
    long found = 0, online = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0, seen = 0; seen < online && i < 4096; i++) {
        char path[96];
        long first;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list", i);
        FILE *f = fopen(path, "r");
        if (!f)
            continue;
        seen++;
        found += fscanf(f, "%ld", &first) == 1 && first == i;
        fclose(f);
    }
    return found > 0 ? found : online;
}

#else

static long affinity(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN);
}
static long quota(void)
{
    return affinity();
}
static long cores(void)
{
    return affinity();
}

#endif

static int default_threads(void)
{
    const char *asked = getenv("OMP_NUM_THREADS");
    const long n = asked ? strtol(asked, NULL, 10) : 0; /* a list by level, "4,2", means 4 here */
    if (n > 0)
        return n < 1024 ? (int)n : 1024;
    long least = affinity();
    least = quota() < least ? quota() : least;
    least = cores() < least ? cores() : least;
    return least > 0 ? (int)least : 1;
}

static void in_child(void)
{
    atomic_store(&forked, 1);
}

static void ask_once(void)
{
    int none = 0;
    atomic_compare_exchange_strong(&threads, &none, default_threads());
    pthread_atfork(NULL, NULL, in_child);
}

int batten_threads(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask_once);
#ifdef _OPENMP
    return atomic_load(&forked) ? 1 : atomic_load(&threads);
#else
    return 1;
#endif
}

/* ---- teams ---- */

/* Nanoseconds.  A pause, which may be nought, lasts from a late region to `resume`. */
static atomic_llong resume, pause_length;
enum { LATE = 1000000, ACCIDENT = 100000000, LONGEST_PAUSE = 250000000 };

static _Thread_local int alone;

/* The region that this thread is about to begin. */
static _Thread_local struct {
    long long began;
    size_t work;
} region;

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void batten_stay_alone(void)
{
    alone = 1;
}

void batten_set_threads(int n)
{
    batten_threads();
    atomic_store(&threads, n);
    atomic_store(&resume, 0); /* who sets the number wants it to be tried */
    atomic_store(&pause_length, 0);
}

/* WORTH elementary operations (one element of y = x + z each) take about 4 us on one
 * core.  To wake two threads that spin and to join them takes 0.6 us, and 0.7 to 0.9
 * with what moves between their caches: at WORTH, two take 0.7 to 0.9 of one's time,
 * and at half of it up to 1.1.  `bench/threads.py` measures what becomes of that.
 *
 * It is all or one: GNU's runtime ends the threads that a smaller team leaves over,
 * and starts others for the next. */
int batten_team(size_t work)
{
    enum { WORTH = 32768 };
    const int n = work < WORTH || alone ? 1 : batten_threads();
    if (n == 1)
        return 1;
    region.work = work;
    region.began = now();
    return region.began < atomic_load_explicit(&resume, memory_order_relaxed) ? 1 : n;
}

void batten_dismiss(void)
{
    /* A nanosecond an operation is eight times what one thread takes. */
    const long long end = now(), took = end - region.began;
    if (took < LATE + (long long)region.work)
        return;
    const long long before = atomic_load(&pause_length), since = end - atomic_load(&resume);
    long long length = since > ACCIDENT + before ? 0 : before ? 2 * before : 2 * took;
    length = length < LONGEST_PAUSE ? length : LONGEST_PAUSE;
    atomic_store(&pause_length, length);
    atomic_store(&resume, end + length);
}

const char *batten_openmp(void)
{
#if !defined(_OPENMP)
    return NULL;
#elif defined(__clang__)
    return "libomp";
#else
    return "libgomp";
#endif
}
