"""Import Keras without the notices that TensorFlow writes to stderr, now and at its first use."""

import os
from types import ModuleType

from ksae_lab._optional import optional


def import_keras() -> ModuleType:
    """The module `keras`, whatever its backend, with nothing said on the way.

    Raises `ImportError`, with what to install, where it is missing.
    """
    # Later ones, such as that there is no GPU, obey this variable. What is wrong is raised anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Those at import do not, and come from C++, past sys.stderr: only the file descriptor itself
    # can be turned away.
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        keras: ModuleType = optional("keras", "ksae_lab.keras")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    return keras
