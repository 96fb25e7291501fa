"""Whether a process that left its mark in the catalogue is still there."""

from __future__ import annotations

import socket
from datetime import datetime

import psutil


def is_gone(host: str | None, process_id: int | None, began: datetime | None) -> bool:
    """True for a process of this machine that has ended; of another machine's nothing is known."""
    if host != socket.gethostname() or process_id is None:
        return False
    try:
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # A process that began later than the mark was made has got the number of one that ended.
        return began is not None and process.create_time() > began.timestamp() + 1
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
