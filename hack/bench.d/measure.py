"""Measures one mode for hack/bench: every command of every runtime, interleaved, and writes the samples as JSON.

Not to be called by hand; hack/bench says what the arguments are. A sample is one execution of one command, timed by the
`once` helper; what this script does in between is not in it.
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Failed(Exception):
    pass


def settle():
    """Lets the first join of a cgroup (v1) be over with.

    It waits for a grace period of RCU, 10 to 200 ms on this kernel, the next ones not: whoever came first in a round would pay
    for all. So this process "joins" the cgroup in which it is before each sample.
    """
    if settle.file is None:
        own = [directory for directory in cgroups_of("self", "/") if not os.path.exists(f"{directory}/cgroup.type")]
        settle.file = next((f"{directory}/cgroup.procs" for directory in own if "/pids" in directory), "")
    if settle.file:
        with open(settle.file, "w") as file:
            file.write(str(os.getpid()))


settle.file = None


def once(helpers, command):
    """Runs a command once: nanoseconds, peak RSS in KB, minor faults."""
    settle()
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    error = os.memfd_create("stderr")
    actions = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((null, 0), (null, 1), (error, 2), (write, 3))]
    pid = os.posix_spawn(f"{helpers}/once", ["once", *command], ENV, file_actions=actions)
    os.close(write)
    os.close(null)
    text = b""
    while part := os.read(read, 4096):
        text += part
    os.close(read)
    os.waitpid(pid, 0)
    said = os.pread(error, 4096, 0).decode(errors="replace").strip()
    os.close(error)
    fields = [int(field) for field in text.split()]
    if len(fields) != 4 or fields[3] != 0:
        status = fields[3] if len(fields) == 4 else "?"
        raise Failed(f"{' '.join(command)}: exit status {status}: {said.splitlines()[-1] if said else 'no message'}")
    return fields[:3]


def system_calls(command, log):
    """How many system calls a command makes, with all its children."""
    subprocess.run(["strace", "-f", "-qq", "-c", "-o", log, *command], env=ENV, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=True)
    return total_calls(log)


def total_calls(log):
    with open(log) as file:
        for line in file:
            fields = line.split()
            if fields and fields[-1] == "total":
                return int(fields[3])
    raise Failed(f"no total in what strace wrote to {log}")


class Bundle:
    """A root filesystem with two programs, and the config of `rt spec`, with or without a seccomp profile."""

    def __init__(self, work, name, helpers, rt, seccomp):
        self.path = f"{work}/{name}"
        for directory in ("bin", "proc", "sys", "dev", "etc"):
            os.makedirs(f"{self.path}/rootfs/{directory}")
        for program in ("true", "pause"):
            shutil.copy(f"{helpers}/{program}", f"{self.path}/rootfs/bin/{program}")
        subprocess.run([rt, "spec"], cwd=self.path, check=True)
        with open(f"{self.path}/config.json") as file:
            self.config = json.load(file)
        self.config["process"]["terminal"] = False
        # Older peers refuse versions that they do not know.
        self.config["ociVersion"] = "1.0.2"
        if seccomp:
            with open(seccomp) as file:
                profile = json.load(file)
            self.config["linux"]["seccomp"] = profile.get("linux", {}).get("seccomp") or profile
        self.program("/bin/true")

    def program(self, path):
        self.config["process"]["args"] = [path]
        with open(f"{self.path}/config.json.new", "w") as file:
            json.dump(self.config, file)
        os.rename(f"{self.path}/config.json.new", f"{self.path}/config.json")


class Runtime:
    operations = ("run", "create", "start", "delete", "exec", "state", "kill")

    def __init__(self, name, path, bundle, work, helpers):
        self.name, self.path, self.bundle, self.helpers = name, path, bundle, helpers
        self.state = f"{work}/state-{os.path.basename(bundle.path)}-{name}"
        self.log = f"{work}/strace"
        self.id = f"rtbench-{os.getpid()}-{os.path.basename(bundle.path)}-{name}"
        self.init = None
        os.makedirs(self.state)

    def command(self, verb, *arguments):
        return [self.path, "--root", self.state, verb, *arguments]

    def quietly(self, verb, *arguments):
        # Not a pipe: init inherits it and lives on.
        with tempfile.TemporaryFile() as error:
            done = subprocess.run(self.command(verb, *arguments), env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=error, timeout=60)
            if done.returncode:
                error.seek(0)
                said = error.read().decode(errors="replace").strip().splitlines()
                raise Failed(f"{verb}: {said[-1] if said else 'no message'}")

    def prepare(self):
        """Shows that the runtime works here, and leaves a running container for exec, state and kill."""
        self.quietly("run", "--bundle", self.bundle.path, f"{self.id}-probe")
        self.bundle.program("/bin/pause")
        self.quietly("create", "--bundle", self.bundle.path, "--pid-file", f"{self.state}.pid", f"{self.id}-pause")
        with open(f"{self.state}.pid") as file:
            self.init = int(file.read())
        self.bundle.program("/bin/true")
        self.quietly("start", f"{self.id}-pause")

    def samples(self):
        bundle = ("--bundle", self.bundle.path)
        yield "run", once(self.helpers, self.command("run", *bundle, self.id))
        pid_file = f"{self.state}.pid"
        yield "create", once(self.helpers, self.command("create", *bundle, "--pid-file", pid_file, self.id))
        with open(pid_file) as file:
            pid = int(file.read())
        yield "start", once(self.helpers, self.command("start", self.id))
        os.waitpid(pid, 0)  # The init is ours: we are the subreaper.
        yield "delete", once(self.helpers, self.command("delete", self.id))
        yield "exec", once(self.helpers, self.command("exec", f"{self.id}-pause", "/bin/true"))
        yield "state", once(self.helpers, self.command("state", f"{self.id}-pause"))
        yield "kill", once(self.helpers, self.command("kill", f"{self.id}-pause", "0"))

    def calls(self):
        bundle = ("--bundle", self.bundle.path)
        yield "run", system_calls(self.command("run", *bundle, self.id), self.log)
        # strace stays until init, which create leaves behind, has ended; its last steps are counted with create.
        pid_file = f"{self.state}.pid"
        if os.path.exists(pid_file):
            os.unlink(pid_file)
        create = subprocess.Popen(["strace", "-f", "-qq", "-c", "-o", f"{self.log}-create", *self.command("create", *bundle, "--pid-file", pid_file, self.id)],
                                  env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and create.poll() is None:
            state = subprocess.run(self.command("state", self.id), env=ENV, capture_output=True)
            if state.returncode == 0 and json.loads(state.stdout)["status"] == "created":
                break
            time.sleep(0.05)
        yield "start", system_calls(self.command("start", self.id), self.log)
        create.wait(timeout=60)
        yield "create", total_calls(f"{self.log}-create")
        with open(pid_file) as file:
            reap(int(file.read()))
        yield "delete", system_calls(self.command("delete", self.id), self.log)
        yield "exec", system_calls(self.command("exec", f"{self.id}-pause", "/bin/true"), self.log)
        yield "state", system_calls(self.command("state", f"{self.id}-pause"), self.log)
        yield "kill", system_calls(self.command("kill", f"{self.id}-pause", "0"), self.log)

    def private_memory(self):
        """KB of its own that the init of a created, not started container keeps."""
        self.quietly("create", "--bundle", self.bundle.path, "--pid-file", f"{self.state}.pid", self.id)
        with open(f"{self.state}.pid") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/smaps_rollup") as file:
            private = sum(int(line.split()[1]) for line in file if line.startswith("Private_"))
        self.quietly("delete", "--force", self.id)
        reap(pid)
        return private

    def clean(self):
        for name in os.listdir(self.state) if os.path.isdir(self.state) else ():
            if name.startswith("rtbench-"):
                subprocess.run(self.command("delete", "--force", name), env=ENV, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        if self.init:
            reap(self.init)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def reap(pid):
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


class Floor:
    """The kernel's share: the same work as rt's, in the same cgroups and under the same filter, by a program of system calls alone."""
    operations = ("run", "exec")

    def __init__(self, name, path, like, work, helpers):
        self.name, self.path, self.like, self.helpers, self.work = name, path, like, helpers, work
        self.id = f"rtbench-{os.getpid()}-{os.path.basename(like.bundle.path)}-{name}"
        self.log = f"{work}/strace"

    def prepare(self):
        pause = f"{self.like.id}-pause"
        self.cgroups = cgroups_of(self.like.init, pause)
        self.own = [directory.replace(pause, self.id) for directory in self.cgroups]
        self.filter = "-"
        if "seccomp" in self.like.bundle.config["linux"]:
            self.filter = f"{self.work}/filter-{self.name}"
            with open(self.filter, "wb") as file:
                subprocess.run([f"{self.helpers}/filter", str(self.like.init)], stdout=file, check=True)
        once(self.helpers, self.command_run())

    def command_run(self):
        return [self.path, "run", f"{self.like.bundle.path}/rootfs", self.id, "rt", self.filter, *self.own]

    def command_exec(self):
        return [self.path, "exec", str(self.like.init), self.filter, *self.cgroups]

    def samples(self):
        yield "run", once(self.helpers, self.command_run())
        yield "exec", once(self.helpers, self.command_exec())

    def calls(self):
        yield "run", system_calls(self.command_run(), self.log)
        yield "exec", system_calls(self.command_exec(), self.log)

    def private_memory(self):
        return None

    def clean(self):
        pass


class Program:
    """The start and end of the smallest program there is, without a container."""
    operations = ("run",)

    def __init__(self, name, path, helpers, work):
        self.name, self.path, self.helpers, self.log = name, path, helpers, f"{work}/strace"

    def prepare(self):
        once(self.helpers, [self.path])

    def samples(self):
        yield "run", once(self.helpers, [self.path])

    def calls(self):
        yield "run", system_calls([self.path], self.log)

    def private_memory(self):
        return None

    def clean(self):
        pass


def cgroups_of(pid, name):
    """The directories of a container's cgroups, the v2 one first: those of a process's cgroups whose path has the container's name."""
    mounts = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, after = line.rstrip().split(" - ")
            kind, _, options = after.split(" ")
            if kind == "cgroup2":
                mounts[""] = before.split(" ")[4]
            elif kind == "cgroup":
                for option in options.split(","):
                    mounts[option] = before.split(" ")[4]
    found = []
    with open(f"/proc/{pid}/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip().split(":", 2)
            mount = mounts.get(controllers.split(",")[0])
            if mount and name in path:
                found.append((controllers != "", mount + path))
    return [directory for _, directory in sorted(found)]


def real_time():
    """Everyone is measured at real-time priority: what else this machine does then hardly counts."""
    with open("/proc/self/mountinfo") as file:
        # The cpu controller of cgroup v1 takes in no real-time process.
        if any(" - cgroup " in line and "cpu" in line.split()[-1].split(",") for line in file):
            return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


def remove_cgroups():
    """Not every runtime removes the cgroup of a container that it failed to make."""
    for directory, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if os.path.basename(directory).startswith(f"rtbench-{os.getpid()}-"):
            try:
                os.rmdir(directory)
            except OSError as error:
                print(f"hack/bench: {directory}: {error.strerror}", file=sys.stderr)


def measure(config, seccomp, options):
    bundle = Bundle(options.work, config, options.helpers, options.rt, seccomp)
    runtimes = [Runtime("rt", options.rt, bundle, options.work, options.helpers)]
    for peer in options.peer:
        name, path = peer.split("=", 1)
        runtimes.append(Runtime(name, path, bundle, options.work, options.helpers))
    everyone = runtimes + [Floor("floor", f"{options.helpers}/floor", runtimes[0], options.work, options.helpers)]
    everyone.append(Program("smallest program", f"{options.helpers}/true", options.helpers, options.work))
    results, left_out = {}, {}
    try:
        ready = []
        for one in everyone:
            try:
                one.prepare()
                ready.append(one)
                results[one.name] = {op: {"ns": [], "rss": [], "faults": []} for op in one.operations}
            except (Failed, subprocess.SubprocessError, OSError) as error:
                if one.name in ("rt", "floor"):
                    raise
                left_out[one.name] = str(error)
        for number in range(-options.warmup, options.rounds):
            random.shuffle(ready)
            for one in ready:
                for op, (ns, rss, faults) in one.samples():
                    if number >= 0:
                        results[one.name][op]["ns"].append(ns)
                        results[one.name][op]["rss"].append(rss)
                        results[one.name][op]["faults"].append(faults)
            progress(f"{options.mode}, {config}: round {number + 1} of {options.rounds}")
        progress("")
        for one in ready:
            if options.strace:
                for op, calls in one.calls():
                    results[one.name][op]["calls"] = calls
            memory = one.private_memory()
            if memory is not None:
                results[one.name]["create"]["private"] = memory
    finally:
        for one in reversed(everyone):
            one.clean()
        remove_cgroups()
    return {"mode": options.mode, "config": config, "real_time": options.real_time, "results": results, "left_out": left_out}


def main():
    parser = argparse.ArgumentParser()
    for name in ("mode", "helpers", "work", "rt", "out", "seccomp"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--strace", action="store_true")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    options.real_time = real_time()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = []
    try:
        parts.append(measure("default", None, options))
        parts.append(measure("seccomp", options.seccomp, options))
    except (Failed, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"hack/bench: {options.mode}: {error}")
    with open(options.out, "w") as file:
        json.dump(parts, file)


main()
