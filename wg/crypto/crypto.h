#ifndef WG_CRYPTO_CRYPTO_H
#define WG_CRYPTO_CRYPTO_H

/* Prepares the libraries underneath and chooses the AEAD variant. Call once, before threads start
 * and before anything else of this folder; a later call does nothing. Returns 0 or -EIO. */
int crypto_init(void);

#endif
