// libcrypto's digests for the vault; WebRTC imports libssl on its own (COpenSSL).
#include <openssl/evp.h>
#include <openssl/sha.h>
// What file system a path is on; Swift's Glibc module leaves it out.
#include <sys/statfs.h>
