// The smallest container program there is: it ends.
#include "sys.h"

int start(int argc, char **argv, char **envp) {
    (void)argc, (void)argv, (void)envp;
    return 0;
}
