//! Codes that people read, copy and type: symbols that are not taken for one another, in groups.

use protocol::ambient::Entropy;

/// 32 symbols, each five bits (Crockford's base 32).
const ALPHABET: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";

/// Symbols between two hyphens.
const GROUP: usize = 4;

/// Draws that many symbols, each as likely as any other.
pub(crate) fn draw<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    entropy.bytes::<N>().map(|byte| ALPHABET[usize::from(byte % 32)])
}

/// The symbols as they are shown: `0000-0000-…`.
pub(crate) fn show(symbols: &[u8]) -> String {
    let groups: Vec<_> = symbols.chunks(GROUP).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

/// Reads so many symbols as people write them: in either case, with spaces or hyphens anywhere, and with the letters
/// that look like digits in their place. Nothing if there are more or fewer, or others.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut symbols = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(|byte| {
        match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        }
    });
    let mut read = [0; N];
    for place in &mut read {
        *place = symbols.next().filter(|symbol| ALPHABET.contains(symbol))?;
    }
    symbols.next().is_none().then_some(read)
}
