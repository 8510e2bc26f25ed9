"""What all tests share; at the root, because the notebooks to test are in two folders."""

import os

from hypothesis import settings

from tools.execute import KERNEL_ENVIRONMENT

# Before any test starts a kernel or imports NumPy: the environment that made the stored outputs.
os.environ.update(KERNEL_ENVIRONMENT)

# How long an example takes is a matter of who else is at work on the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.notebooks.strict"]
