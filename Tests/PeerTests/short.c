// Preloaded into the recorder (LD_PRELOAD), it does to its files what signals and small buffers do: calls that end with EINTR
// before anything happened, and reads and writes that stop half-way. SUDOCAM_TEST_SHORT names a file whose number of calls
// tells afterwards that this was not a test of nothing.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic unsigned long *count(void) {
    static _Atomic unsigned long own;
    static _Atomic unsigned long *shared;
    if (!shared) {
        const char *path = getenv("SUDOCAM_TEST_SHORT");
        int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (file >= 0 && ftruncate(file, sizeof own) == 0) {
            void *map = mmap(0, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (map != MAP_FAILED) shared = map;
        }
        if (file >= 0) close(file);
        if (!shared) shared = &own;
    }
    return shared;
}

// Every fifth call is interrupted, every third of the others is short.
static int interrupted(void) {
    if (atomic_fetch_add(count(), 1) % 5) return 0;
    errno = EINTR;
    return 1;
}
static size_t shortened(size_t size) { return size > 1 && atomic_load(count()) % 3 == 0 ? (size + 1) / 2 : size; }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread(int file, void *bytes, size_t size, off_t at) {
    return interrupted() ? -1 : NEXT(pread)(file, bytes, shortened(size), at);
}
ssize_t pread64(int file, void *bytes, size_t size, off64_t at) {
    return interrupted() ? -1 : NEXT(pread64)(file, bytes, shortened(size), at);
}
ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
    return interrupted() ? -1 : NEXT(pwrite)(file, bytes, shortened(size), at);
}
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    return interrupted() ? -1 : NEXT(pwrite64)(file, bytes, shortened(size), at);
}
// SQLite tries reads and writes again, but takes a sync that was interrupted for a broken disk: the index is then made anew, with an
// alarm. That is not what is looked at here, so its syncs are let through.
static int is_sqlite(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".sqlite") != NULL;
}
int fdatasync(int file) { return !is_sqlite(file) && interrupted() ? -1 : NEXT(fdatasync)(file); }
int fsync(int file) { return !is_sqlite(file) && interrupted() ? -1 : NEXT(fsync)(file); }
