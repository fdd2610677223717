/* What pooling does with the channels of pixels, LANES of them at a time: included by pooling.c
 * for each WIDTH.  A single channel is the first lane of a register: of comparisons between
 * scalars GCC 12 makes branches, which no processor foresees. */

#if LANES > 1
enum { NAME(all, WIDTH) = LANES };
#else
enum { NAME(all, WIDTH) = 16 / sizeof(real) };
#endif
typedef real NAME(reals, WIDTH) __attribute__((vector_size(NAME(all, WIDTH) * sizeof(real))));
typedef word NAME(words, WIDTH) __attribute__((vector_size(NAME(all, WIDTH) * sizeof(real))));
#define REALS NAME(reals, WIDTH)
#define WORDS NAME(words, WIDTH)

/* a in the lanes that are chosen, else b. */
#define CHOOSE(type, chosen, a, b) ((type)(((chosen) & (WORDS)(a)) | (~(chosen) & (WORDS)(b))))

#if LANES > 1
typedef real NAME(loose, WIDTH) __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef int32_t NAME(integers, WIDTH) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint8_t NAME(bytes, WIDTH) __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef uint8_t NAME(all_bytes, WIDTH) __attribute__((vector_size(LANES * sizeof(real))));
#endif

INLINE REALS NAME(load, WIDTH)(const real *x)
{
#if LANES > 1
    return *(const NAME(loose, WIDTH) *)x;
#else
    return (REALS){*x};
#endif
}

/* With full vectors pooling only waits for memory; asking for the lines that will be written
 * takes a tenth of that away, which it does not for those that are read. */
INLINE void NAME(store, WIDTH)(real *y, REALS values)
{
#if LANES == VLEN
    __builtin_prefetch(y + AHEAD, 1);
#endif
#if LANES > 1
    *(NAME(loose, WIDTH) *)y = values;
#else
    *y = values[0];
#endif
}

/* ---- taps as they are kept ---- */

/* Bytes as words.  They are named one by one because GCC 12 makes a single instruction of
 * that, and dozens of __builtin_convertvector. */
INLINE WORDS NAME(from_bytes, WIDTH)(const uint8_t *k)
{
#if LANES == 16
    return (WORDS){k[0], k[1], k[2],  k[3],  k[4],  k[5],  k[6],  k[7],
                   k[8], k[9], k[10], k[11], k[12], k[13], k[14], k[15]};
#elif LANES == 8
    return (WORDS){k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]};
#elif LANES == 4
    return (WORDS){k[0], k[1], k[2], k[3]};
#elif LANES == 2
    return (WORDS){k[0], k[1]};
#else
    return (WORDS){k[0]};
#endif
}

INLINE WORDS NAME(from_integers, WIDTH)(const int32_t *k)
{
#if LANES > 1
    return __builtin_convertvector(*(const NAME(integers, WIDTH) *)k, WORDS);
#else
    return (WORDS){*k};
#endif
}

INLINE WORDS NAME(load_taps, WIDTH)(const void *taken, size_t at, const enum kept kept)
{
    return kept == BYTES ? NAME(from_bytes, WIDTH)((const uint8_t *)taken + at)
                         : NAME(from_integers, WIDTH)((const int32_t *)taken + at);
}

/* Words as bytes.  AVX-512 has an instruction for that; elsewhere GCC 12 shuffles better than it converts. */
INLINE void NAME(to_bytes, WIDTH)(uint8_t *to, WORDS words)
{
#if LANES == 1
    *to = (uint8_t)words[0];
#elif LANES * VBYTES == 64 * VLEN
    *(NAME(bytes, WIDTH) *)to = __builtin_convertvector(words, NAME(bytes, WIDTH));
#else
    enum { S = sizeof(real) };
    const NAME(all_bytes, WIDTH) all = (NAME(all_bytes, WIDTH))words;
#if LANES == 8
    *(NAME(bytes, WIDTH) *)to = __builtin_shufflevector(all, all, 0, S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S, 7 * S);
#elif LANES == 4
    *(NAME(bytes, WIDTH) *)to = __builtin_shufflevector(all, all, 0, S, 2 * S, 3 * S);
#else
    *(NAME(bytes, WIDTH) *)to = __builtin_shufflevector(all, all, 0, S);
#endif
#endif
}

INLINE void NAME(store_taps, WIDTH)(void *taken, size_t at, WORDS words, const enum kept kept)
{
    if (kept == BYTES) {
#if LANES == VLEN
        __builtin_prefetch((uint8_t *)taken + at + AHEAD, 1);
#endif
        NAME(to_bytes, WIDTH)((uint8_t *)taken + at, words);
        return;
    }
#if LANES > 1
    *(NAME(integers, WIDTH) *)((int32_t *)taken + at) = __builtin_convertvector(words, NAME(integers, WIDTH));
#else
    ((int32_t *)taken)[at] = (int32_t)words[0];
#endif
}

/* ---- strips of channels: `vectors` vectors, of which the last one begins at `last` ---- */

#define OFFSET(i) ((i) + 1 < vectors ? (ptrdiff_t)(i) * LANES : last)
#define LOAD(x, i) NAME(load, WIDTH)((x) + OFFSET(i))
#define STORE(y, i, values) NAME(store, WIDTH)((y) + OFFSET(i), values)

/* A NaN is taken even if it is not larger, and then nothing but another one. */
#define BEGIN(i)                           \
    REALS best##i = (REALS){0} - INFINITY; \
    WORDS taken##i = (WORDS){0} + (word)tap_at(w, r, 0, 0, s);
#define TAKE(i)                                                                        \
    if (i < vectors) {                                                                 \
        const REALS value = LOAD(x, i);                                                \
        const __typeof__(value > value) larger = (value > best##i) | (value != value); \
        best##i = CHOOSE(REALS, larger, value, best##i);                               \
        taken##i = CHOOSE(WORDS, larger, (WORDS){0} + tap, taken##i);                  \
    }
#define END(i)                                                                         \
    if (i < vectors) {                                                                 \
        STORE(c->to + to, i, best##i);                                                 \
        if (c->taken)                                                                  \
            NAME(store_taps, WIDTH)(c->taken, to + (size_t)OFFSET(i), taken##i, kept); \
    }
INLINE void NAME(max_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r, size_t o2,
                                   struct span s, size_t j, ptrdiff_t last, const int vectors, const enum kept kept)
{
    const size_t to = (r->pixel + o2) * w->channels + j, step = s.step * w->channels;
    EACH_VECTOR(BEGIN)
    for (size_t a = 0; a < r->span[0].count; a++)
        for (size_t b = 0; b < r->span[1].count; b++) {
            const real *x = c->from + input_at(w, r, a, b, s) * w->channels + j;
            word tap = (word)tap_at(w, r, a, b, s);
            for (size_t n = s.count; n > 0; n--, tap++, x += step) {
                EACH_VECTOR(TAKE)
            }
        }
    EACH_VECTOR(END)
}
#undef BEGIN
#undef TAKE
#undef END

/* dx of the inputs of an output that has them for itself. */
#define BEGIN(i)                                                                     \
    REALS dy##i = {0};                                                               \
    WORDS taken##i = {0};                                                            \
    if (i < vectors) {                                                               \
        dy##i = LOAD(c->from + from, i);                                             \
        taken##i = NAME(load_taps, WIDTH)(c->taken, from + (size_t)OFFSET(i), kept); \
    }
#define GIVE(i)      \
    if (i < vectors) \
        STORE(dx, i, CHOOSE(REALS, taken##i == tap, dy##i, (REALS){0}));
INLINE void NAME(max_give_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r, size_t o2,
                                        struct span s, size_t j, ptrdiff_t last, const int vectors,
                                        const enum kept kept)
{
    const size_t from = (r->pixel + o2) * w->channels + j;
    EACH_VECTOR(BEGIN)
    for (size_t a = 0; a < r->span[0].count; a++)
        for (size_t b = 0; b < r->span[1].count; b++) {
            real *dx = c->to + input_at(w, r, a, b, s) * w->channels + j;
            word tap = (word)tap_at(w, r, a, b, s);
            for (size_t n = s.count; n > 0; n--, tap++, dx += w->channels) {
                EACH_VECTOR(GIVE)
            }
        }
}
#undef BEGIN
#undef GIVE

/* dx of an input, from the outputs that it is in the windows of. */
#define BEGIN(i) REALS sum##i = {0};
#define ADD(i)                                                                                \
    if (i < vectors) {                                                                        \
        const WORDS taken = NAME(load_taps, WIDTH)(c->taken, from + (size_t)OFFSET(i), kept); \
        sum##i += CHOOSE(REALS, taken == tap, LOAD(c->from + from, i), (REALS){0});           \
    }
#define END(i)       \
    if (i < vectors) \
        STORE(c->to + to, i, sum##i);
INLINE void NAME(max_gather_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r, size_t i2,
                                          struct span s, size_t j, ptrdiff_t last, const int vectors,
                                          const enum kept kept)
{
    const size_t to = (r->pixel + i2) * w->channels + j;
    EACH_VECTOR(BEGIN)
    for (size_t a = 0, o0 = r->span[0].first; a < r->span[0].count; a++, o0 += r->span[0].step)
        for (size_t b = 0, o1 = r->span[1].first; b < r->span[1].count; b++, o1 += r->span[1].step) {
            const size_t row = tap_of(w, 0, o0, r->at[0]) * w->kernel[1] + tap_of(w, 1, o1, r->at[1]);
            for (size_t n = 0, o2 = s.first; n < s.count; n++, o2 += s.step) {
                const size_t from = pixel_at(w->out, r->image, o0, o1, o2) * w->channels + j;
                const word tap = (word)(row * w->kernel[2] + tap_of(w, 2, o2, i2));
                EACH_VECTOR(ADD)
            }
        }
    EACH_VECTOR(END)
}
#undef BEGIN
#undef ADD
#undef END

/* total += sum, lane by lane, and the other way round. */
INLINE void NAME(add_to, WIDTH)(double *total, REALS sum)
{
    real terms[NAME(all, WIDTH)];
    memcpy(terms, &sum, sizeof terms);
    for (size_t lane = 0; lane < LANES; lane++)
        total[lane] += terms[lane];
}

INLINE REALS NAME(rounded, WIDTH)(const double *total)
{
    real terms[NAME(all, WIDTH)] = {0};
    REALS sum;
    for (size_t lane = 0; lane < LANES; lane++)
        terms[lane] = (real)total[lane];
    memcpy(&sum, terms, sizeof terms);
    return sum;
}

/* Where a window has more than DEPTH terms (`deep`), sums of so many are added in double. */
#define BEGIN(i) REALS sum##i = {0};
#define ADD(i)       \
    if (i < vectors) \
        sum##i += LOAD(x, i);
#define FLUSH(i)                                        \
    if (i < vectors) {                                  \
        NAME(add_to, WIDTH)(total + i * LANES, sum##i); \
        sum##i = (REALS){0};                            \
    }
#define END(i)                                                \
    if (i < vectors) {                                        \
        if (deep)                                             \
            sum##i = NAME(rounded, WIDTH)(total + i * LANES); \
        STORE(c->to + to, i, sum##i * scale);                 \
    }
INLINE void NAME(average_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r, size_t o2,
                                       struct span s, size_t j, ptrdiff_t last, const int vectors, const int deep)
{
    const size_t to = (r->pixel + o2) * w->channels + j;
    const real scale = scale_of(c, r->at[0], r->at[1], o2);
    double total[deep ? VECTORS * LANES : 1];
    size_t left = DEPTH;
    if (deep)
        memset(total, 0, sizeof total);
    EACH_VECTOR(BEGIN)
    for (size_t a = 0; a < r->span[0].count; a++)
        for (size_t b = 0; b < r->span[1].count; b++) {
            const real *x = c->from + input_at(w, r, a, b, s) * w->channels + j;
            for (size_t n = s.count; n > 0; n--, x += w->channels) {
                EACH_VECTOR(ADD)
                if (deep && --left == 0) {
                    EACH_VECTOR(FLUSH)
                    left = DEPTH;
                }
            }
        }
    if (deep) {
        EACH_VECTOR(FLUSH)
    }
    EACH_VECTOR(END)
}
#undef BEGIN
#undef ADD
#undef FLUSH
#undef END

#define BEGIN(i)       \
    REALS dy##i = {0}; \
    if (i < vectors)   \
        dy##i = LOAD(c->from + from, i) * scale;
#define GIVE(i)      \
    if (i < vectors) \
        STORE(dx, i, dy##i);
INLINE void NAME(average_give_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r,
                                            size_t o2, struct span s, size_t j, ptrdiff_t last, const int vectors)
{
    const size_t from = (r->pixel + o2) * w->channels + j;
    const real scale = scale_of(c, r->at[0], r->at[1], o2);
    EACH_VECTOR(BEGIN)
    for (size_t a = 0; a < r->span[0].count; a++)
        for (size_t b = 0; b < r->span[1].count; b++) {
            real *dx = c->to + input_at(w, r, a, b, s) * w->channels + j;
            for (size_t n = s.count; n > 0; n--, dx += w->channels) {
                EACH_VECTOR(GIVE)
            }
        }
}
#undef BEGIN
#undef GIVE

#define BEGIN(i) REALS sum##i = {0};
#define ADD(i)       \
    if (i < vectors) \
        sum##i += LOAD(dy, i) * scale;
#define END(i)       \
    if (i < vectors) \
        STORE(c->to + to, i, sum##i);
INLINE void NAME(average_gather_strip, WIDTH)(const struct call *c, const batten_window *w, const struct row *r,
                                              size_t i2, struct span s, size_t j, ptrdiff_t last, const int vectors)
{
    const size_t to = (r->pixel + i2) * w->channels + j;
    EACH_VECTOR(BEGIN)
    for (size_t o0 = r->span[0].first; o0 < r->span[0].first + r->span[0].count; o0++)
        for (size_t o1 = r->span[1].first; o1 < r->span[1].first + r->span[1].count; o1++) {
            const real *dy = c->from + pixel_at(w->out, r->image, o0, o1, s.first) * w->channels + j;
            for (size_t o2 = s.first; o2 < s.first + s.count; o2++, dy += w->channels) {
                const real scale = scale_of(c, o0, o1, o2);
                EACH_VECTOR(ADD)
            }
        }
    EACH_VECTOR(END)
}
#undef BEGIN
#undef ADD
#undef END

/* ---- all strips of a row's pixels ---- */

/* The window is copied, as stores might change it otherwise for all that the compiler knows.
 * ROW has strips of up to VECTORS vectors, or of MOST; RARE, which is for windows that are large, of one. */
#define ROW(name, of, strip, ...)                                                                                      \
    static void NAME(name, WIDTH)(const struct call *c, const struct row *r, size_t first, size_t end, size_t channel, \
                                  size_t channels)                                                                     \
    {                                                                                                                  \
        const batten_window w = *c->window;                                                                            \
        for (size_t i = first; i < end; i++) {                                                                         \
            const struct span s = of(&w, 2, i);                                                                        \
            size_t j = channel, left = channels;                                                                       \
            for (; MOST > VECTORS && left > VECTORS * LANES; left -= VECTORS * LANES, j += VECTORS * LANES)            \
                NAME(strip, WIDTH)(c, &w, r, i, s, j, (VECTORS - 1) * LANES, VECTORS, ##__VA_ARGS__);                  \
            const ptrdiff_t last = (ptrdiff_t)left - LANES;                                                            \
            if (MOST == 1 || left <= LANES)                                                                            \
                NAME(strip, WIDTH)(c, &w, r, i, s, j, last, 1, ##__VA_ARGS__);                                         \
            else if (MOST == 2 || left <= 2 * LANES)                                                                   \
                NAME(strip, WIDTH)(c, &w, r, i, s, j, last, 2, ##__VA_ARGS__);                                         \
            else if (MOST == 3 || left <= 3 * LANES)                                                                   \
                NAME(strip, WIDTH)(c, &w, r, i, s, j, last, 3, ##__VA_ARGS__);                                         \
            else                                                                                                       \
                NAME(strip, WIDTH)(c, &w, r, i, s, j, last, 4, ##__VA_ARGS__);                                         \
        }                                                                                                              \
    }
#define RARE(name, of, strip, ...)                                                                                     \
    static void NAME(name, WIDTH)(const struct call *c, const struct row *r, size_t first, size_t end, size_t channel, \
                                  size_t channels)                                                                     \
    {                                                                                                                  \
        for (size_t i = first; i < end; i++)                                                                           \
            for (size_t j = 0; j < channels; j += LANES)                                                               \
                NAME(strip, WIDTH)(c, c->window, r, i, of(c->window, 2, i), channel + smaller(j, channels - LANES), 0, \
                                   1, __VA_ARGS__);                                                                    \
    }
ROW(max_bytes, inputs_of, max_strip, BYTES)
ROW(max_give_bytes, inputs_of, max_give_strip, BYTES)
ROW(max_gather_bytes, outputs_of, max_gather_strip, BYTES)
RARE(max_integers, inputs_of, max_strip, INTEGERS)
RARE(max_give_integers, inputs_of, max_give_strip, INTEGERS)
RARE(max_gather_integers, outputs_of, max_gather_strip, INTEGERS)
ROW(average, inputs_of, average_strip, 0)
RARE(average_deep, inputs_of, average_strip, 1)
ROW(average_give, inputs_of, average_give_strip)
ROW(average_gather, outputs_of, average_gather_strip)

#undef RARE
#undef ROW
#undef STORE
#undef LOAD
#undef OFFSET
#undef WORDS
#undef REALS
#undef CHOOSE
#undef MOST
#undef LANES
#undef WIDTH
