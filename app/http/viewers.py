"""The person or program behind a request, as pages know them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from backend.accounts.access import Access
from backend.accounts.roles import Role

SESSION_COOKIE = "session"
KEY = "proponent.viewer"
"""Where an ASGI scope holds its viewer."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page."""

    access: Access | None = None
    """None for somebody who has not signed in."""

    @property
    def signed_in(self) -> bool:
        """Whether we know who it is."""
        return self.access is not None

    @property
    def name(self) -> str:
        """Their name here; empty for anybody."""
        return "" if self.access is None else self.access.name

    @property
    def role(self) -> str:
        """Their role; empty for anybody."""
        return "" if self.access is None else self.access.role.value

    @property
    def user_id(self) -> int | None:
        """Primary key of the user."""
        return None if self.access is None else self.access.user_id

    @property
    def session_id(self) -> str | None:
        """The session that this browser is signed in by; None for a token."""
        return None if self.access is None else self.access.session_id

    def may(self, role: Role | str) -> bool:
        """Whether they may do what a role may."""
        return self.access is not None and self.access.role.may(Role(role))


ANYBODY = Viewer()


def viewer_of(scope: Scope) -> Viewer:
    """The viewer of a request; anybody where nothing says who it is."""
    found: Viewer = scope.get(KEY, ANYBODY)
    return found
