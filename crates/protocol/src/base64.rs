//! The base64 forms of Signal's JSON: lenient in, and out as the official server writes each field.
//!
//! Clients differ in whether they pad, so padding is optional on input. Bits that a canonical encoder
//! would leave zero must be zero (RFC 4648, section 3.5).

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use base64_simd::STANDARD_NO_PAD;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

const PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const UNPADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT.with_encode_padding(false));
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

const URL_PADDED: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Reads the standard alphabet, padded or not.
pub fn decode_lenient(text: &str) -> Option<Vec<u8>> {
    // All but the end, which alone may be padded, is read many characters at once: that is most of the work of reading
    // a message.
    let (whole, end) = text.as_bytes().split_at(text.len().saturating_sub(1) / 4 * 4);
    let mut bytes = Vec::with_capacity(whole.len() / 4 * 3 + 3);
    STANDARD_NO_PAD.decode_append(whole, &mut bytes).ok()?;
    PADDED.decode_vec(end, &mut bytes).ok()?;
    Some(bytes)
}

/// Reads the URL-safe alphabet, padded or not.
pub fn decode_url_lenient(text: &str) -> Option<Vec<u8>> {
    URL.decode(text).ok()
}

/// Writes the standard alphabet with padding.
pub fn encode_padded(bytes: impl AsRef<[u8]>) -> String {
    PADDED.encode(bytes)
}

/// Writes the standard alphabet without padding.
pub fn encode_unpadded(bytes: impl AsRef<[u8]>) -> String {
    UNPADDED.encode(bytes)
}

/// Writes the URL-safe alphabet without padding.
pub fn encode_url(bytes: impl AsRef<[u8]>) -> String {
    URL.encode(bytes)
}

/// Writes the URL-safe alphabet with padding.
pub fn encode_url_padded(bytes: impl AsRef<[u8]>) -> String {
    URL_PADDED.encode(bytes)
}

/// For `#[serde(with = "…")]`: text with padding, read with or without.
pub mod padded {
    use serde::Serializer;

    pub use super::from_text::deserialize;

    /// Writes padded text.
    pub fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode_padded(bytes))
    }
}

/// For `#[serde(with = "…")]`: text without padding, read with or without.
pub mod unpadded {
    use serde::Serializer;

    pub use super::from_text::deserialize;

    /// Writes unpadded text.
    pub fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode_unpadded(bytes))
    }
}

mod from_text {
    use std::{fmt, marker::PhantomData};

    use bytes::Bytes;
    use serde::{
        Deserializer,
        de::{Error, Visitor},
    };

    /// Reads base64 text into anything that can be made from bytes.
    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: for<'a> TryFrom<&'a [u8]>,
    {
        deserializer.deserialize_str(Text(|bytes: Vec<u8>| T::try_from(&bytes).ok(), PhantomData))
    }

    /// For `#[serde(deserialize_with = "…")]`: text with or without padding, into bytes that are not copied again.
    pub fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_str(Text(|bytes: Vec<u8>| Some(Bytes::from(bytes)), PhantomData))
    }

    /// Decodes text and makes a value of it, if it is one.
    struct Text<F, T>(F, PhantomData<T>);

    impl<F: FnOnce(Vec<u8>) -> Option<T>, T> Visitor<'_> for Text<F, T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64 text of a valid value")
        }

        // The text itself stays out of the error: it may be a key.
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let bytes = super::decode_lenient(text).ok_or_else(|| E::custom("not base64"))?;
            (self.0)(bytes).ok_or_else(|| E::custom("not a valid value in base64"))
        }
    }
}

pub use from_text::bytes;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Where one decoder hands over to the other does not show.
        #[test]
        fn long_text_is_read_like_short(text in "[A-Za-z0-9+/]{0,300}={0,3}", at in 0_usize..300, other in "[=\\-_ \n.é]?") {
            let mut altered = text.clone();
            altered.insert_str(at.min(text.len()), &other);
            for text in [text, altered] {
                prop_assert_eq!(decode_lenient(&text), PADDED.decode(&text).ok(), "{}", text);
            }
        }
    }

    #[test]
    fn long_text_comes_back() {
        for len in 0..300 {
            let bytes: Vec<u8> = (0_u8..=255).cycle().step_by(7).take(len).collect();
            for text in [encode_padded(&bytes), encode_unpadded(&bytes)] {
                assert_eq!(decode_lenient(&text), Some(bytes.clone()), "{text}");
            }
        }
    }

    #[test]
    fn padding_is_optional_on_input() {
        for text in ["+/8=", "+/8"] {
            assert_eq!(decode_lenient(text), Some(vec![0xFB, 0xFF]), "{text}");
        }
        for text in ["-_8=", "-_8"] {
            assert_eq!(decode_url_lenient(text), Some(vec![0xFB, 0xFF]), "{text}");
        }
    }

    #[test]
    fn each_alphabet_refuses_the_other_and_everything_else() {
        for text in ["-_8=", "+/8==", "+/9=", "+", " +/8=", "+/8\n"] {
            assert_eq!(decode_lenient(text), None, "{text:?}");
        }
        assert_eq!(decode_url_lenient("+/8="), None);
    }

    #[test]
    fn output_is_padded_only_where_asked() {
        let bytes = [0xFB, 0xFF];
        assert_eq!(encode_padded(bytes), "+/8=");
        assert_eq!(encode_unpadded(bytes), "+/8");
        assert_eq!(encode_url(bytes), "-_8");
    }
}
