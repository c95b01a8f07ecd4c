"""All tests: one thread each, for they run side by side; no hub is asked for anything."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for child processes
os.environ["HF_HUB_OFFLINE"] = "1"
