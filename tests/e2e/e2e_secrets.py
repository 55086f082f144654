"""Whether the bytes of a secret are where they must not be. What is found is told by name, never by its bytes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8  # bytes: shorter ones are words that stand anywhere
LOOK_S = 0.1  # between two looks at all processes, which take about two milliseconds


def forms(payload: bytes) -> set[bytes]:
    """How its bytes may be written down: as they are, line by line, and in the encodings of APIs and logs."""
    text = payload.decode(errors="replace")
    encoded = {
        *payload.splitlines(),
        base64.b64encode(payload),
        base64.urlsafe_b64encode(payload),
        quote(text, safe="").encode(),
        json.dumps(text)[1:-1].encode(),
    }
    return {form for form in encoded if len(form) >= SHORTEST}


def in_texts(payloads: Mapping[str, bytes], texts: Mapping[str, bytes]) -> list[str]:
    """`payloads` by the secret's name, `texts` by where they are from; each finding as "name: place"."""
    return [
        f"{name}: {place}"
        for name, payload in payloads.items()
        for place, text in texts.items()
        if any(form in text for form in forms(payload))
    ]


def in_files(payloads: Mapping[str, bytes], files: Iterable[Path]) -> list[str]:
    """The same in files, which may be large and of any content: grep reads a database's log faster than Python."""
    names = {form: name for name, payload in payloads.items() for form in forms(payload)}
    paths = [path for path in files if path.is_file()]
    if not names or not paths:
        return []
    done = subprocess.run(
        ["grep", "--text", "--fixed-strings", "--only-matching", "--with-filename", "--file=-", *map(str, paths)],
        input=b"\n".join(names),
        capture_output=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
    found = (line.partition(b":") for line in done.stdout.splitlines())
    return sorted({f"{names.get(form, 'a secret')}: {Path(os.fsdecode(path)).name}" for path, _, form in found})


class CommandLines:
    """The arguments of every process of this machine that we may see while it is watched, in a file, each once.

    Jobs, psql and initdb end long before a scenario does, so one look at its end would miss them.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: set[bytes] = set()
        self._looking, self._ended = threading.Lock(), threading.Event()

    def look(self) -> None:
        """Writes down what runs now."""
        with self._looking, self.file.open("ab") as file:
            fresh = _command_lines() - self._known
            self._known |= fresh
            file.writelines(line + b"\n" for line in fresh)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks all the time, in a thread of its own."""
        thread = threading.Thread(target=self._watch, name="command lines", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.look()


def _command_lines() -> set[bytes]:
    if not Path("/proc/self/cmdline").exists():
        return set(subprocess.run(["ps", "-axww", "-o", "args="], capture_output=True, check=True).stdout.splitlines())
    lines = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb", buffering=0) as file:
                lines.add(file.read())
        except OSError:  # it has ended
            continue
    return lines
