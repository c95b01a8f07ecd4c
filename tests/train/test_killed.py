"""Training survives SIGKILL and SIGTERM at any moment; benchmarks/kill_training.py does the same a hundred times."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_training.py"


def test_a_job_killed_or_stopped_at_random_ends_with_the_same_bits(tmp_path):
    command = [sys.executable, SCRIPT, "--kills", "4", "--signals", "KILL", "TERM", "--steps", "20", "--out", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    assert "4 kills" in run.stdout
    assert "differ from the undisturbed run's: 0" in run.stdout
