"""Where a process and its children listen, as the kernel tells."""

from pathlib import Path

_LISTEN = "0A"
_HERE = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


def elsewhere(pid: int) -> list[str]:
    """Hexadecimal addresses, other than localhost's, at which they accept connections."""
    found = places(pid)
    assert found, "it listens nowhere"
    return [place for place in found if place.partition(":")[0] not in _HERE]


def places(pid: int) -> list[str]:
    """Hexadecimal addresses and ports at which they accept connections."""
    sockets = {link for one in _family(pid) for link in _links(one)}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == _LISTEN and f"socket:[{cells[9]}]" in sockets:
                found.append(cells[1])
    return found


def _family(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    children = [one for task in tasks.glob("*/children") for one in task.read_text().split()]
    return [pid, *(one for child in children for one in _family(int(child)))]


def _links(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(str(path.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found
