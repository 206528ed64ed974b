#pragma once
#include <stddef.h>

// Files put into the binary at compile time: the page (path as the browser asks for it) and the SQL ("sql/…").
struct sudocam_asset {
    const char *path;
    const char *type;
    const unsigned char *bytes;
    size_t count;
};

const struct sudocam_asset *sudocam_assets(size_t *count);
