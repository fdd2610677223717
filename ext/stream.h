/* Stores past the caches, for results that are larger than these.
 *
 * A store to a line that is in no cache reads the line first; one past the caches does
 * not, which saves a third of a copy's traffic with memory.  A result that fits into
 * the caches is better left there, for whoever comes next. */
#ifndef BATTEN_STREAM_H
#define BATTEN_STREAM_H

#include "kernel.h"
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Whether a result of n elements is to be stored so: it must be larger than a last cache's
 * share, and begin on a vector's boundary. */
static inline int streams(const real *y, size_t n)
{
#ifdef __SSE2__
    enum { LARGE = 16 << 20 };
    return n * sizeof(real) >= LARGE && (uintptr_t)y % VBYTES == 0;
#else
    (void)y, (void)n;
    return 0;
#endif
}

/* Of a pointer on a vector's boundary. */
static inline void stream(real *y, vec v)
{
#if defined(__AVX512F__) && VBYTES == 64
    _mm512_stream_si512((__m512i *)y, (__m512i)v);
#elif defined(__AVX2__) && VBYTES == 32
    _mm256_stream_si256((__m256i *)y, (__m256i)v);
#elif defined(__SSE2__) && VBYTES == 16
    _mm_stream_si128((__m128i *)y, (__m128i)v);
#else
    *(vec *)y = v;
#endif
}

/* After the last of a thread's stores, before others may read. */
static inline void stream_end(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
