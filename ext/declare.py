"""Writes what Cython must know of the kernels, from kernels.def.

    python declare.py kernels.def OUTPUT_FOLDER

kernels.pxi declares batten_NAME for every kernel; maps.pxi holds the Python
wrappers of the elementwise families, which are all alike.
"""

import pathlib
import re
import sys

source = re.sub(r"\\\n", " ", pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path(sys.argv[2])

# The families of elementwise kernels: the function that lays out the loop, and its operands.
FAMILIES = {
    "BATTEN_MAP": ("map", ["y", "x"]),
    "BATTEN_MAP2": ("map2", ["z", "x", "y"]),
    "BATTEN_GRADIENT": ("map2", ["dx", "dy", "kept"]),
    "BATTEN_MAP4": ("map4", ["z", "x", "y", "u", "v"]),
    "BATTEN_SUM4": ("map4_sum", ["z", "x", "y", "u", "v"]),
}
OPTIONAL = ["u", "v"]  # None stands for 1, as b does in the families that have them

# The four kernels of a loss: what follows its name, their families, and their results.
LOSS = {
    "": ("BATTEN_MAP4", "b u f, f = {}"),
    "_backward": ("BATTEN_MAP4", "b u df/dx, f = {}"),
    "_target_backward": ("BATTEN_MAP4", "b u df/dy, f = {}"),
    "_sum": ("BATTEN_SUM4", "b times the sum of u f, f = {}"),
}
WRAPPER = '''
def {name}({typed}, double a=0, double b={b}, /):
    """{result} = {meaning}"""
    return {function}(capi.batten_{name}, {operands}, a, b)
'''


def kernels():
    """Family, name, parameters and meaning of every kernel."""
    lines = r"^(BATTEN_(?:MAP|MAP2|MAP4|GRADIENT|LOSS|KERNEL))\((\w+)(?:,\s*(\(.*?\)),.*)?\)[ ]*(?:/\* (.*?) \*/)?$"
    for family, name, parameters, meaning in re.findall(lines, source, re.MULTILINE):
        if family == "BATTEN_LOSS":
            for suffix, (member, result) in LOSS.items():
                yield member, name + suffix, parameters, result.format(meaning)
        else:
            yield family, name, parameters, meaning


declarations, wrappers = [], []
for family, name, parameters, meaning in kernels():
    if family in FAMILIES:
        function, operands = FAMILIES[family]
        pointers = ", ".join(["void *" + operands[0], *[f"const void *{operand}" for operand in operands[1:]]])
        partial = "double *partial, " if family == "BATTEN_SUM4" else ""
        parameters = f"({pointers}, double a, double b, {partial}const batten_loop *loop)"
        wrappers.append(
            WRAPPER.format(
                name=name,
                typed=", ".join(f"cnp.ndarray {o}{'=None' if o in OPTIONAL else ' not None'}" for o in operands),
                b=int("u" in operands),
                operands=", ".join(operands),
                result=operands[0],
                meaning=meaning,
                function=function,
            )
        )
    parameters = parameters.replace("real ", "void ").replace("real*", "void*")
    declarations.append(f"    void batten_{name}(batten_dtype type, {parameters[1:-1]})\n")

(folder / "kernels.pxi").write_text('cdef extern from "batten.h" nogil:\n' + "".join(declarations))
(folder / "maps.pxi").write_text("".join(wrappers).lstrip())
