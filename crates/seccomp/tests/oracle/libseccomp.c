/* The oracle of tests/differential.rs: builds filters with libseccomp and prints them.
 *
 * Reads lines, answers in binary to standard output:
 *   resolve ARCH NAME           -> int32: the number, as seccomp_syscall_resolve_name_arch says
 *   profile DEFAULT OPTIMIZE    starts a profile: the default action's return value, the optimization level
 *   arch ARCH                   adds an architecture
 *   rule ACTION NAME N {ARG OP A B}...
 *   end                         -> int32 status, and if that is 0: uint32 length, the BPF program
 *   time N                      instead of "end": -> int64 nanoseconds, the best of N builds and exports
 * Numbers are hexadecimal. A profile is built in a child with a time limit: some make libseccomp loop.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINES 65536
static char *lines[MAX_LINES];
static int count;

static int add_rule(scmp_filter_ctx ctx, char *text)
{
	struct scmp_arg_cmp args[6];
	char *word, *rest;
	unsigned int i, n;
	uint32_t action = strtoul(strtok_r(text, " ", &rest), NULL, 16);
	int number = seccomp_syscall_resolve_name(strtok_r(NULL, " ", &rest));

	if (number == __NR_SCMP_ERROR)
		return 0;
	n = strtoul(strtok_r(NULL, " ", &rest), NULL, 16);
	for (i = 0; i < n; i++) {
		args[i].arg = strtoul(strtok_r(NULL, " ", &rest), NULL, 16);
		word = strtok_r(NULL, " ", &rest);
		args[i].op = !strcmp(word, "NE") ? SCMP_CMP_NE : !strcmp(word, "LT") ? SCMP_CMP_LT :
			     !strcmp(word, "LE") ? SCMP_CMP_LE : !strcmp(word, "EQ") ? SCMP_CMP_EQ :
			     !strcmp(word, "GE") ? SCMP_CMP_GE : !strcmp(word, "GT") ? SCMP_CMP_GT : SCMP_CMP_MASKED_EQ;
		args[i].datum_a = strtoull(strtok_r(NULL, " ", &rest), NULL, 16);
		args[i].datum_b = strtoull(strtok_r(NULL, " ", &rest), NULL, 16);
	}
	return seccomp_rule_add_array(ctx, action, number, n, args);
}

/* Builds the collected lines and exports the program to fd. */
static int build(int fd)
{
	scmp_filter_ctx ctx = NULL;
	int i, rc = 0;

	for (i = 0; i < count && rc == 0; i++) {
		char text[4096];

		snprintf(text, sizeof(text), "%s", lines[i]);
		if (!strncmp(text, "profile ", 8)) {
			char *rest;

			ctx = seccomp_init(strtoul(text + 8, &rest, 16));
			if (!ctx)
				return -EINVAL;
			seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, strtoul(rest, NULL, 16));
		} else if (!strncmp(text, "arch ", 5)) {
			rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(text + 5));
			if (rc == -EEXIST)
				rc = 0;
		} else if (!strncmp(text, "rule ", 5)) {
			rc = add_rule(ctx, text + 5);
		}
	}
	if (rc == 0 && fd >= 0)
		rc = seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	return rc;
}

static void answer(const void *data, size_t size)
{
	fwrite(data, size, 1, stdout);
	fflush(stdout);
}

static void end(void)
{
	int32_t status, fd = memfd_create("program", MFD_CLOEXEC);
	uint32_t size;
	void *program;
	int wait_status;
	pid_t child = fork();

	if (child == 0) {
		alarm(3);
		status = build(fd);
		_exit(status < 0 ? -status : 0);
	}
	waitpid(child, &wait_status, 0);
	status = WIFEXITED(wait_status) ? -WEXITSTATUS(wait_status) : -ETIME;
	answer(&status, sizeof(status));
	if (status == 0) {
		size = lseek(fd, 0, SEEK_END);
		answer(&size, sizeof(size));
		program = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		answer(program, size);
		munmap(program, size);
	}
	close(fd);
}

static void time_builds(int builds)
{
	int64_t best = INT64_MAX, took;
	struct timespec from, to;
	int fd;

	while (builds-- > 0) {
		fd = memfd_create("program", MFD_CLOEXEC);
		clock_gettime(CLOCK_MONOTONIC, &from);
		build(fd);
		clock_gettime(CLOCK_MONOTONIC, &to);
		close(fd);
		took = (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec;
		if (took < best)
			best = took;
	}
	answer(&best, sizeof(best));
}

int main(void)
{
	static char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "resolve ", 8)) {
			char *rest, *arch = strtok_r(line + 8, " ", &rest);
			/* 0, an unknown architecture, would mean the native one. */
			uint32_t token = seccomp_arch_resolve_name(arch);
			int32_t number = token ? seccomp_syscall_resolve_name_arch(token, strtok_r(NULL, " ", &rest)) : -1;

			answer(&number, sizeof(number));
		} else if (!strcmp(line, "end") || !strncmp(line, "time ", 5)) {
			if (line[0] == 'e')
				end();
			else
				time_builds(strtoul(line + 5, NULL, 16));
			while (count > 0)
				free(lines[--count]);
		} else if (count < MAX_LINES) {
			lines[count++] = strdup(line);
		}
	}
	return 0;
}
