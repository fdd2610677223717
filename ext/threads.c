/* How many threads a kernel uses.
 *
 * Every parallel region states its team by batten_team(work): one thread when the
 * work would not pay for waking a team, else batten_threads().  By default that is
 * OMP_NUM_THREADS where it is set, else what processors.c finds that may be used.
 *
 * A team waits for its last member.  Where other processes want the processors, that
 * one may wait for a slice of time, 1 to 10 ms, in each region: beside two busy
 * processes a training step of 3 ms has been seen to take 400 ms, and 7 ms on one
 * thread.  So a region that took far longer than its work can is taken for such a
 * wait.  One may be an accident; after the next within a tenth of a second, kernels
 * stay on one thread for twice as long as it took, and when the team is tried again
 * and soon waits again, for twice as long as before, and so on.  Before it is tried
 * again, the system is asked whether there is room: threads that spin for 100 ms, as
 * OpenBLAS's do after each product, are not met once more.  Results are the same for any
 * team, so nobody can tell but by the clock.
 *
 * A thread may ask to stay alone, as one does that prepares what another trains with:
 * the other's team has all processors already.
 *
 * After fork the child has one thread, and GNU's OpenMP runtime would wait for ever for
 * the team that this thread had before.  So a thread that forks sends its team home
 * first, in 40 us, and parent and child start others when they need them: teams of
 * whoever shares the runtime as well, which is why forks are watched from the beginning.
 * Where that cannot be done, a forked child runs serially; so it does with LLVM's runtime,
 * whose children have been seen to hang where scikit-learn had computed in their parent. */
#include "batten.h"
#include "system.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static atomic_int threads; /* 0: not asked yet */
static atomic_int serial;  /* in a child that must have no teams */

static int default_threads(void)
{
    const char *asked = getenv("OMP_NUM_THREADS");
    const long n = asked ? strtol(asked, NULL, 10) : 0; /* a list by level, "4,2", means 4 here */
    if (n > 0)
        return n < 1024 ? (int)n : 1024;
    const batten_processors found = batten_count_processors("");
    int least = found.cores < found.affinity ? found.cores : found.affinity;
    least = found.quota && found.quota < least ? found.quota : least;
    return least > 0 ? least : 1;
}

int batten_threads(void)
{
    int n = atomic_load(&threads);
    if (n == 0) { /* whoever asks or sets it first has it so for all */
        const int found = default_threads();
        n = atomic_compare_exchange_strong(&threads, &n, found) ? found : n;
    }
#ifdef _OPENMP
    return atomic_load(&serial) ? 1 : n;
#else
    return 1;
#endif
}

/* ---- forks ---- */

static _Thread_local int held; /* the team of this thread, which forks, could not be sent home */

static void before_fork(void)
{
#if defined(_OPENMP) && !defined(__clang__)
    held = omp_pause_resource_all(omp_pause_soft) != 0;
#else
    held = 1;
#endif
}

static void in_child(void)
{
    if (held)
        atomic_store(&serial, 1);
}

__attribute__((constructor)) static void watch_forks(void)
{
    system_watch_forks(before_fork, NULL, in_child);
}

/* ---- teams ---- */

/* Nanoseconds.  A pause, which may be nought, lasts from a late region to `resume`; until
 * `patience`, it is made longer by glances at a machine that has no room. */
static atomic_llong resume, pause_length, patience;
enum { LATE = 1000000, ACCIDENT = 100000000, LONGEST_PAUSE = 250000000, GLANCE = 1000000 };

static _Thread_local int alone;

/* The region that this thread is about to begin. */
static _Thread_local struct {
    long long began;
    size_t work;
} region;

void batten_stay_alone(void)
{
    alone = 1;
}

void batten_set_threads(int n)
{
    atomic_store(&threads, n);
    atomic_store(&resume, 0); /* who sets the number wants it to be tried */
    atomic_store(&pause_length, 0);
    atomic_store(&patience, 0);
}

/* Whether so many more threads would find processors, of all that the machine has; true where nobody can say.
 * Members that have just computed count, too, as long as they spin, and LLVM's do so for too long. */
static int room_for(int more)
{
    int running = 0;
#if defined(__linux__) && !defined(__clang__)
    FILE *f = fopen("/proc/loadavg", "r"); /* 0.20 0.18 0.12 running/all newest */
    if (f) {
        if (fscanf(f, "%*s %*s %*s %d", &running) != 1)
            running = 0;
        fclose(f);
    }
#endif
    return running == 0 || running + more <= system_processors();
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
    region.began = system_time();
    if (region.began < atomic_load_explicit(&resume, memory_order_relaxed))
        return 1;
    if (region.began < atomic_load_explicit(&patience, memory_order_relaxed)) {
        if (!room_for(n - 1)) {
            atomic_store(&resume, region.began + GLANCE);
            return 1;
        }
        atomic_store(&patience, 0);
    }
    return n;
}

void batten_dismiss(void)
{
    /* A nanosecond an operation is eight times what one thread takes. */
    const long long end = system_time(), took = end - region.began;
    if (took < LATE + (long long)region.work)
        return;
    const long long before = atomic_load(&pause_length), since = end - atomic_load(&resume);
    long long length = since > ACCIDENT + before ? 0 : before ? 2 * before : 2 * took;
    length = length < LONGEST_PAUSE ? length : LONGEST_PAUSE;
    atomic_store(&pause_length, length);
    atomic_store(&resume, end + length);
    atomic_store(&patience, length ? end + LONGEST_PAUSE : 0);
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
