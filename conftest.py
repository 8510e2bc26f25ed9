"""What all tests share; at the root, because the notebooks to test are in two folders."""

import os

from tools.execute import KERNEL_ENVIRONMENT

# Before any test starts a kernel or imports NumPy: the environment that made the stored outputs.
os.environ.update(KERNEL_ENVIRONMENT)

pytest_plugins = ["tests.notebooks.strict"]
