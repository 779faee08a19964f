// usage: once COMMAND [ARGUMENT…]
//
// Runs a command once and writes one line about it to descriptor 3, which the command does not get:
//   nanoseconds from before clone to after wait, peak RSS in KB and minor faults of it and of all it waited for, exit status
//
// It has no C library: a child begins with its parent's peak RSS on its account, and this parent has next to none.
#include "sys.h"
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/time.h>

struct job {
    char **argv, **envp;
};

static void child(void *data) {
    struct job *job = data;
    CALL(execve, job->argv[0], job->argv, job->envp);
    CALL(exit_group, 127);
}

static char stack[4096] __attribute__((aligned(16)));

static unsigned long nanoseconds(void) {
    struct timespec now;
    CALL(clock_gettime, 1 /* CLOCK_MONOTONIC */, &now);
    return now.tv_sec * 1000000000ul + now.tv_nsec;
}

int start(int argc, char **argv, char **envp) {
    struct job job = {argv + 1, envp};
    struct clone_args how = {
        .flags = CLONE_VM | CLONE_VFORK,
        .exit_signal = 17,
        .stack = (uintptr_t)stack,
        .stack_size = sizeof stack,
    };
    struct rusage used;
    int status;
    if (argc < 2) die("usage: once COMMAND [ARGUMENT...]", 0);
    must("fcntl", CALL(fcntl, 3, 2 /* F_SETFD */, 1));
    unsigned long before = nanoseconds();
    long pid = must("clone3", spawn(&how, sizeof how, child, &job));
    must("wait4", CALL(wait4, pid, &status, 0, &used));
    unsigned long after = nanoseconds();
    number(3, after - before);
    say(3, " ");
    number(3, used.ru_maxrss);
    say(3, " ");
    number(3, used.ru_minflt);
    say(3, " ");
    number(3, status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
    say(3, "\n");
    return 0;
}
