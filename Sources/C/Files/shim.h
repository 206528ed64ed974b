#pragma once
#include <stdint.h>
// What file system a path is on; Swift's Glibc module leaves it out.
#include <sys/statfs.h>

// Glibc's module is built without _GNU_SOURCE, so fallocate(2) is declared here, as <fcntl.h> has it on 64-bit Linux.
extern int fallocate64(int descriptor, int mode, int64_t offset, int64_t count);

// FALLOC_FL_KEEP_SIZE (linux/falloc.h): the space is taken, the file's size stays.
static inline int sudocam_allocate(int descriptor, int64_t count) { return fallocate64(descriptor, 1, 0, count); }

// sync_file_range(2) with SYNC_FILE_RANGE_WRITE (linux/fs.h): begins to write, waits for nothing, promises nothing.
extern int sync_file_range(int descriptor, int64_t offset, int64_t count, unsigned int flags);
static inline void sudocam_begin_writing(int descriptor, int64_t offset, int64_t count) {
    (void)sync_file_range(descriptor, offset, count, 2);
}
