"""What differs between operating systems: signals, daemons, users and groups, process titles."""

from __future__ import annotations

import atexit
import errno
import math
import numbers
import os
import signal as _signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .exceptions import SecurityError, SecurityWarning
from .local import try_import

_setproctitle = try_import("setproctitle")
resource = try_import("resource")
pwd = try_import("pwd")
grp = try_import("grp")

__all__ = (
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "IS_WINDOWS",
    "SIGMAP",
    "SYSTEM",
    "DaemonContext",
    "IS_macOS",
    "LockFailed",
    "Pidfile",
    "close_open_fds",
    "create_pidlock",
    "detached",
    "fd_by_path",
    "get_errno_name",
    "get_fdmax",
    "ignore_errno",
    "initgroups",
    "isatty",
    "maybe_drop_privileges",
    "parse_gid",
    "parse_uid",
    "pyimplementation",
    "set_mp_process_title",
    "set_process_title",
    "setgid",
    "setgroups",
    "setuid",
    "signal_name",
    "signals",
)  # fmt: skip

EX_OK: int = getattr(os, "EX_OK", 0)
EX_FAILURE = 1
EX_UNAVAILABLE: int = getattr(os, "EX_UNAVAILABLE", 69)
EX_USAGE: int = getattr(os, "EX_USAGE", 64)
EX_CANTCREAT: int = getattr(os, "EX_CANTCREAT", 73)

SYSTEM = os.uname().sysname if hasattr(os, "uname") else "Windows"
IS_macOS = SYSTEM == "Darwin"
IS_WINDOWS = SYSTEM == "Windows"

DAEMON_WORKDIR = "/"
PIDFILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY
PIDFILE_MODE = 0o644

PIDLOCKED = """ERROR: Pidfile ({0}) already exists.
Seems we're already running? (pid: {1})"""
_USER = "User information: uid={uid} euid={euid} gid={gid} egid={egid}"
ROOT_DISALLOWED = (
    "This worker runs as root and accepts pickle: whoever can send it a message can do anything on this machine. "
    f"Run it as another user (--uid), or set C_FORCE_ROOT in the environment if it must be so.\n{_USER}"
)
ROOT_DISCOURAGED = (
    f"You're running the worker with superuser privileges: this is absolutely not recommended! Use --uid.\n{_USER}"
)
ASSUMING_ROOT = "This process' group has no entry on this machine: taking it for a privileged one."

SIGNAMES = {name for name in dir(_signal) if name.startswith("SIG") and "_" not in name}
SIGMAP = {getattr(_signal, name): name for name in SIGNAMES}

_FD_DIR = "/dev/fd" if IS_macOS else "/proc/self/fd"


def isatty(fh: Any) -> bool | None:
    """Whether the file is a terminal."""
    try:
        return fh.isatty()  # type: ignore[no-any-return] # untyped beneath
    except AttributeError:
        return None


def pyimplementation() -> str:
    """Which Python this is."""
    import platform

    return platform.python_implementation()


class LockFailed(Exception):
    """The pid file could not be taken."""


class Pidfile:
    """A file that holds the number of the process that runs."""

    path: Any = None

    def __init__(self, path: Any) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - the attribute is a text

    def acquire(self) -> Pidfile:
        """Writes it; LockFailed when it is there."""
        try:
            self.write_pid()
        except OSError as exc:
            raise LockFailed(str(exc)) from exc
        return self

    __enter__ = acquire

    def is_locked(self) -> bool:
        """Whether it is there."""
        return Path(self.path).exists()

    def release(self, *args: Any) -> None:
        """Removes it."""
        self.remove()

    __exit__ = release

    def read_pid(self) -> int | None:
        """The number in it; None when it is not there."""
        try:
            line = Path(self.path).read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return None
        if not line[1]:
            raise ValueError(f"Partial or invalid pidfile {self.path}")
        try:
            return int(line[0].strip())
        except ValueError:
            raise ValueError(f"pidfile {self.path} contents invalid.") from None

    def remove(self) -> None:
        """Removes it, where that is possible."""
        with ignore_errno(errno.ENOENT, errno.EACCES):
            Path(self.path).unlink()

    def remove_if_stale(self) -> bool:
        """Removes it when the process that it names is gone; says whether it did."""
        try:
            pid = self.read_pid()
        except ValueError:
            print("Broken pidfile found - Removing it.", file=sys.stderr)  # noqa: T201 - before logging is set up
            self.remove()
            return True
        if pid and pid != os.getpid():  # in a container every first process has number 1
            try:
                os.kill(pid, 0)
            except (ProcessLookupError, PermissionError, SystemError, OverflowError):
                print("Stale pidfile exists - Removing it.", file=sys.stderr)  # noqa: T201 - as above
            else:
                if not _has_ended(pid):
                    return False
                said = f"Stale pidfile exists (process {pid} has ended, its parent has not waited for it)"
                print(f"{said} - Removing it.", file=sys.stderr)  # noqa: T201 - as above
        self.remove()
        return True

    def write_pid(self) -> None:
        """Writes this process' number into it."""
        content = f"{os.getpid()}\n"
        with os.fdopen(os.open(self.path, PIDFILE_FLAGS, PIDFILE_MODE), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if Path(self.path).read_text(encoding="utf-8") != content:
            raise LockFailed("Inconsistency: Pidfile content doesn't match at re-read")


PIDFile = Pidfile


def _has_ended(pid: int) -> bool:
    """Whether it is dead though it can still be signalled: a zombie. False where the system does not tell."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state in {b"Z", b"X"}


def create_pidlock(pidfile: Any) -> Pidfile:
    """Takes the pid file until this process ends; exits when another process has it."""
    lock = _create_pidlock(pidfile)
    atexit.register(lock.release)
    return lock


def _create_pidlock(pidfile: Any) -> Pidfile:
    lock = Pidfile(pidfile)
    if lock.is_locked() and not lock.remove_if_stale():
        print(PIDLOCKED.format(pidfile, lock.read_pid()), file=sys.stderr)  # noqa: T201 - as above
        raise SystemExit(EX_CANTCREAT)
    lock.acquire()
    return lock


def get_fdmax(default: int | None = None) -> int | None:
    """How many files this process may have open."""
    try:
        return os.sysconf("SC_OPEN_MAX")
    except (AttributeError, ValueError, OSError):
        pass
    if resource is None:
        return default
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return default if limit == resource.RLIM_INFINITY else limit


def _open_fds() -> list[int]:
    """The descriptors that are open."""
    try:
        return sorted(int(name) for name in os.listdir(_FD_DIR) if name.isdigit())  # noqa: PTH208 - names alone
    except OSError:
        return list(range(get_fdmax(2048) or 2048))


def maybe_fileno(f: Any) -> int | None:
    """The descriptor of a file, if it has one."""
    if isinstance(f, numbers.Integral):
        return int(f)
    try:
        return f.fileno()  # type: ignore[no-any-return] # untyped beneath
    except (AttributeError, OSError, ValueError):
        return None


def fd_by_path(paths: Iterable[str]) -> list[int]:
    """The open descriptors of these files."""
    wanted = set()
    for path in paths:
        with ignore_errno(errno.ENOENT, errno.EACCES, types=(OSError,)):
            found = os.stat(path)  # noqa: PTH116 - beside fstat
            wanted.add((found.st_ino, found.st_dev))

    def is_wanted(fd: int) -> bool:
        try:
            found = os.fstat(fd)
        except OSError:
            return False
        return (found.st_ino, found.st_dev) in wanted

    return [fd for fd in _open_fds() if is_wanted(fd)]


def close_open_fds(keep: Iterable[Any] | None = None) -> None:
    """Closes every descriptor but these."""
    kept = {maybe_fileno(file) for file in keep or ()}
    for fd in _open_fds():
        if fd not in kept:
            with ignore_errno(errno.EBADF, types=(OSError,)):
                os.close(fd)


class DaemonContext:
    """The process in the background, without a terminal."""

    _is_open = False

    def __init__(
        self,
        pidfile: Any = None,
        workdir: Any = None,
        umask: Any = None,
        fake: bool = False,
        after_chdir: Callable[[], Any] | None = None,
        after_forkers: bool = True,
        **kwargs: Any,
    ) -> None:
        umask = parse_umask(umask)
        self.workdir = workdir or DAEMON_WORKDIR
        self.umask = umask
        self.fake = fake
        self.after_chdir = after_chdir
        self.after_forkers = after_forkers
        self.stdfds = (sys.stdin, sys.stdout, sys.stderr)

    def redirect_to_null(self, fd: int | None) -> None:
        """Lets the descriptor lead nowhere."""
        if fd is not None:
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)

    def open(self) -> None:
        """Goes into the background, once."""
        if self._is_open:
            return
        if not self.fake:
            self._detach()
        os.chdir(self.workdir)
        if self.umask is not None:
            os.umask(self.umask)
        if self.after_chdir:
            self.after_chdir()
        if not self.fake:
            close_open_fds([*self.stdfds, *fd_by_path(["/dev/urandom"])])
            for file in self.stdfds:
                self.redirect_to_null(maybe_fileno(file))
            forked = sys.modules.get("multiprocessing.util") if self.after_forkers else None
            if forked is not None:
                forked._run_after_forkers()
        self._is_open = True

    __enter__ = open

    def close(self, *args: Any) -> None:
        """Forgets that it went."""
        self._is_open = False

    __exit__ = close

    def _detach(self) -> DaemonContext:
        if os.fork() > 0:
            os._exit(0)
        os.setsid()
        if os.fork() > 0:  # what leads a session may open a terminal again
            os._exit(0)
        return self


def detached(
    logfile: Any = None,
    pidfile: Any = None,
    uid: Any = None,
    gid: Any = None,
    umask: Any = 0,
    workdir: Any = None,
    fake: bool = False,
    **opts: Any,
) -> DaemonContext:
    """A context in which the process is in the background, as this user; log and pid file are tried out first."""
    if resource is None:
        raise RuntimeError("This platform does not support detach.")
    workdir = os.getcwd() if workdir is None else workdir  # noqa: PTH109 - handed on as a text
    signals.reset("SIGCLD")
    maybe_drop_privileges(uid=uid, gid=gid)

    return DaemonContext(umask=umask, workdir=workdir, fake=fake, after_chdir=lambda: try_out(logfile, pidfile))


def try_out(logfile: Any = None, pidfile: Any = None) -> None:
    """OSError, LockFailed or an exit where they could not be written; before the fork somebody still sees it."""
    if logfile:
        Path(logfile).open("a", encoding="utf-8").close()
    if pidfile:
        _create_pidlock(pidfile).release()


def parse_umask(umask: Any) -> Any:
    """A text as a number: octal with a leading 0, else decimal."""
    return int(umask, 8 if umask.startswith("0") else 10) if isinstance(umask, str) else umask


def parse_uid(uid: Any) -> int:
    """A user's number, from it or from the name."""
    try:
        return int(uid)
    except ValueError:
        pass
    try:
        return pwd.getpwnam(uid).pw_uid  # type: ignore[no-any-return] # untyped beneath
    except (AttributeError, KeyError):
        raise KeyError(f"User does not exist: {uid}") from None


def parse_gid(gid: Any) -> int:
    """A group's number, from it or from the name."""
    try:
        return int(gid)
    except ValueError:
        pass
    try:
        return grp.getgrnam(gid).gr_gid  # type: ignore[no-any-return] # untyped beneath
    except (AttributeError, KeyError):
        raise KeyError(f"Group does not exist: {gid}") from None


def setgroups(groups: list[int]) -> None:
    """Makes these the groups of the process, as many as the system takes."""
    try:
        groups = groups[: os.sysconf("SC_NGROUPS_MAX")]
    except (AttributeError, ValueError, OSError):
        groups = groups[:]
    while True:
        try:
            return os.setgroups(groups)
        except (ValueError, OSError) as exc:  # noqa: PERF203 - one try for each number of groups
            if getattr(exc, "errno", errno.EINVAL) == errno.EPERM and set(os.getgroups()) <= set(groups):
                return None  # not allowed, and not needed
            if getattr(exc, "errno", errno.EINVAL) != errno.EINVAL or len(groups) <= 1:
                raise
            groups = groups[:-1]


def initgroups(uid: int, gid: int) -> None:
    """Makes the user's groups those of the process."""
    if pwd is not None:
        os.initgroups(pwd.getpwuid(uid)[0], gid)


def setgid(gid: Any) -> None:
    """Becomes this group, by number or name."""
    os.setgid(parse_gid(gid))


def setuid(uid: Any) -> None:
    """Becomes this user, by number or name."""
    os.setuid(parse_uid(uid))


def maybe_drop_privileges(uid: Any = None, gid: Any = None) -> None:
    """Becomes this user and group for good; of a user alone, the user's own group."""
    if IS_WINDOWS:
        return
    if os.geteuid() and not os.getuid():
        raise SecurityError("The process is root and acts as another user: it could become root again.")
    uid = uid and parse_uid(uid)
    gid = gid and parse_gid(gid)
    if uid:
        _setuid(uid, gid)
    elif gid:
        setgid(gid)
    if uid and not os.getuid() and not os.geteuid():
        raise SecurityError("Still root uid after drop privileges!")
    if gid and not os.getgid() and not os.getegid():
        raise SecurityError("Still root gid after drop privileges!")


def _setuid(uid: int, gid: int | None) -> None:
    if not gid and pwd is not None:
        gid = pwd.getpwuid(uid).pw_gid
    setgid(gid)  # groups first: the user may not be allowed to change them
    initgroups(uid, gid or 0)
    setuid(uid)
    try:
        setuid(0)
    except PermissionError:
        return
    raise SecurityError("non-root user able to restore privileges after setuid.")


class Signals:
    """Signal handlers by name: `signals["INT"] = handler`. What the platform lacks is passed over."""

    ignored = _signal.SIG_IGN
    default = _signal.SIG_DFL

    def arm_alarm(self, seconds: float) -> Any:
        """Has SIGALRM sent in so many seconds."""
        if hasattr(_signal, "setitimer"):
            return _signal.setitimer(_signal.ITIMER_REAL, seconds)
        return _signal.alarm(math.ceil(seconds))

    def reset_alarm(self) -> int:
        """Has it not sent."""
        return _signal.alarm(0)

    def supported(self, name: Any) -> bool:
        """Whether the platform has this signal."""
        try:
            self.signum(name)
        except AttributeError:
            return False
        return True

    def signum(self, name: Any) -> Any:
        """The number of a signal."""
        if isinstance(name, numbers.Integral):
            return name
        if not isinstance(name, str) or not name.isupper():
            raise TypeError("signal name must be uppercase string.")
        return getattr(_signal, name if name.startswith("SIG") else f"SIG{name}")

    def reset(self, *signal_names: Any) -> None:
        """Gives them their default handlers."""
        self.update(dict.fromkeys(signal_names, self.default))

    def ignore(self, *names: Any) -> None:
        """Has them ignored."""
        self.update(dict.fromkeys(names, self.ignored))

    def __getitem__(self, name: Any) -> Any:
        return _signal.getsignal(self.signum(name))

    def __setitem__(self, name: Any, handler: Any) -> None:
        try:
            _signal.signal(self.signum(name), handler)
        except (AttributeError, ValueError):
            return  # no such signal here, or not the main thread

    def update(self, _d_: Mapping[Any, Any] | None = None, **sigmap: Any) -> None:
        """Sets several handlers."""
        for name, handler in dict(_d_ or {}, **sigmap).items():
            self[name] = handler


signals = Signals()
get_signal = signals.signum
install_signal_handler = signals.__setitem__
reset_signal = signals.reset
ignore_signal = signals.ignore


def signal_name(signum: Any) -> str:
    """The name of a signal, without SIG."""
    return SIGMAP[signum][3:]


def strargv(argv: list[str]) -> str:
    """The arguments of the program as one text."""
    return " ".join(argv[2 if "manage" in argv[0] else 1 :])


def set_pdeathsig(name: Any) -> None:
    """Has this process killed when its parent dies (Linux)."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signals.signum("SIGKILL"))  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return  # another system, which has no such thing


def set_process_title(progname: str, info: str | None = None) -> str:
    """What `ps` shows for this process; needs setproctitle."""
    title = f"[{progname}] {info}" if info else f"[{progname}]"
    if _setproctitle is not None:
        _setproctitle.setproctitle(title)
    return title


def set_mp_process_title(progname: str, info: str | None = None, hostname: str | None = None) -> str | None:
    """The same, with the name of this process among the worker's."""
    if os.environ.get("NOSETPS"):
        return None
    from .utils.log import current_process

    if hostname:
        progname = f"{progname}: {hostname}"
    process = current_process()
    return set_process_title(f"{progname}:{process.name if process else 'MainProcess'}", info=info)


def get_errno_name(n: Any) -> Any:
    """The number of an error, from it or from its name."""
    return getattr(errno, n) if isinstance(n, str) else n


@contextmanager
def ignore_errno(*errnos: Any, **kwargs: Any) -> Iterator[None]:
    """Within this context, errors of the system with these numbers or names are passed over."""
    types = kwargs.get("types") or (Exception,)
    ignored = [get_errno_name(number) for number in errnos]
    try:
        yield
    except types as exc:
        if getattr(exc, "errno", None) not in ignored:
            raise


def check_privileges(accept_content: Iterable[str]) -> None:
    """Warns of a worker that runs as root; refuses one that takes pickle as well."""
    if grp is None or pwd is None:
        return
    takes_pickle = bool({"pickle", "application/group-python-serialize"} & set(accept_content))
    who = {"uid": os.getuid(), "euid": os.geteuid(), "gid": os.getgid(), "egid": os.getegid()}
    try:
        groups = {grp.getgrgid(who["gid"])[0], grp.getgrgid(who["egid"])[0]}
    except KeyError:
        _warn_security(ASSUMING_ROOT)
        groups = {"wheel"}
    if 0 in {who["uid"], who["euid"]} or groups & {"sudo", "wheel"}:
        if takes_pickle and not os.environ.get("C_FORCE_ROOT"):
            raise SecurityError(ROOT_DISALLOWED.format(**who))
        _warn_security(ROOT_DISCOURAGED.format(**who))


def _warn_security(message: str) -> None:
    import warnings

    warnings.warn(SecurityWarning(message), stacklevel=3)
