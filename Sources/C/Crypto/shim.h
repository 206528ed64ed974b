// libcrypto's digests for the vault; WebRTC imports libssl on its own (COpenSSL).
// SHA256_Init and its like are deprecated in favour of EVP, which takes five times as long for the few bytes of a Merkle tree's node.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
