"""Enters an app's own view of the file system, then becomes the app: one process, so signals and exit codes are true.

Run as `python -I -S sandbox_enter.py PLAN`, PLAN being JSON made by sandbox.py; it imports the standard library only,
for speed. Two user namespaces: in the first we are root, to mount; in the second the app has the user id of its image
and no power over the mounts (user_namespaces(7), mount_namespaces(7), pivot_root(2)).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from typing import Any, NoReturn, TextIO

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_REC, MS_BIND, MS_SLAVE = 2, 4, 16384, 4096, 1 << 19
MNT_DETACH = 2
MOUNT_SETATTR = 442  # the same number on every architecture; Linux 5.12
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SETUP_FAILED, NOT_RUN = 125, 127  # as env(1) and container engines answer

libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def checked(result: int, what: str) -> None:
    """Raises OSError, as ctypes does not."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    checked(libc.mount(*arguments), f"mount {target}")


def become(inside: int, inside_group: int, outside: int, outside_group: int, flags: int) -> None:
    """A user namespace with one user and one group, ours."""
    checked(libc.unshare(CLONE_NEWUSER | flags), "unshare")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside} 1"),
        ("gid_map", f"{inside_group} {outside_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def bind(source: str, target: str, *, read_only: bool) -> None:
    """Shows a host path; below another mount, its place must be there already."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        attributes = MountAttributes(set=MOUNT_ATTR_RDONLY)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        flags = ctypes.c_uint(AT_RECURSIVE)
        place = ctypes.c_char_p(target.encode())
        result = libc.syscall(MOUNT_SETATTR, AT_FDCWD, place, flags, ctypes.byref(attributes), size)
        checked(result, f"read-only {target}")


def overlay(source: str, target: str, scratch: str) -> None:
    """What the app writes stays in memory and goes with it, as on Cloud Run."""
    upper, work = scratch + ".upper", scratch + ".work"
    for folder in (upper, work):
        os.mkdir(folder)
    os.makedirs(target, exist_ok=True)
    here = os.getcwd()
    os.chdir(source)  # a path in the options would need escaping
    mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, f"lowerdir=.,upperdir={upper},workdir={work},userxattr")
    os.chdir(here)


def mirror(source: str, target: str, places: list[str]) -> None:
    """The entries of a folder, one by one, so that others can be mounted beside them, whoever owns it."""
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        entry, place = os.path.join(source, name), os.path.join(target, name)
        if os.path.islink(entry):
            os.symlink(os.readlink(entry), place)
        elif os.path.isdir(entry) and any(below == place or below.startswith(place + "/") for below in places):
            mirror(entry, place, places)
        else:
            bind(entry, place, read_only=True)


def build(plan: dict[str, Any]) -> None:
    """Everything that the app sees, under the plan's root."""
    root: str = plan["root"]
    mount("none", "/", flags=MS_REC | MS_SLAVE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for folder in plan["folders"]:
        os.makedirs(root + folder, exist_ok=True)
        os.chmod(root + folder, 0o1777)  # noqa: S103 - as /tmp is everywhere
    for path, text in plan["files"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "w") as file:
            file.write(text)
    for path, destination in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(destination, root + path)
    scratch = root + "/.scratch"
    os.mkdir(scratch)
    mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
    places = [root + target for _, target, _ in plan["mounts"]]
    for number, (source, target, way) in enumerate(plan["mounts"]):
        if way == "overlay" and os.path.isdir(source):
            overlay(source, root + target, f"{scratch}/{number}")
        elif way == "mirror" and os.path.isdir(source):
            mirror(source, root + target, places)
        else:
            bind(source, root + target, read_only=way != "shared")
    checked(libc.umount2(scratch.encode(), MNT_DETACH), "umount scratch")  # the overlays keep what they use
    os.rmdir(scratch)


def enter(plan: dict[str, Any]) -> None:
    """From the host's view to the app's."""
    user, group = os.geteuid(), os.getegid()
    become(0, 0, user, group, CLONE_NEWNS)
    build(plan)
    os.chdir(plan["root"])
    checked(libc.pivot_root(b".", b"."), "pivot_root")  # the old root lies on top of the new one, for a moment
    checked(libc.umount2(b".", MNT_DETACH), "umount the host")
    os.chdir("/")
    become(plan["uid"], plan["gid"], 0, 0, 0)
    os.chdir(plan["cwd"])


def resolve(name: str, path: str) -> str:
    """The file that a command's first word names; "" where PATH has none that may be executed."""
    if "/" in name:
        return name
    files = (os.path.join(folder, name) for folder in path.split(":"))
    return next((file for file in files if os.path.isfile(file) and os.access(file, os.X_OK)), "")


def execute(argv: list[str], environment: dict[str, str]) -> str:
    """Becomes the app; where that cannot be, why: in the words of gVisor, which are those of Cloud Run's log."""
    path = environment.get("PATH", os.defpath)
    file = resolve(argv[0], path)
    if not file:
        folders = " ".join(path.split(":"))
        missing = os.strerror(errno.ENOENT).lower()
        return f'failed to resolve binary path: error finding executable "{argv[0]}" in PATH [{folders}]: {missing}'
    try:
        os.execve(file, argv, environment)  # noqa: S606 - the app's own command
    except OSError as error:
        return f"failed to load {file}: {str(error.strerror).lower()}"


def fail(code: int, message: str, where: TextIO) -> NoReturn:
    """Ends before the app began."""
    where.write(f"{message}\n")
    where.flush()
    os._exit(code)


def main() -> None:
    """Never returns."""
    plan = json.loads(sys.argv[1])
    environment = {name: value for name, value in os.environ.items() if name not in plan["unset"]}
    os.umask(0o022)
    report = open(plan["report"], "w") if plan["report"] else sys.stderr  # noqa: SIM115 - the app closes it by beginning
    try:
        enter(plan)
    except OSError as error:
        fail(SETUP_FAILED, f"sandbox: {error}", sys.stderr)
    fail(NOT_RUN, execute(plan["argv"], environment), report)


if __name__ == "__main__":
    main()
