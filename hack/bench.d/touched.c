// touched OUT COMMAND ARGS...: runs COMMAND one instruction at a time and appends to OUT the address, relative to where the
// program was loaded, of every instruction that ran, each once. Threads and vfork-like children are followed until they execute
// another program.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPAN = 8 << 20 };
static unsigned char seen[SPAN];
static uint64_t base;

static void die(const char *what) { perror(what); exit(1); }

// Where the kernel put the program: the entry point it was given against the one in its file.
static uint64_t loaded_at(pid_t pid, const char *program) {
  char path[64];
  Elf64_auxv_t aux;
  Elf64_Ehdr head;
  snprintf(path, sizeof path, "/proc/%d/auxv", pid);
  FILE *auxv = fopen(path, "r"), *file = fopen(program, "r");
  if (!auxv || !file || fread(&head, sizeof head, 1, file) != 1) die(program);
  fclose(file);
  while (fread(&aux, sizeof aux, 1, auxv) == 1) {
    if (aux.a_type == AT_ENTRY) {
      fclose(auxv);
      return aux.a_un.a_val - head.e_entry;
    }
  }
  die(path);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) { fprintf(stderr, "usage: touched OUT COMMAND ARGS...\n"); return 2; }
  pid_t main_child = fork();
  if (main_child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    execv(argv[2], argv + 2);
    die(argv[2]);
  }
  int status;
  waitpid(main_child, &status, 0);
  if (!WIFSTOPPED(status)) return 1;
  base = loaded_at(main_child, argv[2]);
  ptrace(PTRACE_SETOPTIONS, main_child, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC);
  ptrace(PTRACE_SINGLESTEP, main_child, 0, 0);
  int code = 1;
  for (;;) {
    pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0) break;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid == main_child) { code = WIFEXITED(status) ? WEXITSTATUS(status) : 1; break; }
      continue;
    }
    int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXEC) { ptrace(PTRACE_DETACH, pid, 0, 0); continue; }
    if (signal == SIGTRAP && !event) {
      struct user_regs_struct regs;
      ptrace(PTRACE_GETREGS, pid, 0, &regs);
      uint64_t at = regs.rip - base;
      if (at < SPAN) seen[at] = 1;
    }
    int deliver = event || signal == SIGTRAP || signal == SIGSTOP ? 0 : signal;
    ptrace(PTRACE_SINGLESTEP, pid, 0, deliver);
  }
  FILE *out = fopen(argv[1], "a");
  if (!out) die(argv[1]);
  for (unsigned i = 0; i < SPAN; i++) if (seen[i]) fprintf(out, "%x\n", i);
  return fclose(out) ? 1 : code;
}
