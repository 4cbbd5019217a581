"""Integer operations of secure aggregation and differential privacy, exact for the algorithms here.

One operation is one instruction: a product or a sum of 64-bit words, a round of AES on its block of
two words, an elementary function of a floating-point number. Left out: modular reduction,
authentication of ciphertexts, hashes that make keys of agreed secrets, the random coefficients of
Shamir's polynomials and the differences of his points.

References
----------
Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017,
doi:10.1145/3133956.3133982, sections 4 and 7: what is computed and how often. The paper counts
orders of growth; the constants are those of the algorithms below. Its implementation agrees on keys
over NIST P-256; here it is X25519 (RFC 7748), whose keys are as long and whose operations can be
counted from its specification.
"""

from __future__ import annotations

from typing import Final, assert_never

from fedsim.protocol.operation import (
    AddNoise,
    AgreeKeys,
    Clip,
    MaskVector,
    OpenShares,
    PrivacyOperation,
    RecoverSecrets,
    ShareSecrets,
)

__all__ = ["privacy_operations"]

#: Schoolbook product of two 256-bit numbers, 4 words each: 16 products of words with a sum each.
_FIELD_PRODUCT: Final = 2 * 4 * 4
_FIELD_SUM: Final = 4
#: A step of the Montgomery ladder (RFC 7748, section 5): 5 products, 4 squares, a product with the
#: one-word constant a24, and 8 sums or differences.
_LADDER_STEP: Final = 9 * _FIELD_PRODUCT + 2 * 4 + 8 * _FIELD_SUM
#: X25519: 255 steps, then the power p - 2 (254 squares, 11 products) and one product.
_KEY_PRODUCT: Final = 255 * _LADDER_STEP + 266 * _FIELD_PRODUCT
#: Inverse in Shamir's field as a power with a 256-bit exponent, half of whose bits are ones.
_INVERSE: Final = (256 + 128) * _FIELD_PRODUCT

#: AES-128 in counter mode: 10 rounds (FIPS 197), an instruction each, for a block of two words.
_PRG_WORD: Final = 5
#: A word of pseudorandom numbers, added to the value (or the plaintext).
_MASKED_WORD: Final = _PRG_WORD + 1
#: A value scaled and rounded to an integer, or converted back and scaled.
_QUANTIZED_VALUE: Final = 2
#: Two shares of 256 bits.
_CIPHERTEXT_WORDS: Final = 8

#: Square, add to the norm, scale.
_CLIPPED_VALUE: Final = 3
#: Box and Muller (1958): a pseudorandom word, logarithm, root, cosine and three products; then the
#: standard deviation and the sum.
_NOISY_VALUE: Final = _PRG_WORD + 6 + 2


def privacy_operations(operation: PrivacyOperation) -> int:
    """Operations on 64-bit words [FLOP].

    Notes
    -----
    - ``AgreeKeys``: 92,152 for each product of a point with a number.
    - ``ShareSecrets``: a polynomial of degree ``t - 1`` at every holder's point by Horner's rule,
      36 a coefficient; 48 for each ciphertext. ``OpenShares``: 48 each.
    - ``MaskVector``: ``values x (2 + 6 masks)``.
    - ``RecoverSecrets``: for each set of holders the Lagrange coefficients at 0 (numerators and
      denominators, ``2 t (t - 1)`` products, inverted together by Montgomery's trick); then 36 a
      share.
    - ``Clip``: 3 a value, and one more for a difference. ``AddNoise``: 13 a value.
    """
    match operation:
        case AgreeKeys(num_products):
            amount = num_products * _KEY_PRODUCT
        case ShareSecrets(num_secrets, num_shares, threshold, num_ciphertexts):
            points = num_secrets * num_shares
            amount = points * (threshold - 1) * (_FIELD_PRODUCT + _FIELD_SUM)
            amount += num_ciphertexts * _CIPHERTEXT_WORDS * _MASKED_WORD
        case OpenShares(num_ciphertexts):
            amount = num_ciphertexts * _CIPHERTEXT_WORDS * _MASKED_WORD
        case MaskVector(num_values, num_masks):
            amount = num_values * (_QUANTIZED_VALUE + num_masks * _MASKED_WORD)
        case RecoverSecrets(num_secrets, num_holder_sets, threshold):
            products = (2 * threshold + 3) * (threshold - 1)
            amount = num_holder_sets * (products * _FIELD_PRODUCT + _INVERSE)
            amount += num_secrets * threshold * (_FIELD_PRODUCT + _FIELD_SUM)
        case Clip(num_values, is_difference):
            amount = num_values * (_CLIPPED_VALUE + int(is_difference))
        case AddNoise(num_values):
            amount = num_values * _NOISY_VALUE
        case _:
            assert_never(operation)
    return amount
