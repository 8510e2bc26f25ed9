"""The product of bytes: one tile of x Wᵀ in whole numbers, by the instruction that is there for it.

AVX512-VNNI multiplies 64 pairs of bytes at a time and adds them up by fours, where float32 has 16
products: so a product of bytes takes a fifth of the time. No loop in Python comes out as this
instruction, so the tile is written down in the compiler's own language.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# A tile's sums, 6 rows by 4 vectors of 16 units, and what they are made of fill the 32 registers.
# It is wide rather than high: to spread a row's four bytes over a register costs as much as two
# multiplications.
ROWS, UNITS = 6, 64
LANES = 16
WIDE = 65_000  # columns: of more, the sum of products of bytes might not fit into 32 bits


def available() -> bool:
    """Whether this processor has the instruction.

    Chapter 17.
    """
    return bool(binding.get_host_cpu_features().get("avx512vnni"))


def packed(n: int, d: int) -> np.ndarray:
    """Room for the bytes of n units, (tiles, 4, d / 4, 16): four of a unit's bytes in each int32.

    What a tile needs one after the other lies one after the other, for sixteen units at a time:
    that is what fits into the nearest cache when units are written one by one.

    Chapter 17.
    """
    return np.zeros((-(-n // UNITS), UNITS // LANES, -(-d // 4), LANES), np.int32)


def _tile(typing: Any, weights: Any, x: Any, sums: Any) -> Any:
    """Put the products of 6 rows x (6, d), uint8, with a tile's weights (4, d / 4, 16) into sums.

    Each int32 of the weights is four int8; sums (6, 64) are int32. All arrays are contiguous but
    for the rows of x, which may have more columns than d. It checks nothing.

    Chapter 17.
    """
    signature = types.void(weights, x, sums)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, whole, place = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        bytes_, wholes = ir.VectorType(byte, 4 * LANES), ir.VectorType(whole, LANES)
        arrays = [
            context.make_array(type_)(context, builder, value)
            for type_, value in zip(signature.args, arguments, strict=True)
        ]
        w, x, sums = (builder.bitcast(array.data, byte.as_pointer()) for array in arrays)
        steps = builder.extract_value(arrays[0].shape, 1)
        stride = builder.extract_value(arrays[1].strides, 0)

        def at(start: Any, offset: Any, kind: Any) -> Any:
            place_ = builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())
            value = builder.load(place_)
            value.align = 1
            return value

        multiply = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(wholes, [wholes, bytes_, bytes_]),
            "llvm.x86.avx512.vpdpbusd.512",
        )
        before, loop = builder.block, builder.append_basic_block("columns")
        after = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(place)
        step.add_incoming(place(0), before)
        vectors, zero = UNITS // LANES, ir.Constant(wholes, [0] * LANES)
        totals = [[builder.phi(wholes) for _ in range(vectors)] for _ in range(ROWS)]
        column = builder.mul(step, place(4 * LANES))
        sixteen = builder.mul(steps, place(4 * LANES))  # bytes of so many units
        some = [
            at(w, builder.add(column, builder.mul(sixteen, place(v))), bytes_)
            for v in range(vectors)
        ]
        nothing = ir.Constant(wholes, ir.Undefined)
        for row, of_row in enumerate(totals):
            where = builder.add(builder.mul(stride, place(row)), builder.mul(step, place(4)))
            four = builder.insert_element(nothing, at(x, where, whole), whole(0))
            spread = builder.bitcast(builder.shuffle_vector(four, nothing, zero), bytes_)
            for v, total in enumerate(of_row):
                total.add_incoming(zero, before)
                total.add_incoming(builder.call(multiply, [total, spread, some[v]]), loop)
        following = builder.add(step, place(1))
        step.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
        builder.position_at_end(after)
        for row, of_row in enumerate(totals):
            for v, total in enumerate(of_row):
                offset = place(4 * (UNITS * row + LANES * v))
                target = builder.bitcast(builder.gep(sums, [offset]), wholes.as_pointer())
                builder.store(total.incomings[1][0], target).align = 4
        return context.get_dummy_value()

    return signature, generate


tile = intrinsic(_tile)
