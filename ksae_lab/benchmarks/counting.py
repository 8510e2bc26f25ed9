"""What has to be multiplied and moved: operations and bytes of a step, in closed form.

An operation is one multiplication or one addition of two numbers. A byte counts once when it is
read and once more when it is written.
"""

MATRICES = 2  # W_enc and W_dec, n · d numbers each


def product_operations(rows: int, inner: int, columns: int) -> int:
    """Operations of a product (rows, inner) · (inner, columns): one of each kind for each term.

    Chapter 17.
    """
    return 2 * rows * inner * columns


def dense_step_operations(batch: int, n: int, d: int) -> int:
    """Operations of a step that multiplies zeros: five products of the encoder's size.

    Code, reconstruction, the code's gradient, and the gradients of W_enc and W_dec.

    Chapter 17.
    """
    return 5 * product_operations(batch, d, n)


def sparse_step_operations(batch: int, n: int, k: int, d: int) -> int:
    """Operations of a step that multiplies none: the encoder's product, and four times k rows.

    Chapter 17.
    """
    return product_operations(batch, d, n) + 4 * product_operations(batch, d, k)


def held_bytes(n: int, d: int, slots: int = 2, itemsize: int = 4) -> int:
    """Bytes of W_enc, W_dec, b_enc and b_dec and of an optimizer with `slots` arrays for each.

    Chapter 17.
    """
    return (1 + slots) * (MATRICES * n * d + n + d) * itemsize


def update_bytes(touched: int, d: int, slots: int = 2, itemsize: int = 4) -> int:
    """Bytes that move if so many units take a step: both their rows and memories, in and out.

    Chapter 17.
    """
    return 2 * (1 + slots) * MATRICES * touched * d * itemsize
