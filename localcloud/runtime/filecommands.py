"""mkdir, rm, chmod and their like, done to an image's tree instead of to this machine."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localcloud.runtime.buildcontext import CopyError, Source, copy, place_in
from localcloud.runtime.runlines import RunLineError

_FLAGS = {
    "mkdir": "pvm", "rm": "rf", "chmod": "Rvf", "chown": "Rhvf", "chgrp": "Rhvf",
    "touch": "", "ln": "sfnv", "cp": "rRaTfvp", "mv": "fvn",
}  # fmt: skip


def run_file_command(words: Sequence[str], rootfs: Path, workdir: str) -> None:
    """Does what the command says inside `rootfs`. Raises RunLineError."""
    program = words[0]
    flags, operands = _read(program, words[1:])
    if program in ("chown", "chgrp"):
        return  # one machine user runs everything: owners are not kept
    try:
        _COMMANDS[program](rootfs, flags, [os.path.join(workdir, operand) for operand in operands])
    except CopyError as error:
        raise RunLineError(str(error), "correct the path") from None
    except (OSError, ValueError, IndexError) as error:
        raise RunLineError(f"{program} failed: {error}", "correct the command") from None


def _read(program: str, words: Sequence[str]) -> tuple[set[str], list[str]]:
    flags: set[str] = set()
    operands: list[str] = []
    remaining = list(words)
    long_names = {"--recursive": "r", "--force": "f", "--parents": "p", "--symbolic": "s"}
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            return flags, [*operands, *remaining]
        word = f"-{long_names[word]}" if word in long_names else word
        if not word.startswith("-") or word == "-":
            operands.append(word)
        elif program == "mkdir" and word == "-m":
            remaining.pop(0)  # a mode: only the executable bit is kept, which folders have
        elif word.startswith("--") or set(word[1:]) - set(_FLAGS[program]):
            raise RunLineError(f"{program} {word} is not supported here", "write the line without it")
        else:
            flags |= set(word[1:])
    return flags, operands


def _globbed(rootfs: Path, operands: list[str]) -> list[Path]:
    found: list[Path] = []
    for operand in operands:
        if any(char in operand for char in "*?["):
            found += sorted(rootfs.glob(operand.lstrip("/")))
        else:
            found.append(place_in(rootfs, operand))
    return found


def _mkdir(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    for operand in operands:
        place_in(rootfs, operand).mkdir(parents=True, exist_ok="p" in flags)


def _rm(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    for place in _globbed(rootfs, operands):
        if place.is_dir() and not place.is_symlink():
            if "r" not in flags:
                raise ValueError(f"/{place.relative_to(rootfs)} is a folder")
            shutil.rmtree(place)
        elif os.path.lexists(place):
            place.unlink()
        # What is not in the tree belongs to the base image (apt's lists, pip's cache), which is not kept here.


def _chmod(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    mode, *rest = operands
    mode = os.path.basename(mode)
    for place in _globbed(rootfs, rest):
        within = [*place.rglob("*"), place] if "R" in flags and place.is_dir() else [place]
        for item in within:
            if item.is_file() and not item.is_symlink():
                item.chmod(_mode(mode, item.stat().st_mode & 0o777))


def _mode(mode: str, current: int) -> int:
    if mode.isdigit():
        return int(mode, 8) & 0o777
    who, sign, what = mode.partition("+") if "+" in mode else mode.partition("-")
    if not sign or set(what) - set("rwxX") or set(who) - set("ugoa"):
        raise ValueError(f"mode {mode} is not supported; write it in octal")
    classes = {"u": 0o700, "g": 0o070, "o": 0o007}
    mask = sum(bits for name, bits in classes.items() if not who or "a" in who or name in who)
    bits = sum({"r": 0o444, "w": 0o222, "x": 0o111, "X": 0}[char] for char in set(what)) & mask
    return current | bits if sign == "+" else current & ~bits


def _touch(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    for operand in operands:
        place = place_in(rootfs, operand)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _ln(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    target, name = operands
    place = place_in(rootfs, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if "f" in flags and os.path.lexists(place):
        place.unlink()
    if "s" not in flags:
        os.link(place_in(rootfs, target), place)
        return
    inside = place_in(rootfs, target)
    place.symlink_to(os.path.relpath(inside, place.parent))  # relative: valid wherever the tree is shown


def _cp(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    *sources, destination = operands
    for source in _globbed(rootfs, sources):
        is_folder = source.is_dir() and not source.is_symlink()
        if is_folder and not flags & set("rRa"):
            raise ValueError(f"/{source.relative_to(rootfs)} is a folder")
        into = place_in(rootfs, destination).is_dir() and "T" not in flags
        name = f"{destination}/{source.name}" if into else destination
        copy(Source(rootfs), (str(source.relative_to(rootfs)),), rootfs, name)


def _mv(rootfs: Path, flags: set[str], operands: list[str]) -> None:
    *sources, destination = operands
    for source in _globbed(rootfs, sources):
        target = place_in(rootfs, destination)
        shutil.move(source, target / source.name if target.is_dir() else target)


_COMMANDS: Mapping[str, Callable[[Path, set[str], list[str]], None]] = {
    "mkdir": _mkdir, "rm": _rm, "chmod": _chmod, "touch": _touch, "ln": _ln, "cp": _cp, "mv": _mv,
}  # fmt: skip
