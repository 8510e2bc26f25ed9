"""Ten thousand frequent English words, a hundred numbers each, as they come with this package.

The vectors are GloVe's, trained on Wikipedia and Gigaword, of length 1 and then rounded to bytes;
`tools/words.py` in the repository makes the file. GloVe's vectors are under the Public Domain
Dedication and License 1.0.
"""

import hashlib
from pathlib import Path

import numpy as np

from ksae_lab.data.files import Samples
from ksae_lab.nn.rows import unit_rows

FILE = Path(__file__).with_name("words.npz")
SHA256 = "781610a668e0e3009509d7c12bb41abd97d29a32c519f2641607412be20eb6d1"


def read_words() -> Samples:
    """The vectors (10000, 100) of length 1 in float32, and the words (10000,), most frequent first.

    Raises `ValueError` for a file that is not the one that this package came with.

    Source: Pennington, Socher & Manning (2014), "GloVe: Global Vectors for Word Representation".
    Chapter 20.
    """
    with np.load(FILE) as arrays:
        words, vectors = arrays["words"], arrays["vectors"]
    found = hashlib.sha256("\n".join(words).encode() + vectors.tobytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{FILE} holds other words than this package came with (SHA-256 {found}, expected "
            f"{SHA256}); install ksae-lab again."
        )
    return Samples(unit_rows(vectors.astype(np.float32)), words, None)
