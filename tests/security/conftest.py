"""The example catalogue with its people, for tests of what holds on every route."""

from __future__ import annotations

from tests.app.conftest import client, full_home

__all__ = ["client", "full_home"]
