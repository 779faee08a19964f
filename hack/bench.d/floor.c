// usage: floor run  ROOTFS ID HOSTNAME FILTER|- CGROUP…
//        floor exec PID FILTER|- CGROUP…
//
// What a container of `rt spec` costs the kernel, and nothing else: no config, no state, no checks, no messages.
// The same namespaces, cgroups, device filter, mounts, nodes, masks and privileges as the runtimes make, one after another in
// the cheapest way known, then the program (/bin/true), wait, and the cgroup's end. FILTER is a file of seccomp instructions.
// CGROUP are the container's cgroup directories; if the first is of cgroup v2, the child is born in it.
#include "sys.h"
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioctl.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#define PATH 512
#define AT_FDCWD -100
#define O_PATH_DIR (010000000 | 0200000 | 02000000) /* O_PATH | O_DIRECTORY | O_CLOEXEC */

enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32, MS_BIND = 4096, MS_REC = 16384, MS_SLAVE = 1 << 19,
       MS_RELATIME = 1 << 21, MS_STRICTATIME = 1 << 24, MNT_DETACH = 2 };

struct container {
    const char *rootfs, *id, *host;
    struct sock_fprog seccomp;
    char **cgroups;
    char **envp;
    int unified; // The v2 hierarchy is the only one.
    int pidfd;
    const char *program;
};

struct ifreq { // <linux/if.h> wants a C library.
    char ifr_name[16];
    short ifr_flags;
    char rest[22];
};
#define IFF_UP 1

static struct sock_filter filter[8192];
static char stack[65536] __attribute__((aligned(16)));

static void join(char *to, const char *a, const char *b) {
    while (*a) *to++ = *a++;
    *to++ = '/';
    while (*b) *to++ = *b++;
    *to = 0;
}

static int is_v2(const char *cgroup) {
    long fs[16]; // struct statfs begins with the type.
    must("statfs", CALL(statfs, cgroup, fs));
    return fs[0] == 0x63677270;
}

static void write_in(const char *directory, const char *file, const char *text) {
    char path[PATH];
    join(path, directory, file);
    int fd = must(path, CALL(open, path, 02000001 /* O_WRONLY | O_CLOEXEC */, 0));
    must(path, CALL(write, fd, text, length(text)));
    CALL(close, fd);
}

static void read_filter(struct container *c, const char *file) {
    if (file[0] == '-') return;
    int fd = must(file, CALL(open, file, 0, 0));
    long n = must(file, CALL(read, fd, filter, sizeof filter));
    CALL(close, fd);
    c->seccomp.len = n / sizeof *filter;
    c->seccomp.filter = filter;
}

// The devices that every container may use (null, zero, full, random, urandom; tty, ptmx; the terminals), and mknod of any.
static void device_program(int cgroup) {
    enum { ACCESS_TYPE = 2, TYPE, MAJOR, MINOR, ALLOW = 20, DENY = 22, MKNOD = 17 };
#define LOAD(reg, offset) {.code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = reg, .src_reg = 1, .off = offset}
#define OP(op, reg, value) {.code = BPF_ALU | op | BPF_K, .dst_reg = reg, .imm = value}
#define IF(op, reg, value, here, to) {.code = BPF_JMP | op | BPF_K, .dst_reg = reg, .off = to - here - 1, .imm = value}
#define END {.code = BPF_JMP | BPF_EXIT}
    struct bpf_insn program[] = {
        [0] = LOAD(ACCESS_TYPE, 0),
        [1] = LOAD(MAJOR, 4),
        [2] = LOAD(MINOR, 8),
        [3] = {.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = TYPE, .src_reg = ACCESS_TYPE},
        [4] = OP(BPF_AND, TYPE, 0xffff),
        [5] = IF(BPF_JNE, TYPE, BPF_DEVCG_DEV_CHAR, 5, MKNOD),
        [6] = IF(BPF_JEQ, MAJOR, 136, 6, ALLOW),
        [7] = IF(BPF_JNE, MAJOR, 5, 7, 11),
        [8] = IF(BPF_JEQ, MINOR, 0, 8, ALLOW),
        [9] = IF(BPF_JEQ, MINOR, 2, 9, ALLOW),
        [10] = IF(BPF_JNE, MINOR, 2, 10, MKNOD),
        [11] = IF(BPF_JNE, MAJOR, 1, 11, MKNOD),
        [12] = IF(BPF_JEQ, MINOR, 3, 12, ALLOW),
        [13] = IF(BPF_JEQ, MINOR, 5, 13, ALLOW),
        [14] = IF(BPF_JEQ, MINOR, 7, 14, ALLOW),
        [15] = IF(BPF_JEQ, MINOR, 8, 15, ALLOW),
        [16] = IF(BPF_JEQ, MINOR, 9, 16, ALLOW),
        [MKNOD] = OP(BPF_RSH, ACCESS_TYPE, 16),
        [18] = OP(BPF_AND, ACCESS_TYPE, 6 /* read or write */),
        [19] = IF(BPF_JNE, ACCESS_TYPE, 0, 19, DENY),
        [ALLOW] = {.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
        [21] = END,
        [DENY] = {.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 0},
        [23] = END,
    };
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insn_cnt = sizeof program / sizeof *program,
        .insns = (uintptr_t)program,
        .license = (uintptr_t) "GPL",
    };
    int loaded = must("load the device filter", CALL(bpf, BPF_PROG_LOAD, &load, sizeof load));
    union bpf_attr attach = {.target_fd = cgroup, .attach_bpf_fd = loaded, .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    must("attach the device filter", CALL(bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    CALL(close, loaded);
}

// The same for cgroup v1.
static void device_lines(const char *cgroup) {
    static const char *const lines[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                        "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};
    write_in(cgroup, "devices.deny", "a");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) write_in(cgroup, "devices.allow", lines[i]);
}

static int contains(const char *text, const char *part) {
    size_t n = length(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && text[i] == part[i]) i++;
        if (i == n) return 1;
    }
    return 0;
}

// no_new_privs, capabilities, seccomp, program: the end of both a container's first process and a later one.
static void become(struct container *c) {
    for (int cap = 0; cap <= 40; cap++)
        if (cap != 5 && cap != 10 && cap != 29) CALL(prctl, PR_CAPBSET_DROP, cap);
    CALL(prctl, PR_SET_KEEPCAPS, 1);
    must("setgroups", CALL(setgroups, 0, 0));
    must("setresgid", CALL(setresgid, 0, 0, 0));
    must("setresuid", CALL(setresuid, 0, 0, 0));
    struct __user_cap_header_struct version = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2] = {{.effective = 0x20000420, .permitted = 0x20000420}};
    must("no_new_privs", CALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (c->seccomp.len) must("seccomp", CALL(prctl, PR_SET_SECCOMP, 2, &c->seccomp));
    must("capset", CALL(capset, &version, caps));
    char *argv[] = {(char *)c->program, 0};
    die(c->program, CALL(execve, c->program, argv, c->envp));
}

static void bind_readonly(const char *path) {
    if (CALL(mount, path, path, 0, MS_BIND | MS_REC, 0) == 0) must(path, CALL(mount, 0, path, 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
}

static void first(void *data) {
    struct container *c = data;
    // A session is a scheduling group of its own (sched_autogroup): entering it gives up the processor, so it comes first.
    CALL(setsid);
    for (char **cgroup = c->cgroups; *cgroup; cgroup++)
        if (!c->unified && !is_v2(*cgroup)) write_in(*cgroup, "cgroup.procs", "0");
    must("unshare", CALL(unshare, CLONE_NEWCGROUP));
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int net = must("socket", CALL(socket, 2, 2, 0));
    must("lo", CALL(ioctl, net, SIOCSIFFLAGS, &lo));
    CALL(close, net);
    must("keyctl", CALL(keyctl, KEYCTL_JOIN_SESSION_KEYRING, c->id));

    must("/", CALL(mount, 0, "/", 0, MS_REC | MS_SLAVE, 0));
    must(c->rootfs, CALL(mount, c->rootfs, c->rootfs, 0, MS_BIND | MS_REC, 0));
    must(c->rootfs, CALL(chdir, c->rootfs));
    must("proc", CALL(mount, "proc", "proc", "proc", 0, 0));
    must("dev", CALL(mount, "tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    CALL(mkdir, "dev/pts", 0755);
    must("devpts", CALL(mount, "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    CALL(mkdir, "dev/shm", 0755);
    must("shm", CALL(mount, "shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
    CALL(mkdir, "dev/mqueue", 0755);
    must("mqueue", CALL(mount, "mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, 0));
    must("sysfs", CALL(mount, "sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, 0));
    if (c->unified) {
        must("cgroup2", CALL(mount, "cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY, 0));
    } else {
        // A tmpfs, and in it each hierarchy of the host, bound from the container's cgroup.
        must("cgroup", CALL(mount, "cgroup", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"));
        for (char **cgroup = c->cgroups; *cgroup; cgroup++) {
            char name[PATH], at[PATH];
            const char *p = *cgroup + length("/sys/fs/cgroup/");
            size_t n = 0;
            while (p[n] && p[n] != '/') name[n] = p[n], n++;
            name[n] = 0;
            join(at, "sys/fs/cgroup", name);
            must(at, CALL(mkdir, at, 0755));
            must(at, CALL(mount, *cgroup, at, 0, MS_BIND | MS_REC, 0));
            must(at, CALL(mount, 0, at, 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
        }
        must("cgroup", CALL(mount, 0, "sys/fs/cgroup", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    }
    static const struct { const char *path; int minor; } nodes[] = {{"dev/null", 3}, {"dev/zero", 5}, {"dev/full", 7}, {"dev/random", 8}, {"dev/urandom", 9}};
    CALL(umask, 0);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) must(nodes[i].path, CALL(mknod, nodes[i].path, 020666, 1 << 8 | nodes[i].minor));
    must("dev/tty", CALL(mknod, "dev/tty", 020666, 5 << 8));
    CALL(symlink, "/proc/self/fd", "dev/fd");
    CALL(symlink, "/proc/self/fd/0", "dev/stdin");
    CALL(symlink, "/proc/self/fd/1", "dev/stdout");
    CALL(symlink, "/proc/self/fd/2", "dev/stderr");
    CALL(symlink, "pts/ptmx", "dev/ptmx");

    static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) bind_readonly(readonly[i]);
    static const char *const masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
                                         "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
    const char *empty = 0;
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        unsigned mode[32]; // struct stat: the mode is at byte 24.
        if (CALL(stat, masked[i], mode) != 0) continue;
        if ((mode[6] & 0170000) != 0040000) {
            must(masked[i], CALL(mount, "/dev/null", masked[i], 0, MS_BIND, 0));
        } else if (empty) {
            must(masked[i], CALL(mount, empty, masked[i], 0, MS_BIND, 0));
        } else {
            must(masked[i], CALL(mount, "tmpfs", masked[i], "tmpfs", MS_RDONLY, "nr_inodes=1,mode=555"));
            empty = masked[i];
        }
    }
    must("pivot_root", CALL(pivot_root, ".", "."));
    must("umount2", CALL(umount2, ".", MNT_DETACH));
    must("chdir", CALL(chdir, "/"));
    must("/", CALL(mount, 0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    must("sethostname", CALL(sethostname, c->host, length(c->host)));
    struct rlimit64 files = {1024, 1024};
    must("prlimit", CALL(prlimit64, 0, 7 /* RLIMIT_NOFILE */, &files, 0));
    CALL(umask, 022);
    become(c);
}

static void later(void *data) {
    struct container *c = data;
    for (char **cgroup = c->cgroups; *cgroup; cgroup++)
        if (!is_v2(*cgroup)) write_in(*cgroup, "cgroup.procs", "0");
    must("setns", CALL(setns, c->pidfd, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS));
    CALL(setsid);
    become(c);
}

static int finish(long pid) {
    int status;
    must("wait4", CALL(wait4, pid, &status, 0, 0));
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

static struct clone_args how = {
    .flags = CLONE_VM | CLONE_VFORK,
    .exit_signal = 17,
    .stack = (uintptr_t)stack,
    .stack_size = sizeof stack,
};

static int run(struct container *c) {
    for (char **cgroup = c->cgroups; *cgroup; cgroup++) must(*cgroup, CALL(mkdir, *cgroup, 0755));
    c->unified = !c->cgroups[1] && is_v2(c->cgroups[0]);
    how.flags |= CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;
    for (char **cgroup = c->cgroups; *cgroup; cgroup++) {
        if (is_v2(*cgroup)) {
            how.flags |= CLONE_INTO_CGROUP;
            how.cgroup = must(*cgroup, CALL(open, *cgroup, O_PATH_DIR, 0));
            if (c->unified) device_program(how.cgroup);
        } else if (contains(*cgroup, "/cpuset/")) {
            // A new cpuset of v1 is empty and takes nobody in until it has what its parent has.
            char text[PATH], path[PATH];
            static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
            for (int i = 0; i < 2; i++) {
                join(path, "/sys/fs/cgroup/cpuset", files[i]);
                int fd = must(path, CALL(open, path, 0, 0));
                long n = must(path, CALL(read, fd, text, sizeof text - 1));
                text[n] = 0;
                CALL(close, fd);
                write_in(*cgroup, files[i], text);
            }
        } else if (contains(*cgroup, "/devices/")) {
            device_lines(*cgroup);
        }
    }
    int status = finish(must("clone3", spawn(&how, sizeof how, first, c)));
    for (char **cgroup = c->cgroups; *cgroup; cgroup++) must(*cgroup, CALL(rmdir, *cgroup));
    return status;
}

static int exec(struct container *c, const char *pid) {
    long n = 0;
    while (*pid) n = n * 10 + *pid++ - '0';
    c->pidfd = must("pidfd_open", CALL(pidfd_open, n, 0));
    must("setns", CALL(setns, c->pidfd, CLONE_NEWPID));
    for (char **cgroup = c->cgroups; *cgroup; cgroup++) {
        if (is_v2(*cgroup)) {
            how.flags |= CLONE_INTO_CGROUP;
            how.cgroup = must(*cgroup, CALL(open, *cgroup, O_PATH_DIR, 0));
        }
    }
    return finish(must("clone3", spawn(&how, sizeof how, later, c)));
}

int start(int argc, char **argv, char **envp) {
    struct container c = {.program = "/bin/true", .envp = envp};
    if (argc >= 7 && argv[1][0] == 'r') {
        c.rootfs = argv[2], c.id = argv[3], c.host = argv[4], c.cgroups = argv + 6;
        read_filter(&c, argv[5]);
        return run(&c);
    }
    if (argc >= 5 && argv[1][0] == 'e') {
        c.cgroups = argv + 4;
        read_filter(&c, argv[3]);
        return exec(&c, argv[2]);
    }
    die("usage: floor run ROOTFS ID HOSTNAME FILTER|- CGROUP... | floor exec PID FILTER|- CGROUP...", 0);
}
