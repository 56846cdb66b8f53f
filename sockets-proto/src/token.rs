//! What a client shows to go on with its session over another connection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that nobody can guess.
type Secret = [u8; 24];

/// The right to go on with a session, once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    /// The number of its socket.
    session: u64,
    secret: Secret,
}

impl Token {
    /// A new one. `None` if the system has no randomness to give.
    pub fn new(session: u64) -> Option<Self> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).ok()?;
        Some(Self { session, secret })
    }

    /// Returns the number of the session.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether they are the same. How long that takes does not tell how much of the secret is.
    fn ct_eq(&self, other: &Self) -> bool {
        let different = self.secret.iter().zip(&other.secret).fold(0, |different, (a, b)| different | (a ^ b));
        std::hint::black_box(different) == 0 && self.session == other.session
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("session", &self.session).finish_non_exhaustive()
    }
}

/// The tokens with which a session can be gone on with.
///
/// Each is good for one time. But the link may break before the client has heard of the next one; so the last one is good
/// until the client has said something behind that.
#[derive(Debug)]
pub struct Tokens {
    /// The one that the client has for certain.
    held: Token,
    /// The one that it may have.
    offered: Option<Token>,
}

impl Tokens {
    /// Creates the state for a new session with its first token.
    pub fn new(first: Token) -> Self {
        Self { held: first, offered: None }
    }

    /// Whether this one is good.
    pub fn verify(&self, token: &Token) -> bool {
        // Both are always compared.
        let offered = self.offered.as_ref().is_some_and(|offered| offered.ct_eq(token));
        self.held.ct_eq(token) | offered
    }

    /// The client goes on with `used`, which was known, and is told of the next one.
    pub fn rotate(&mut self, used: Token, next: Token) {
        self.held = used;
        self.offered = Some(next);
    }

    /// The client has said something behind the last token that it was told of.
    pub fn confirm(&mut self) {
        if let Some(token) = self.offered.take() {
            self.held = token;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new(7).unwrap()
    }

    #[test]
    fn a_token_is_good_until_the_next_one_has_come() {
        let (first, second, third) = (token(), token(), token());
        let mut tokens = Tokens::new(first.clone());
        assert!(tokens.verify(&first) && !tokens.verify(&second));

        tokens.rotate(first.clone(), second.clone());
        assert!(tokens.verify(&first) && tokens.verify(&second), "nobody knows whether it has come");
        tokens.confirm();
        assert!(!tokens.verify(&first) && tokens.verify(&second), "it has, so the first one has had its time");

        tokens.rotate(second.clone(), third.clone());
        tokens.rotate(second.clone(), token());
        assert!(!tokens.verify(&third), "it has not come, or the client would have used it");
    }

    #[test]
    fn a_token_tells_nothing_of_itself() {
        let token = token();
        assert_eq!(format!("{token:?}"), "Token { session: 7, .. }");
        assert_eq!(format!("{:?}", Tokens::new(token)), "Tokens { held: Token { session: 7, .. }, offered: None }");
    }

    #[test]
    fn tokens_differ_in_any_bit_and_in_their_sessions() {
        let token = token();
        for bit in 0..24 * 8 {
            let mut other = token.clone();
            other.secret[bit / 8] ^= 1 << (bit % 8);
            assert!(!token.ct_eq(&other));
        }
        assert!(!token.ct_eq(&Token { session: 8, ..token.clone() }) && token.ct_eq(&token.clone()));
    }
}
