/* A variant's kernels, one pointer each.  `real` means what it means to the
 * including file: a type in table.c, void in dispatch.c. */
struct kernels {
#define BATTEN_KERNEL(name, parameters, arguments) void(*name) parameters;
#include "kernels.def"
};
