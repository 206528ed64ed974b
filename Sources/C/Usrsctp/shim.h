#include <usrsctp.h>

// Swift cannot import a pointer to a variadic function, the third parameter.
static inline void sudocam_usrsctp_init_nothreads(
    int (*output)(void *addr, void *buffer, size_t length, uint8_t tos, uint8_t set_df)) {
    usrsctp_init_nothreads(0, output, 0);
}
