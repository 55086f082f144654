"""`python -m localcloud.controlplane` finds or builds the control plane and says where it is."""

from __future__ import annotations

import asyncio
import sys
import time

from localcloud.controlplane.build import find
from localcloud.controlplane.errors import ControlPlaneError


def main() -> int:
    """Exit status 1, and one sentence, where there is no control plane to be had."""
    started = time.monotonic()
    try:
        binaries = asyncio.run(find(_say))
    except ControlPlaneError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; nothing was kept but what Go has compiled so far")
        return 130
    for path in binaries.paths:
        _say(str(path))
    _say(f"Kubernetes {binaries.version}, {binaries.origin}, {time.monotonic() - started:.1f} s")
    if not binaries.has_collectors:
        _say(binaries.NO_COLLECTORS)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"controlplane: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
