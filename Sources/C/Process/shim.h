#include <malloc.h>
#include <sys/prctl.h>

// prctl is variadic, which Swift does not import.
static inline int sudocam_no_dump(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
static inline int sudocam_fill_freed_memory(int byte) { return mallopt(M_PERTURB, byte); }
