//! Numbers as people write them.

use protocol::PhoneNumber;

use super::CreateSessionError;

/// Reads a number, and tells one that is merely written for people from one that cannot be.
pub(super) fn read_number(text: &str) -> Result<PhoneNumber, CreateSessionError> {
    /// Longest text taken for a number with decoration.
    const DECORATED_LEN_MAX: usize = 64;

    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    if text.len() > DECORATED_LEN_MAX {
        return Err(CreateSessionError::ImpossibleNumber);
    }
    let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    match bare.parse() {
        Ok(normalized) => Err(CreateSessionError::NotNormalized { original: text.to_owned(), normalized }),
        Err(_) => Err(CreateSessionError::ImpossibleNumber),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_written_for_people_are_told_from_impossible_ones() {
        assert!(read_number("+15550100001").is_ok());
        for text in ["+1 (555) 010-0001", "+1.555.010.0001"] {
            assert!(matches!(
                read_number(text),
                Err(CreateSessionError::NotNormalized { original, normalized })
                    if original == text && normalized.as_str() == "+15550100001"
            ));
        }
        for text in ["", "5550100001", "+1", "abc", "+0555010000", &"+".repeat(1000)] {
            assert!(matches!(read_number(text), Err(CreateSessionError::ImpossibleNumber)), "{text}");
        }
    }
}
