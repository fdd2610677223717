/* Which variant of a kernel runs.
 *
 * Every variant (instruction set x element type) brings one table of pointers
 * (table.c); batten_NAME(type, ...) calls through the tables of the chosen
 * instruction set.  The processor is looked at once.  This file is compiled for
 * the lowest processor, as it runs before anything is known. */
#include "batten.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define real void
#include "table.h"

extern const struct kernels batten_table_f32_base, batten_table_f64_base;
#ifdef BATTEN_X86
extern const struct kernels batten_table_f32_avx2, batten_table_f64_avx2;
extern const struct kernels batten_table_f32_avx512;
#endif

/* From the lowest instruction set to the widest. */
static const struct variant {
    const char *isa;
    const struct kernels *tables[BATTEN_TYPES];
} variants[] = {
    {"base", {&batten_table_f32_base, &batten_table_f64_base}},
#ifdef BATTEN_X86
    {"avx2", {&batten_table_f32_avx2, &batten_table_f64_avx2}},
    {"avx512", {&batten_table_f32_avx512, &batten_table_f64_avx2}}, /* float64 is for checks */
#endif
};
enum { VARIANTS = sizeof variants / sizeof *variants };
static const struct variant *_Atomic chosen = variants; /* constant tables: any order of memory will do */

static const struct variant *choice(void)
{
    return atomic_load_explicit(&chosen, memory_order_relaxed);
}

#ifdef _MSC_VER /* where clang does not ask for the library that knows processors by itself */
#pragma comment(lib, "clang_rt.builtins-x86_64.lib")
#endif

static int runs(size_t i)
{
#if defined(BATTEN_X86) && !defined(BATTEN_EMULATE)
    __builtin_cpu_init();
    if (i == 1)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (i == 2)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    return i < VARIANTS;
}

int batten_set_isa(const char *name, char *message, size_t size)
{
    for (size_t i = VARIANTS; i-- > 0;) {
        if (name && strcmp(name, variants[i].isa))
            continue;
        if (runs(i)) {
            atomic_store_explicit(&chosen, &variants[i], memory_order_relaxed);
            return 0;
        }
        if (name) {
            snprintf(message, size, "%s asks for instructions that this processor does not have", name);
            return -1;
        }
    }
    snprintf(message, size, "expected %s, got '%.40s'", VARIANTS > 1 ? "base, avx2 or avx512" : "base", name);
    return -1;
}

const char *batten_isa(void)
{
    return choice()->isa;
}

const char *batten_isas(size_t i)
{
    for (size_t v = 0; v < VARIANTS; v++)
        if (runs(v) && i-- == 0)
            return variants[v].isa;
    return NULL;
}

const char *batten_kernel_name(size_t i)
{
    static const char *const names[] = {
#define BATTEN_KERNEL(name, parameters, arguments) #name,
#include "kernels.def"
    };
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

#define BATTEN_KERNEL(name, parameters, arguments)                  \
    void batten_##name(batten_dtype type, BATTEN_UNWRAP parameters) \
    {                                                               \
        choice()->tables[type]->name arguments;                     \
    }
#include "kernels.def"
