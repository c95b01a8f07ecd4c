"""All tests: one thread each, for they run side by side; no hub is asked for anything; nothing is drawn anew."""

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for child processes
os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("same", derandomize=True)  # --hypothesis-profile default looks for new examples
settings.load_profile("same")
