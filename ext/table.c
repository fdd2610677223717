/* The table of this variant's kernels: what dispatch.c calls through. */
#include "kernel.h"
#include "table.h"

extern const struct kernels KERNEL(table);

const struct kernels KERNEL(table) = {
#define BATTEN_KERNEL(name, parameters, arguments) KERNEL(name),
#include "kernels.def"
};
