/* The table of this variant's kernels: what dispatch.c calls through.
 *
 * Some variants have only the kernels that gain by their registers, and point to another's, those of LENDER, for the
 * rest: in float32 AVX-512 borrows of AVX2, and in float64, which is for checks, AVX2 of the lowest. */
#include "kernel.h"
#include "table.h"

#define LENT(name) KERNEL_TAGGED(name, LENDER)
#define BATTEN_KERNEL(name, parameters, arguments) void LENT(name) parameters;
#include "kernels.def"

extern const struct kernels KERNEL(table);

const struct kernels KERNEL(table) = {
#define BATTEN_KERNEL(name, parameters, arguments) KERNEL(name),
#define BATTEN_BORROWED(name, parameters, arguments) LENT(name),
#include "kernels.def"
};
