// Preloaded into the recorder (LD_PRELOAD), it sets the wall clock ahead by SUDOCAM_TEST_AHEAD microseconds; other clocks stay.
// libfaketime moves CLOCK_BOOTTIME too, by which absolute timers then never come.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long ahead(void) {
    const char *text = getenv("SUDOCAM_TEST_AHEAD");
    return text ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long long moved = out->tv_sec * 1000000LL + out->tv_nsec / 1000 + ahead();
        out->tv_nsec = moved % 1000000 * 1000 + out->tv_nsec % 1000;
        out->tv_sec = moved / 1000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
