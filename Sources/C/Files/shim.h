#pragma once
#include <stdint.h>
// What file system a path is on; Swift's Glibc module leaves it out.
#include <sys/statfs.h>

// Glibc's module is built without _GNU_SOURCE, so fallocate(2) is declared here, as <fcntl.h> has it on 64-bit Linux.
extern int fallocate64(int descriptor, int mode, int64_t offset, int64_t count);

// FALLOC_FL_KEEP_SIZE (linux/falloc.h): the space is taken, the file's size stays.
static inline int sudocam_allocate(int descriptor, int64_t count) { return fallocate64(descriptor, 1, 0, count); }
