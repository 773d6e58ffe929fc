"""Own whose files are obeyed: whoever may write a file, or put another one in its place, gives the orders in it.

Ourselves, root, and the person behind `sudo` are trusted; a group is, as long as nobody else is in it. What is judged
is an open descriptor, so that what was judged is what is read. Beside that it looks into the account database alone.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
from typing import Final

_ROOT: Final = 0
_ACCESS_LIST: Final = "system.posix_acl_access"


def trusted_owners() -> frozenset[int]:
    """Return the accounts whose files we obey."""
    user = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if user == _ROOT else ""
    return frozenset({_ROOT, user, *([int(caller)] if caller.isdecimal() else [])})


def account_name(uid: int) -> str:
    """Return how people know an account: its name, if it has one, and its number."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def objection(descriptor: int, owners: frozenset[int]) -> str | None:
    """Return why the open file or folder may have been written by others than `owners`; None if it cannot."""
    found = os.fstat(descriptor)
    if found.st_uid not in owners:
        return f"belongs to {account_name(found.st_uid)}"
    if found.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if found.st_mode & stat.S_IWGRP:
        if others := _others_in(found.st_gid, owners):
            return f"can be written by the group {_group_name(found.st_gid)}, which has other members ({others})"
        if _has_access_list(descriptor):
            return "can be written by others, by its access list"
    return None


def _others_in(gid: int, owners: frozenset[int]) -> str:
    """Return who is in the group beside `owners`, as text; empty if nobody is."""
    try:
        named = grp.getgrgid(gid).gr_mem
    except KeyError:
        # Nobody keeps a list of it. In a container our own may have no name, and is as private as our account.
        return "" if gid == os.getegid() else "nobody knows whom"
    members = {account.pw_uid for name in named if (account := _account(name))}
    if gid != _ROOT:  # system accounts such as `sync` have root's group for theirs
        members |= {account.pw_uid for account in pwd.getpwall() if account.pw_gid == gid}
    return ", ".join(account_name(uid) for uid in sorted(members - owners)[:3])


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _has_access_list(descriptor: int) -> bool:
    """Tell whether an access list stands behind the group's permissions, which then are the most that it gives."""
    if sys.platform != "linux":
        return False
    try:
        # By the magic link: a folder that may only be searched is open without the right to read it.
        return _ACCESS_LIST in os.listxattr(f"/proc/self/fd/{descriptor}")
    except OSError:
        return False  # the file system has none
