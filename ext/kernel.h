/* What a kernel file includes.
 *
 * Each kernel file is compiled once for every variant, with
 *     REAL     float or double
 *     TAG      f32_base, f64_avx2, ...
 *     VBYTES   bytes in a vector register: 16, 32 or 64
 *     VLEN     elements in one
 * and that instruction set's flags.  `real`, KERNEL(), PARALLEL() and TEAM() are
 * the only macros that a reader meets. */
#ifndef BATTEN_KERNEL_H
#define BATTEN_KERNEL_H

#include "batten.h"
#include "sizes.h"
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif

typedef REAL real;
typedef real vec __attribute__((vector_size(VBYTES)));

#define KERNEL_NAMED(name, tag) batten_##name##_##tag
#define KERNEL_TAGGED(name, tag) KERNEL_NAMED(name, tag)
#define KERNEL(name) KERNEL_TAGGED(name, TAG)

#define BATTEN_KERNEL(name, parameters, arguments) void KERNEL(name) parameters;
#include "kernels.def"

#define PRAGMA(x) _Pragma(#x)

/* A function with one copy of its own, however many call it: for what is long and called seldom. */
#if defined(__has_attribute) && __has_attribute(noclone)
#define ONCE static __attribute__((noinline, noclone, unused))
#else
#define ONCE static __attribute__((noinline, unused))
#endif

/* A vectorised loop over whole vectors: n is a multiple of VLEN.  The compiler is told, lest it make a second loop for
 * what is left over. */
#define EACH_OF_WHOLE(i, n) PRAGMA(omp simd) for (size_t i = 0; i < (n) / VLEN * VLEN; i++)

/* PARALLEL(work, loop) shares a loop's iterations among a team that is worth
 * waking for so many elementary operations; a region even for one thread costs
 * more than a small kernel, so then there is none.  The loop is compiled twice:
 * give a long body a function of its own.
 *
 * An iteration must write elements of its own and be the same computation whoever
 * runs it: cut the work into blocks whose size does not depend on the team, and
 * the results will not either. */
#define PARALLEL(work, ...)                                                  \
    do {                                                                     \
        const int team_size = batten_team(work);                             \
        if (team_size > 1) {                                                 \
            PRAGMA(omp parallel for schedule(static) num_threads(team_size)) \
            __VA_ARGS__                                                      \
            batten_dismiss();                                                \
        } else {                                                             \
            __VA_ARGS__                                                      \
        }                                                                    \
    } while (0)

/* TEAM(work, body) wakes a team once for several loops.  Within its body, each
 * SHARED(loop) is shared like a PARALLEL one, and begins when the one before is done;
 * what stands outside of these loops is done by every member, but ALONE(body) by one, for which
 * the others wait.  TEAM_OF has been told its size. */
#define TEAM(work, ...) TEAM_OF(batten_team(work), __VA_ARGS__)
#define TEAM_OF(size, ...)                              \
    do {                                                \
        const int team_size = size;                     \
        if (team_size > 1) {                            \
            PRAGMA(omp parallel num_threads(team_size)) \
            {                                           \
                __VA_ARGS__                             \
            }                                           \
        } else {                                        \
            __VA_ARGS__                                 \
        }                                               \
    } while (0)
#define SHARED(...) PRAGMA(omp for schedule(static)) __VA_ARGS__
#define ALONE(...)     \
    PRAGMA(omp single) \
    {                  \
        __VA_ARGS__    \
    }

/* SHARED_BACK(i, n, body) is such a loop over i < n, in which each member goes back from the end of its part to
 * the beginning: it meets first what it has read last in the loop before, and still has in its cache. */
#define SHARED_BACK(i, n, ...)                                                                        \
    SHARED(for (int part = 0; part < team_size; part++) for (size_t i = (n) * (part + 1) / team_size; \
                                                             i-- > (n) * part / team_size;){__VA_ARGS__})

/* Blocks of this many elements are the unit of elementwise work and of sums. */
enum { BLOCK = BATTEN_BLOCK };

#endif
