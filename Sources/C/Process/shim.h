#include <malloc.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/timex.h>

// prctl is variadic, which Swift does not import.
static inline int sudocam_no_dump(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
static inline int sudocam_fill_freed_memory(int byte) { return mallopt(M_PERTURB, byte); }

// The kernel's word: a daemon such as chrony or systemd-timesyncd keeps the wall clock right (adjtimex(2)).
static inline bool sudocam_wall_clock_is_synchronised(void) {
    struct timex state = {0};
    int result = adjtimex(&state);
    return result >= 0 && result != TIME_ERROR && !(state.status & STA_UNSYNC);
}
