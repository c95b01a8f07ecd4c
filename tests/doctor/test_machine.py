from pathlib import Path

from mapmend.doctor.machine import Machine, Need, available_memory, disk, memory, processors, this_machine

GB = 10**9


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_memory_is_what_the_machine_has_free_or_the_container_leaves(tmp_path):
    host = {"proc__meminfo": "MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n"}
    assert available_memory(tree(tmp_path / "host", **host)) == 32_000_000 * 1024
    limit = {
        "sys__fs__cgroup__memory_dot_max": f"{8 * GB}\n",
        "sys__fs__cgroup__memory_dot_current": f"{3 * GB}\n",
        "sys__fs__cgroup__memory_dot_stat": f"anon 5\ninactive_file {GB}\n",
    }
    assert available_memory(tree(tmp_path / "box", **host, **limit)) == 6 * GB
    free = tree(tmp_path / "free", **host, **{**limit, "sys__fs__cgroup__memory_dot_max": "max\n"})
    assert available_memory(free) == 32_000_000 * 1024
    old = {
        "sys__fs__cgroup__memory__memory_dot_limit_in_bytes": f"{4 * GB}",
        "sys__fs__cgroup__memory__memory_dot_usage_in_bytes": f"{GB}",
        "sys__fs__cgroup__memory__memory_dot_stat": "total_inactive_file 0\n",
    }
    assert available_memory(tree(tmp_path / "old", **host, **old)) == 3 * GB
    assert available_memory(tmp_path / "nothing") is None


def test_a_disk_that_is_too_small_is_an_error_and_one_that_may_be_a_warning(tmp_path):
    need = Need(prepared=10 * GB, maps=GB, batch_pixels=0, workers=0)
    levels = [
        disk(need, tmp_path / "not" / "yet", lambda _, free=free: free)[0].level for free in (5 * GB, 9 * GB, 99 * GB)
    ]
    assert levels == ["error", "warning", "note"]
    assert "11 GB at most; 5 GB are free" in disk(need, tmp_path, lambda _: 5 * GB)[0].what


def test_training_that_does_not_fit_is_warned_of():
    need = Need(0, 0, batch_pixels=64 * 512**2, workers=8)
    assert memory(need, Machine(8 * GB, 4, 0))[0].level == "warning"
    assert memory(need, Machine(512 * GB, 4, 0))[0].level == "note"
    assert memory(need, Machine(None, 4, 0)) == []


def test_processors_are_told(tmp_path):
    assert "1 core, no GPU" in processors(Machine(None, 1, 0))[0].what
    tree(tmp_path, dev__nvidia0="", dev__nvidia1="", dev__nvidiactl="")
    assert this_machine(tmp_path).gpus == 2
