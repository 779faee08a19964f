// usage: filter PID > FILE
//
// Writes the seccomp filter that a process runs under, as the kernel keeps it, so that the floor can attach the same.
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int argc, char **argv) {
    static struct sock_filter code[65536];
    int pid = argc == 2 ? atoi(argv[1]) : 0;
    if (!pid) return fprintf(stderr, "usage: filter PID > FILE\n"), 2;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) return perror("ptrace"), 1;
    if (waitpid(pid, NULL, __WALL) != pid) return perror("waitpid"), 1;
    if (ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)1, NULL) >= 0) return fprintf(stderr, "more than one filter\n"), 1;
    long n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, code);
    if (n < 0) return perror("PTRACE_SECCOMP_GET_FILTER"), 1;
    return fwrite(code, sizeof *code, n, stdout) == (size_t)n ? 0 : 1;
}
