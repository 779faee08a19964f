"""A caller with habits: sets what the words before `--` say, and executes what is behind.

Words: ignore=SIGNAL,... block=SIGNAL,... cpus=N,... umask=OCTAL nice=N idle-io slack=NS score=N nofile=N groups=GID,... cwd=DIR
       linux32 pdeathsig=SIGNAL nonewprivs keyring noroot undumpable
"""
import ctypes
import os
import resource
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECUREBITS, PR_SET_TIMERSLACK, PR_SET_NO_NEW_PRIVS = 1, 4, 28, 29, 38


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def check(result):
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def apply(word):
    name, _, value = word.partition("=")
    if name == "ignore":
        for number in numbers(value):
            signal.signal(number, signal.SIG_IGN)
    elif name == "block":
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers(value))
    elif name == "cpus":
        os.sched_setaffinity(0, numbers(value))
    elif name == "umask":
        os.umask(int(value, 8))
    elif name == "nice":
        os.nice(int(value))
    elif name == "idle-io":
        # ioprio_set(2): this process, the idle class.
        check(libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, 0, 3 << 13))
    elif name == "slack":
        check(libc.prctl(PR_SET_TIMERSLACK, int(value), 0, 0, 0))
    elif name == "score":
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(value)
    elif name == "nofile":
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(value), int(value)))
    elif name == "groups":
        os.setgroups(numbers(value))
    elif name == "cwd":
        os.chdir(value)
    elif name == "linux32":
        check(libc.personality(8))
    elif name == "pdeathsig":
        check(libc.prctl(PR_SET_PDEATHSIG, int(value), 0, 0, 0))
    elif name == "nonewprivs":
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    elif name == "noroot":
        # SECBIT_NO_SETUID_FIXUP, which a root may set and take back.
        check(libc.prctl(PR_SET_SECUREBITS, 4, 0, 0, 0))
    elif name == "undumpable":
        check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    else:
        sys.exit(f"caller.py: unknown word {word}")


split = sys.argv.index("--")
for word in sys.argv[1:split]:
    apply(word)
os.execv(sys.argv[split + 1], sys.argv[split + 1 :])
