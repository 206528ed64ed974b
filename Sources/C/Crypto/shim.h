// libcrypto's digests for the vault; WebRTC imports libssl on its own (COpenSSL).
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
