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
}
WRAPPER = '''
def {name}({typed}, double a=0, double b=0):
    """{result} = {meaning}"""
    return {function}(capi.batten_{name}, {operands}, a, b)
'''

declarations, wrappers = [], []
for family, name, parameters, meaning in re.findall(
    r"^(BATTEN_(?:MAP2|MAP|GRADIENT|KERNEL))\((\w+)(?:,\s*(\(.*?\)),.*)?\)[ ]*(?:/\* (.*?) \*/)?$", source, re.MULTILINE
):
    if family in FAMILIES:
        function, operands = FAMILIES[family]
        pointers = ", ".join(["void *" + operands[0], *[f"const void *{operand}" for operand in operands[1:]]])
        parameters = f"({pointers}, double a, double b, const batten_loop *loop)"
        wrappers.append(
            WRAPPER.format(
                name=name,
                typed=", ".join(f"cnp.ndarray {operand} not None" for operand in operands),
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
