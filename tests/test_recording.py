"""Recording this machine, for real where root and tracefs are there, and what is said elsewhere.

POTADLAB_TRACEFS=required makes the real ones fail instead of being skipped.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loops import WAIT_S

from potadlab import BadTrace, CannotRecord, Trace, cli, import_file
from potadlab.core.layout import NONE
from potadlab.traces import Snapshot
from potadlab.traces.recording import Memory, record, tracefs
from potadlab.traces.recording.script import SCRIPT
from potadlab.traces.recording.stream import Stream, Symbols
from potadlab.traces.snapshot import runs_of
from potadlab.units import MIB

REQUIRED = os.environ.get("POTADLAB_TRACEFS") == "required"
TOUCH = "import mmap; m = mmap.mmap(-1, {} << 20); m.write(bytes({} << 20))"
SHELL = next((name for name in ("dash", "sh") if Path("/bin", name).exists()), "")


@pytest.fixture(scope="module")
def place():
    """Where tracefs is, on a machine that can be recorded."""
    try:
        with tracefs.mounted() as found:
            with tracefs.Instance(found, MIB, stacks=False):
                pass
            yield found
    except CannotRecord as error:
        if REQUIRED:
            raise
        pytest.skip(f"NOTHING REAL WAS RECORDED: {error}")


def instances(place: Path) -> list[str]:
    return [path.name for path in (place / "instances").glob("potadlab.*")]


def touch(mib: int) -> list[str]:
    return [sys.executable, "-c", TOUCH.format(mib, mib)]


def program(*arguments: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "potadlab", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def wait_for(is_so) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


# ---- the real thing -------------------------------------------------------------------------


@pytest.mark.parametrize("stacks", [False, True], ids=["plain", "stacks"])
def test_the_ring_buffer_says_what_the_kernels_own_text_says(place, stacks, tmp_path):
    with tracefs.Instance(place, 16 * MIB, stacks) as instance:
        stream = Stream(instance)
        instance.start()
        subprocess.run(touch(20), check=True)
        instance.stop()
        (tmp_path / "text").write_text((instance.path / "trace").read_text())
        rows, whole = stream.take(final=True)
        assert whole
        assert instance.stats()["lost"] == 0
    import_file(tmp_path / "text", tmp_path / "text.parquet")
    theirs = pq.read_table(tmp_path / "text.parquet").to_pydict()
    assert len(rows) > 20 << 20 >> 12 >> 9
    ours = [rows[name].tolist() for name in ("op", "pfn", "order", "time_ns")]
    told = [theirs[name] for name in ("op", "pfn", "order", "t_ns")]
    assert_same(sorted(zip(*ours, strict=True)), sorted(zip(*told, strict=True)))
    alloc = rows["op"] == 0
    assert sorted(rows["gfp"][alloc]) == sorted(
        flags for flags, op in zip(theirs["gfp_flags"], theirs["op"], strict=True) if op == 0
    )
    if stacks:
        assert stream.counts["stacks_lost"] == 0
        ours = sorted(stream.stacks.texts[number] for number in rows["stack"] if number >= 0)
        told = sorted(stack for stack in theirs["stack"] if stack)
        assert len(ours) == len(told) == np.count_nonzero(alloc)
        assert [bare(stack) for stack in ours] == [bare(stack) for stack in told]


def bare(stack: str) -> str:
    return stack.removeprefix("trace_event_raw_event_mm_page_alloc;")


def assert_same(ours, told) -> None:
    """The same events; text has microseconds, rounded."""
    assert len(ours) == len(told)
    for mine, its in zip(ours, told, strict=True):
        assert mine[:3] == its[:3]
        assert abs(mine[3] - its[3]) <= 1000


def test_a_command_is_recorded_with_the_memory_before_and_after(place, tmp_path):
    target = tmp_path / "made.parquet"
    # what it wrote stays in the page cache: of an idle machine little else would be live at the end
    both = ["sh", "-c", '"$@"; head -c 4M /dev/zero >"$0"', str(tmp_path / "kept"), *touch(64)]
    found = record(target, command=both, owners=True, names=True)
    assert (found.exit_code, found.counts["lost_events"]) == (0, 0)
    assert not instances(place)
    trace = Trace.read(target)
    assert trace.snapshot == "made.before.parquet"
    info = trace.info()
    assert sum(count << int(order) for order, count in info["orders"].items()) > 64 << 20 >> 12
    assert info["kinds_guessed"] <= 0.01 * info["allocates"]
    assert info["kinds"]["anon"] > 0
    strange = info["counts"]
    repaired = strange["untraced_unseen"] + strange["untraced_reused"] + strange["lost_free"]
    assert repaired <= 0.01 * info["releases"] + 50
    table = pq.read_table(target)
    assert any(name.startswith("python") for name in table["task"].to_pylist() if name)
    assert freed_after(table, found, "head") <= 0.01


def freed_after(table, found, task: str) -> float:
    """Of the frames that a task took and that events leave live: the after-snapshot has as free.

    Others go on after the last event, and give back what they had.
    """
    after = Snapshot.read(found.after)
    kinds = np.zeros(int(after.end[-1]), np.uint8)
    for start, end, kind in zip(after.start, after.end, after.kind, strict=True):
        kinds[start:end] = kind
    last: dict[int, str] = {}
    for pfn, order, op, name in zip(
        *(table[name].to_pylist() for name in ("pfn", "order", "op", "task")), strict=True
    ):
        taker = name if op == 0 else ""
        last.update(dict.fromkeys(range(pfn, pfn + (1 << order)), taker))
    live = [frame for frame, name in last.items() if name and name.startswith(f"{task}-")]
    assert len(live) > 1000
    return sum(kinds[frame] == 1 for frame in live) / len(live)


def test_a_time_is_recorded_without_names_or_stacks(place, tmp_path):
    busy = subprocess.Popen(["sh", "-c", "while :; do ls / >/dev/null; done"])  # else all is idle
    try:
        found = record(tmp_path / "made.parquet", seconds=0.2)
    finally:
        busy.kill()
        busy.wait()
    metadata = json.loads(pq.read_schema(found.path).metadata[b"potadlab"])
    assert metadata["clock"] == "mono"
    assert metadata["machine"]["cpus"] == os.cpu_count()
    assert metadata["work_begins_s"] + 0.2 <= found.duration_s + 0.1
    assert 0 < found.work_s < found.duration_s, "both count from the first event"
    assert f"cut --from {found.work_s:.3f}s" in found.words()[1]
    table = pq.read_table(found.path)
    assert "task" not in table.column_names
    assert table["stack"].null_count == len(table)
    own = Path("/proc/self/comm").read_text().strip().encode()
    assert own not in found.path.read_bytes()


def test_small_buffers_are_read_while_it_records(place, tmp_path):
    command = [
        sys.executable,
        "-c",
        "import time\n" + 40 * (TOUCH.format(2, 2) + "; time.sleep(.02)\n"),
    ]
    found = record(tmp_path / "made.parquet", command=command, buffer_bytes=MIB)
    table = pq.read_table(found.path)
    assert np.all(np.diff(table["t_ns"].to_numpy()) >= 0)
    assert (
        len(table) == found.counts["allocates"] + found.counts["releases"] + found.counts["failed"]
    )


def test_loss_is_counted_and_told(place, tmp_path, monkeypatch):
    monkeypatch.setattr("potadlab.traces.recording.recorder._LOOK_S", 30.0)  # nobody reads
    found = record(tmp_path / "made.parquet", command=touch(300), buffer_bytes=64 << 10)
    if found.counts["lost_events"] == 0:  # huge pages: hardly an event for all of it
        command = ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do ls / /usr /etc >/dev/null; done"]
        found = record(tmp_path / "made.parquet", command=command, buffer_bytes=64 << 10)
    assert found.counts["lost_events"] > 0
    assert Trace.read(found.path).counts["lost_events"] == found.counts["lost_events"]
    assert any("events lost" in said for said in found.words())


def test_ctrl_c_ends_a_recording_well(place, tmp_path):
    child = program("record", "made.parquet", "--", "sleep", "100", folder=tmp_path)
    wait_for(lambda: instances(place) and sleeping(child.pid))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=WAIT_S)
    assert child.returncode == 0, err
    assert "no event was lost" in err
    assert not instances(place)
    assert Trace.read(tmp_path / "made.parquet").snapshot


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_starts_leaves_nobody_behind(
    place, tmp_path, monkeypatch, number
):
    children = []

    def interrupted(command):
        children.append(subprocess.Popen(command))
        os.kill(os.getpid(), number)
        return children[0]

    monkeypatch.setattr("potadlab.traces.recording.recorder._started", interrupted)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    found = record(tmp_path / "made.parquet", command=["sleep", "100"])
    assert children[0].poll() is not None
    assert found.exit_code is None
    assert found.path.exists()
    assert handlers == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]


def test_a_command_that_takes_longer_is_ended(place, tmp_path):
    found = record(tmp_path / "made.parquet", seconds=0.2, command=["sleep", "100"])
    assert (found.exit_code, found.path.exists()) == (None, True)


def sleeping(pid: int) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return bool(children) and "sleep" in Path(f"/proc/{children[0]}/comm").read_text()


def test_a_command_that_fails_or_is_not_there(place, tmp_path, capsys):
    for command, said, there in (
        (["sh", "-c", "exit 3"], "sh: ended with 3", True),
        (["sh", "-c", "kill -9 $$"], "sh: ended by signal 9", True),
        (["/nonesuch/command"], "no such command: nothing was recorded", False),
        ([str(tmp_path)], "no such command", False),
    ):
        target = tmp_path / f"{there}.parquet"
        with pytest.raises(SystemExit) as stopped:
            cli.main(["record", str(target), "--", *command])
        err = capsys.readouterr().err
        assert stopped.value.code == 1
        assert said in err.splitlines()[-1]
        assert "Traceback" not in err
        assert target.exists() == there
        assert not instances(place)


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.9])
def test_kill_at_any_moment_leaves_the_old_files_and_is_cleaned_up_after(place, tmp_path, after_s):
    target = tmp_path / "made.parquet"
    files = [target, tmp_path / "made.before.parquet", tmp_path / "made.after.parquet"]
    for file in files:
        file.write_text(f"the old {file.name}")
    child = program("record", "made.parquet", "--for", "500ms", folder=tmp_path)
    wait_for(lambda: instances(place))
    left = instances(place)
    time.sleep(after_s)
    child.kill()
    child.communicate()
    for file in files:
        old = file.read_text(errors="replace") == f"the old {file.name}"
        assert old or pq.read_schema(file).metadata[b"potadlab"]
    there = instances(place)  # none, if it has ended by itself
    assert there in (left, [])
    assert tracefs.remove_left_overs(place) == there
    found = record(target, seconds=0.1)
    assert not instances(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file.name for file in files)
    assert Trace.read(found.path).snapshot == "made.before.parquet"


def test_an_instance_at_work_is_no_left_over(place):
    with tracefs.Instance(place, MIB, stacks=False) as instance:
        while instance._files:  # open ones keep it busy anyway
            os.close(instance._files.pop())
        assert tracefs.remove_left_overs(place) == []
        assert instance.path.name in instances(place)
    assert not instances(place)


def test_the_script_records_what_is_imported(place, tmp_path):
    (tmp_path / "record.sh").write_text(SCRIPT)
    command = [SHELL, "record.sh", "made", *touch(8)]
    environment = {**os.environ, "STACKS": "1", "BUFFER_KB": "16384"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert not instances(place)
    text = (tmp_path / "made.txt").read_text()
    assert "python" not in text, "names of processes are left out"
    found = import_file(tmp_path / "made.txt", tmp_path / "made.parquet")
    import_file(tmp_path / "made.before.kpageflags", tmp_path / "made.before.parquet")
    assert found.counts["damaged"] == found.counts["lost_events"] == 0
    assert found.counts["stacks"] == found.counts["allocates"] > 0
    assert Trace.read(tmp_path / "made.parquet").snapshot == "made.before.parquet"


def test_the_script_tells_of_loss(place, tmp_path):
    (tmp_path / "record.sh").write_text(SCRIPT)
    loop = "for i in 1 2 3 4 5 6 7 8 9 10; do ls / /usr /etc >/dev/null; done"
    command = [SHELL, "record.sh", "made", "sh", "-c", loop]
    environment = {**os.environ, "BUFFER_KB": "16"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert import_file(tmp_path / "made.txt", tmp_path / "made.parquet").counts["lost_events"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere/made", "1"], "nowhere/made.txt.part cannot be written: choose another OUT"),
        (["made", "nonesuch", "1"], "nonesuch: no such command"),
    ],
)
def test_the_script_tells_before_it_records(place, tmp_path, arguments, said):
    (tmp_path / "record.sh").write_text(SCRIPT)
    command = [SHELL, "record.sh", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"record.sh: {said}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["record.sh"]


def test_the_script_ends_well_when_it_is_stopped(place, tmp_path):
    (tmp_path / "record.sh").write_text(SCRIPT)
    command = [SHELL, "record.sh", "made", "sleep", "60"]
    child = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: instances(place) and sleeping(child.pid))
    os.killpg(child.pid, signal.SIGINT)
    child.wait(WAIT_S)
    assert not instances(place)
    assert "mm_page_alloc" in (tmp_path / "made.txt").read_text()


def test_this_machines_memory(place):
    memory = Memory.now(mapped=True)
    told = memory.metadata
    names = {int(kind): name for kind, name in told["kinds"].items()}
    assert set(np.unique(memory.kinds)) <= set(names)
    end = max(edge for _, edge in told["zones"].values())
    assert len(memory.kinds) >= end
    free = np.count_nonzero(memory.kinds == 1)
    counted = sum(
        count << order
        for counts in told["buddyinfo"].values()
        for order, count in enumerate(counts)
    )
    assert abs(free - counted) <= 0.2 * counted + 20_000, "the machine goes on meanwhile"
    mapped = sum(kind["mapped"] for kind in told["mapped_pages"].values())
    assert 0 < mapped < np.count_nonzero(memory.kinds > 1)


def test_functions_by_address(tmp_path):
    names = "0 A fixed|ff00 T _text|ff10 t one|ff10 T other|ff10 d data|ff80 T two\t[mod]"
    (tmp_path / "kallsyms").write_text(names.replace("|", "\n"))
    symbols = Symbols(tmp_path / "kallsyms")
    assert symbols.stack_of(np.array([0xFF10, 0xFF7F, 0xFF80, 0xFF0F, 5], np.uint64)) == (
        "one;one;two;_text"
    )
    for hidden in ("", "0 T _text\n0 t one\n"):
        (tmp_path / "kallsyms").write_text(hidden)
        with pytest.raises(CannotRecord, match="kptr_restrict"):
            Symbols(tmp_path / "kallsyms")


# ---- elsewhere ------------------------------------------------------------------------------


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """A machine of files, with nothing on it: (tracefs, /proc)."""
    tracing, proc = tmp_path / "tracing", tmp_path / "proc"
    for folder in (tracing / "instances", proc):
        folder.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"tracefs {tracing} tracefs rw 0 0\n")
    monkeypatch.setattr(tracefs, "_MOUNTS", mounts)
    return tracing, proc


def refused(target: Path) -> str:
    with pytest.raises(CannotRecord) as error:
        record(target, seconds=0.1)
    assert "\n" not in str(error.value)
    assert not list(target.parent.glob("*.parquet"))
    return str(error.value)


def test_without_root(bare_machine, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    assert "needs root: put sudo before the command, or record with" in refused(
        tmp_path / "x.parquet"
    )


def test_without_tracefs(tmp_path, monkeypatch):
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    monkeypatch.setattr(tracefs, "_MOUNTS", nothing)
    monkeypatch.setattr(tracefs, "_FILESYSTEMS", nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "CONFIG_FTRACE" in refused(tmp_path / "x.parquet")


def test_without_the_events(bare_machine, tmp_path):
    assert "no event kmem/mm_page_alloc, kmem/mm_page_free" in refused(tmp_path / "x.parquet")


ALLOC = """name: mm_page_alloc
ID: 11
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:unsigned long pfn;	offset:8;	size:4;	signed:0;
	field:unsigned int order;	offset:12;	size:4;	signed:0;
	field:gfp_t gfp_flags;	offset:16;	size:4;	signed:0;
	field:int migratetype;	offset:20;	size:4;	signed:1;

print fmt: "page=%p"
"""


def test_fields_are_where_the_kernel_says(tmp_path):
    """As a machine of 32 bits has them."""
    (tmp_path / "format").write_text(ALLOC)
    op, fields = tracefs.EVENTS["kmem/mm_page_alloc"]
    form = np.array(tracefs._format(tmp_path / "format", op, fields), tracefs.FORMAT)
    assert form.tolist() == (11, 0, 8, 12, 16, 20, NONE, NONE, NONE, NONE, 4)
    (tmp_path / "format").write_text(ALLOC.replace("pfn", "page"))
    with pytest.raises(CannotRecord, match="has no pfn"):
        tracefs._format(tmp_path / "format", op, fields)


ZONES = """Node 0, zone      DMA
  pages free     2816
        spanned  4095
        present  3998
        managed  3840
  start_pfn:           1
Node 0, zone   Normal
        spanned  {spanned}
        present  {spanned}
        managed  {managed}
  start_pfn:           32768
Node 0, zone  Movable
        spanned  0
        present  0
        managed  0
"""


def fake_proc(proc: Path, words: np.ndarray, managed: int, spanned: int = 98304) -> None:
    words.astype(np.uint64).tofile(proc / "kpageflags")
    (words & 1).astype(np.uint64).tofile(proc / "kpagecount")
    (proc / "zoneinfo").write_text(ZONES.format(spanned=spanned, managed=managed))
    (proc / "buddyinfo").write_text("Node 0, zone      DMA      1      0      2\n")


def test_memory_of_files(bare_machine, tmp_path):
    """Sections of zeros at a zone's end are memory not initialised yet, others are holes."""
    _, proc = bare_machine
    words = np.zeros(4 * 32768, np.int64)
    words[:32768] = 1 << 10
    words[100] = 1 << 7
    words[2 * 32768] = 1 << 12 | 1
    fake_proc(proc, words, managed=2 * 32768)
    memory = Memory.now(mapped=True, proc=proc)
    assert memory.metadata["zones"] == {"DMA": [1, 4096], "Normal": [32768, 131072]}
    assert memory.metadata["buddyinfo"] == {"DMA": [1, 0, 2]}
    assert memory.metadata["mapped_pages"] == {"anon order-0": {"mapped": 1, "shared": 0}}
    start, pages, kind = runs_of(memory.kinds)
    assert list(zip(start.tolist(), pages.tolist(), kind.tolist(), strict=True)) == [
        (0, 100, 1),
        (100, 1, 2),
        (101, 32667, 1),
        (32768, 32768, 11),
        (65536, 1, 3),
        (65537, 32767, 0),
        (98304, 32768, 16),
    ]
    memory.write(tmp_path / "made.parquet")
    found = Snapshot.read(tmp_path / "made.parquet")
    assert found.info()["pages"]["uninitialised section (lazy deferred init)"] == 32768
    assert found.words()[0].endswith("131,072 pages in 7 runs")


@pytest.mark.parametrize("missing", ["kpageflags", "zoneinfo", "buddyinfo"])
def test_memory_that_is_not_told(bare_machine, missing):
    _, proc = bare_machine
    fake_proc(proc, np.ones(32768, np.int64), managed=98304)
    (proc / missing).unlink()
    with pytest.raises(CannotRecord, match=missing):
        Memory.now(proc=proc)


def test_zones_of_nodes_that_lie_in_one_another_are_left_out(bare_machine):
    _, proc = bare_machine
    fake_proc(proc, np.ones(32768, np.int64), managed=98304)
    text = (proc / "zoneinfo").read_text()
    (proc / "zoneinfo").write_text(text + text.replace("Node 0", "Node 1"))
    assert "zones" not in Memory.now(proc=proc).metadata
    apart = (
        text.replace("Node 0", "Node 1")
        .replace("32768", "300000")
        .replace(":           1\n", ":           200000\n")
    )
    (proc / "zoneinfo").write_text(text + apart)
    assert set(Memory.now(proc=proc).metadata["zones"]) == {
        f"node {node} {zone}" for node in (0, 1) for zone in ("DMA", "Normal")
    }


def test_a_snapshot_of_another_recording_is_told(tmp_path):
    rows = {"t_ns": [0, 1], "cpu": [0, 0], "op": [0, 1], "pfn": [8, 8], "order": [0, 0]}
    rows |= {"migratetype": [0, 255], "gfp_flags": [0, 0]}
    told = json.dumps({"format": "potadlab-page-trace-1", "recording": "then"})
    table = pa.table(rows).replace_schema_metadata({"potadlab": told})
    pq.write_table(table, tmp_path / "x.parquet")
    memory = Memory(np.ones(64, np.uint8), {"recording": "now"})
    memory.write(tmp_path / "x.before.parquet")
    with pytest.raises(BadTrace, match=r"x.before.parquet: is of another recording than"):
        Trace.read(tmp_path / "x.parquet")
    Trace.read(tmp_path / "x.parquet", snapshot=tmp_path / "x.before.parquet")
    bare = table.replace_schema_metadata({"potadlab": "{}"})  # imported over a recording's name
    pq.write_table(bare, tmp_path / "y.parquet")
    memory.write(tmp_path / "y.before.parquet")
    with pytest.raises(BadTrace, match=r"y.before.parquet: is of another recording than"):
        Trace.read(tmp_path / "y.parquet")
    memory.metadata["recording"] = "then"
    memory.write(tmp_path / "x.before.parquet")
    assert Trace.read(tmp_path / "x.parquet").snapshot == "x.before.parquet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record"], "name a file to write"),
        (["record", "--", "sleep", "1"], "sleep: the file to write comes first"),
        (["record", "x.parquet", "--for", "soon"], "is no time"),
        (["record", "x.parquet", "--for", "0s"], "more than 0s"),
        (["record", "x.parquet", "--buffer", "1KiB"], "64KiB to 64GiB"),
    ],
)
def test_wrong_usage(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_script_is_printed_and_is_shell(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["record", "--script"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed == SCRIPT
    subprocess.run([SHELL, "-n"], input=printed, text=True, check=True)
