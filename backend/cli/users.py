"""`proponent users`: accounts of those who judge, curate and manage."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.accounts.roles import Role
from backend.cli.options import HomeOption, JsonOption, report, settings_for
from backend.core.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

users_app = typer.Typer(help="Accounts of those who judge, curate and manage.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="The user's name.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def _catalogue(home: Path | None) -> Engine:
    """The catalogue, which is made where there is none yet."""
    from backend.catalogue.database import migrate, open_catalogue

    engine = open_catalogue(settings_for(home))
    migrate(engine)
    return engine


def _writing(home: Path | None) -> AbstractContextManager[Session]:
    """A write to it, which changes nothing that pages show."""
    from backend.catalogue.database import write_session

    return write_session(_catalogue(home), shown=False)


def _password(from_stdin: bool) -> str:
    """The password, typed twice or the first line of standard input; checked before anything is opened."""
    from backend.accounts.passwords import check_password

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise UserError("There is no terminal to type a password at.", "Send it with --password-stdin.")
    check_password(password)
    return password


@users_app.command("add")
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="reader, annotator, curator or admin.")] = Role.ANNOTATOR,
    password_stdin: StdinOption = False,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Add a user, who signs in with a name and a password."""
    from backend.accounts.audit import COMMAND_LINE
    from backend.accounts.users import add_user

    password = _password(password_stdin)
    with _writing(home) as session:
        user = add_user(session, COMMAND_LINE, name, role, password)
        value = _described(user)
    report(value, json_, f"{value['name']} may sign in as {value['role']}.")


@users_app.command("list")
def list_(home: HomeOption = None, json_: JsonOption = False) -> None:
    """Name all users with their roles."""
    from backend.accounts.users import all_users
    from backend.catalogue.database import read_session

    with read_session(_catalogue(home)) as session:
        values = [_described(user) for user in all_users(session)]
    lines = [f"{v['name']:<24} {v['role']:<10} {'disabled' if v['disabled'] else ''}".rstrip() for v in values]
    report(values, json_, "\n".join(lines) or "Nobody yet: `proponent users add NAME --role admin`.")


@users_app.command("disable")
def disable(name: NameArgument, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Let a user in no more; what they wrote stays. `proponent users reset` lets them in again."""
    from backend.accounts.audit import COMMAND_LINE
    from backend.accounts.users import disable as disable_user
    from backend.accounts.users import find_user

    with _writing(home) as session:
        user = find_user(session, name)
        disable_user(session, COMMAND_LINE, user)
        value = _described(user)
    report(value, json_, f"{value['name']} is signed out everywhere and may not sign in.")


@users_app.command("reset")
def reset(
    name: NameArgument, password_stdin: StdinOption = False, home: HomeOption = None, json_: JsonOption = False
) -> None:
    """Give a user a new password, sign them out everywhere, and let them in again if they were disabled."""
    from backend.accounts.audit import COMMAND_LINE
    from backend.accounts.users import enable, find_user, set_password

    password = _password(password_stdin)
    with _writing(home) as session:
        user = find_user(session, name)
        if user.disabled_at is not None:
            enable(session, COMMAND_LINE, user)
        set_password(session, COMMAND_LINE, user, password)
        value = _described(user)
    report(value, json_, f"{value['name']} has a new password; all sessions and tokens ended.")


def _described(user: Any) -> dict[str, Any]:
    return {"name": user.name, "role": user.role, "disabled": user.disabled_at is not None}
