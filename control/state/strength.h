#ifndef CONTROL_STATE_STRENGTH_H
#define CONTROL_STATE_STRENGTH_H

/* An estimate of the bits that a guesser has to try for a secret, from its alphabet, length and
 * patterns: repetitions, runs of characters or keys, words of English and its likes, names, and
 * dates. Random text gets what its alphabet and length say, nearly always; words in any number get
 * about 1.6 bits a letter. */
unsigned strength_bits(const char *text);

#endif
