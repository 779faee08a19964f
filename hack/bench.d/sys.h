// What the benchmark's helpers need of the kernel, without a C library: its start would be a third of what is measured.
#ifndef SYS_H
#define SYS_H

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

static inline long sys(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
#define SYS(n, a, b, c, d, e, f, ...) sys(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(n, ...) SYS(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

// A child on a stack of its own that shares our memory until it calls execve; we sleep until then.
static inline long spawn(void *arguments, size_t size, void (*child)(void *), void *data) {
    // A copy: the compiler may know `data` as an offset from a stack pointer, which is another one in the child.
    __asm__ volatile("" : "+r"(data));
    register long result __asm__("rax") = __NR_clone3;
    __asm__ volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "mov %[data], %%rdi\n\t"
        "xor %%ebp, %%ebp\n\t"
        "call *%[child]\n\t"
        "hlt\n"
        "1:"
        : "+r"(result)
        : "D"(arguments), "S"(size), [child] "b"(child), [data] "r"(data)
        : "rcx", "r11", "memory");
    return result;
}

static inline size_t length(const char *s) {
    size_t n = 0;
    while (s[n]) n++;
    return n;
}

static inline void say(int fd, const char *s) { CALL(write, fd, s, length(s)); }

static inline void number(int fd, unsigned long v) {
    char text[24], *p = text + sizeof text;
    do *--p = '0' + v % 10; while (v /= 10);
    CALL(write, fd, p, text + sizeof text - p);
}

__attribute__((noreturn)) static inline void die(const char *what, long error) {
    say(2, what);
    say(2, ": errno ");
    number(2, -error);
    say(2, "\n");
    CALL(exit_group, 1);
    __builtin_unreachable();
}

static inline long must(const char *what, long result) {
    if (result < 0) die(what, result);
    return result;
}

// The compiler may turn loops into calls of these.
void *memset(void *to, int byte, size_t n) {
    char *p = to;
    while (n--) *(volatile char *)p++ = byte;
    return to;
}
void *memcpy(void *to, const void *from, size_t n) {
    char *p = to;
    const char *q = from;
    while (n--) *(volatile char *)p++ = *q++;
    return to;
}

// The entry point: the kernel puts argc, argv and envp on the stack.
int start(int argc, char **argv, char **envp);
__attribute__((used)) static void entry(long *stack) {
    int argc = stack[0];
    char **argv = (char **)(stack + 1);
    CALL(exit_group, start(argc, argv, argv + argc + 1));
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall entry\n");

#endif
