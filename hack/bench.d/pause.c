// A container program that stays until it is killed.
#include "sys.h"

int start(int argc, char **argv, char **envp) {
    (void)argc, (void)argv, (void)envp;
    for (;;) CALL(pause);
}
