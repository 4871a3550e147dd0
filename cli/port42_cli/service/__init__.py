"""The daemon as a service of this user: installed, verified, uninstalled.

`supervisor` is the interface of `systemd` and `launchd`; `install` and `report` are the same for both.
"""

from __future__ import annotations

import sys

from port42_cli.service.supervisor import Supervisor


def here() -> Supervisor:
    """This system's supervisor."""
    if sys.platform == "darwin":
        from port42_cli.service.launchd import Launchd

        return Launchd()
    from port42_cli.service.systemd import Systemd

    return Systemd()
