"""Measures for hack/bench --scale how a start changes with what the host has already: mounts, running containers, other starts.

Not to be called by hand. Prints tables, and with --plots DIR draws them. Each point is the median of interleaved runs of /bin/true.
"""

import argparse
import ctypes
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time

import plot

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
PR_SET_CHILD_SUBREAPER = 36


def bundle(work, name, helpers, rt, program, seccomp=None):
    path = f"{work}/{name}"
    for directory in ("bin", "proc", "sys", "dev", "etc"):
        os.makedirs(f"{path}/rootfs/{directory}")
    for each in {program, "true"}:
        shutil.copy(f"{helpers}/{each}", f"{path}/rootfs/bin/{each}")
    # As with engines, the rootfs is a mount of its own.
    subprocess.run(["mount", "--bind", f"{path}/rootfs", f"{path}/rootfs"], check=True)
    subprocess.run([rt, "spec"], cwd=path, check=True)
    with open(f"{path}/config.json") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=[f"/bin/{program}"])
    config["ociVersion"] = "1.0.2"
    if seccomp:
        with open(seccomp) as file:
            profile = json.load(file)
        config["linux"]["seccomp"] = profile.get("linux", {}).get("seccomp") or profile
    with open(f"{path}/config.json", "w") as file:
        json.dump(config, file)
    return path


class Runtime:
    def __init__(self, name, path, work, bundles):
        self.name, self.path, self.bundles = name, path, bundles
        self.state = f"{work}/state-{name}"
        os.makedirs(self.state)
        self.count = 0

    def spawn(self, *words):
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        pid = os.posix_spawn(self.path, [self.path, "--root", self.state, *words], ENV, file_actions=actions)
        os.close(null)
        return pid

    def call(self, *words):
        _, status = os.waitpid(self.spawn(*words), 0)
        if status:
            raise SystemExit(f"hack/bench: {self.name} {' '.join(words)}: status {status}")

    def fresh(self):
        self.count += 1
        return f"rtbench-{os.getpid()}-{self.name}-{self.count}"

    def run(self):
        """Milliseconds of one run."""
        name = self.fresh()
        begin = time.monotonic()
        self.call("run", "--bundle", self.bundles["true"], name)
        return (time.monotonic() - begin) * 1000

    def at_once(self, number, words=None):
        """Containers a second, when `number` of them are always being run; or other commands of these words."""
        total, begin, running, made = max(64, number * 3), time.monotonic(), set(), 0
        while made < total or running:
            while made < total and len(running) < number:
                running.add(self.spawn(*(words or ("run", "--bundle", self.bundles["true"], self.fresh()))))
                made += 1
            pid, status = os.wait()
            if pid in running:
                running.remove(pid)
                if status:
                    raise SystemExit(f"hack/bench: {self.name}: one of {number} at once ended with status {status}")
        return total / (time.monotonic() - begin)

    def health_checks(self, container, seconds=3, rate=100):
        """Milliseconds of a processor for each of `rate` execs a second, and how many were not over when the next began."""
        before, begin, late = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
        for number in range(seconds * rate):
            time.sleep(max(0, begin + number / rate - time.monotonic()))
            self.call("exec", container, "/bin/true")
            late += time.monotonic() > begin + (number + 1) / rate
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used * 1000 / (seconds * rate), f"{late} of {seconds * rate}"


def medians(runtimes, rounds):
    samples = {one.name: [] for one in runtimes}
    for number in range(rounds + 1):
        random.shuffle(runtimes)
        for one in runtimes:
            took = one.run()
            if number:
                samples[one.name].append(took)
    return {name: statistics.median(values) for name, values in samples.items()}


def used():
    """KiB that the kernel and programs have for themselves; what is only cached is not in it."""
    kinds = ("AnonPages:", "Shmem:", "Slab:", "PageTables:", "KernelStack:", "Percpu:")
    with open("/proc/meminfo") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(kinds))


def mounts(runtimes, options):
    """The host has more and more mounts."""
    series, made = {one.name: [] for one in runtimes}, 0
    directory = f"{options.work}/mounts"
    os.makedirs(f"{directory}/source")
    for number in (0, 250, 500, 1000, 2000, 5000):
        if number == 2000:
            crowded = concurrency(runtimes, (64,))
        while made < number:
            os.makedirs(f"{directory}/{made}")
            subprocess.run(["mount", "--bind", f"{directory}/source", f"{directory}/{made}"], check=True)
            made += 1
        for name, value in medians(runtimes, options.rounds).items():
            series[name].append((number, value))
    for number in range(made):
        subprocess.run(["umount", f"{directory}/{number}"], check=True)
    return series, crowded


def density(runtimes, options):
    """More and more containers run; also what each costs the host in memory."""
    rt = next(one for one in runtimes if one.name == "rt")
    series, names = {one.name: [] for one in runtimes}, []
    before = used()
    for number in (0, 100, 250, 500, 1000, 2000):
        while len(names) < number:
            names.append(rt.fresh())
            rt.call("run", "--detach", "--bundle", rt.bundles["pause"], names[-1])
        for name, value in medians(runtimes, options.rounds).items():
            series[name].append((number, value))
    each = (used() - before) / len(names)
    for name in names:
        rt.call("delete", "--force", name)
    return series, each


def concurrency(runtimes, numbers=(1, 2, 4, 8, 16, 32, 64, 128)):
    series = {one.name: [] for one in runtimes}
    for number in numbers:
        random.shuffle(runtimes)
        for one in runtimes:
            series[one.name].append((number, statistics.median(one.at_once(number) for _ in range(3))))
    return series


def execs(runtimes):
    """Execs a second in one container, by how many are at once; and what a hundred health checks a second cost."""
    series, checks = {one.name: [] for one in runtimes}, {}
    for one in runtimes:
        container = one.fresh()
        one.call("run", "--detach", "--bundle", one.bundles["pause"], container)
        words = ("exec", container, "/bin/true")
        for number in (1, 4, 16, 64):
            series[one.name].append((number, statistics.median(one.at_once(number, words) for _ in range(3))))
        checks[one.name] = one.health_checks(container)
        one.call("delete", "--force", container)
    return series, checks


def calls(runtimes, rounds=5):
    """Nanoseconds of a system call that the filter allows whatever its arguments, and of one whose argument it looks at."""
    measured = {}
    for _ in range(rounds):
        random.shuffle(runtimes)
        for one in runtimes:
            for name in ("calls", "filtered"):
                words = [one.path, "--root", one.state, "run", "--bundle", one.bundles[name], one.fresh()]
                out = subprocess.run(words, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
                measured.setdefault((one.name, name), []).append([int(n) / 1000 for n in out.split()])
    return {key: [statistics.median(values) for values in zip(*samples)] for key, samples in measured.items()}


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(models) or os.cpu_count()} processors, {models[0] if models else platform.machine()}; Linux {platform.release()}"


def table(title, unit, series):
    points = [x for x, _ in next(iter(series.values()))]
    print(f"  {title}, {unit}")
    width = max(map(len, series))
    print("  " + " " * width, *(f"{x:>8}" for x in points))
    for name, values in sorted(series.items()):
        print("  " + name.ljust(width), *(f"{y:8.2f}" for _, y in values))
    print()


def main():
    parser = argparse.ArgumentParser()
    for name in ("helpers", "work", "rt", "seccomp"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--plots")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    bundles = {name: bundle(options.work, name, options.helpers, options.rt, name) for name in ("true", "pause", "calls")}
    bundles["filtered"] = bundle(options.work, "filtered", options.helpers, options.rt, "calls", options.seccomp)
    runtimes = [Runtime("rt", options.rt, options.work, bundles)]
    for peer in options.peer:
        name, path = peer.split("=", 1)
        one = Runtime(name, path, options.work, bundles)
        pid = one.spawn("run", "--bundle", bundles["true"], one.fresh())
        if os.waitpid(pid, 0)[1] == 0:
            runtimes.append(one)
        else:
            print(f"  left out: {name} runs nothing here\n")
    print(f"  {machine()}\n")
    plots = []
    series, crowded = mounts(list(runtimes), options)
    table("run of /bin/true by mounts of the host", "ms", series)
    plots.append(("mounts", "run /bin/true by mounts of the host", "ms", series))
    table("containers a second, with 1,000 mounts of the host, 64 at once", "1/s", crowded)
    series, each = density(list(runtimes), options)
    table("run of /bin/true by running containers", "ms", series)
    print(f"  memory of the host for each running container, with all that the kernel has for it: {each:.0f} KiB\n")
    plots.append(("density", "run /bin/true by running containers", "ms", series))
    series = concurrency(list(runtimes))
    table("containers a second by how many are run at once", "1/s", series)
    plots.append(("concurrency", "containers a second by how many are run at once", "1/s", series))
    series, checks = execs(list(runtimes))
    table("exec of /bin/true in one container, by how many at once", "1/s", series)
    for name, (cost, late) in sorted(checks.items()):
        print(f"  100 health checks a second, {name}: {cost:.2f} ms of a processor each; {late} not over when the next was due")
    print("\n  nanoseconds of getppid, of personality with an argument that the profile names; under Docker's profile, and without a filter")
    measured = calls(list(runtimes))
    for name in sorted(one.name for one in runtimes):
        (get, person), (free, free_person) = measured[name, "filtered"], measured[name, "calls"]
        print(f"  {name}: {get:.0f}, {person:.0f}; {free:.0f}, {free_person:.0f}")
    plots.append(("exec", "execs a second by how many are at once", "1/s", series))
    if options.plots:
        os.makedirs(options.plots, exist_ok=True)
        for name, title, unit, series in plots:
            with open(f"{options.plots}/{name}.svg", "w") as file:
                file.write(plot.lines(title, unit, series))


if __name__ == "__main__":
    sys.exit(main())
