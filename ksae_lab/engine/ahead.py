"""Asking memory for a row before it is needed, so that it comes while another is worked on."""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ksae_lab.engine.compiled import EXACT

LINE = 64  # bytes that come together
READ, NEAREST, DATA = 0, 3, 1  # what is wanted, in the compiler's own numbers


def _ask(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the line in which the element at a place of an array lies; nothing waits for it."""
    signature = types.void(array, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        line = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        prefetch = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
            "llvm.prefetch.p0",
        )
        builder.call(prefetch, [line, number(READ), number(NEAREST), number(DATA)])
        return context.get_dummy_value()

    return signature, generate


ask = intrinsic(_ask)


@njit(**EXACT)
def ask_for(arrays: Any, u: int) -> None:
    """Ask for row u of three arrays (n, d), laid out row by row.

    Chapter 17.
    """
    d = arrays[0].shape[1]
    for array in arrays:
        for place in range(u * d, (u + 1) * d, LINE // array.itemsize):
            ask(array, place)  # type: ignore[call-arg]
