// Holds argv[1] MiB of memory, writes to argv[2] MiB of it each second, and notes the longest time that it stood still, by the
// real-time clock, in /tmp/longest. /tmp/ready is there when the memory is.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    size_t size = strtoul(argv[1], NULL, 10) << 20, dirty = strtoul(argv[2], NULL, 10) << 20, at = 0;
    unsigned *memory = malloc(size), random = 1;
    // Pages that cannot be compressed or shared.
    for (size_t i = 0; i < size / sizeof *memory; i++)
        memory[i] = random = random * 1664525 + 1013904223;
    close(open("/tmp/ready", O_CREAT | O_WRONLY, 0644));
    double longest = 0;
    for (double last = now();;) {
        for (size_t end = at + dirty / 100; at < end; at += 4096)
            memory[at % size / sizeof *memory]++;
        usleep(10000);
        double gap = now() - last;
        last += gap;
        if (gap > longest) {
            FILE *file = fopen("/tmp/longest", "w");
            if (file) {
                fprintf(file, "%f", longest = gap);
                fclose(file);
            }
        }
    }
}
