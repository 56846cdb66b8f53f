//! The resumption token. With this token, a client resumes its session on another connection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Random bytes that cannot be guessed.
type Secret = [u8; 24];

/// The right to resume a session. A token is valid for one resumption.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    /// The number of the session's socket.
    session: u64,
    secret: Secret,
}

impl Token {
    /// Creates a random token. Returns `None` if the system has no source of randomness.
    pub fn new(session: u64) -> Option<Self> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).ok()?;
        Some(Self { session, secret })
    }

    /// Returns the number of the session.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Compares two tokens in constant time, so that the duration of the comparison reveals no part
    /// of the secret.
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

/// The valid tokens of a session.
///
/// A client can use each token once. If the connection is lost, the server does not know whether
/// the client has received the next token. Therefore the previous token stays valid until the
/// client confirms the next token. The client confirms it by any frame after the handshake.
#[derive(Debug)]
pub struct Tokens {
    /// The token that the client has received for certain.
    held: Token,
    /// The next token. The client may or may not have received it.
    offered: Option<Token>,
}

impl Tokens {
    /// Creates the state for a new session with its first token.
    pub fn new(first: Token) -> Self {
        Self { held: first, offered: None }
    }

    /// Returns `true` if the token is valid.
    pub fn verify(&self, token: &Token) -> bool {
        // The function compares both tokens in every case, so that its duration does not depend on
        // the result.
        let offered = self.offered.as_ref().is_some_and(|offered| offered.ct_eq(token));
        self.held.ct_eq(token) | offered
    }

    /// Replaces the token `used`, with which the client resumes, by the token `next`. The server
    /// sends `next` to the client.
    pub fn rotate(&mut self, used: Token, next: Token) {
        self.held = used;
        self.offered = Some(next);
    }

    /// Records that the client has received the token that the server sent last.
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
    fn token_is_valid_until_next_is_confirmed() {
        let (first, second, third) = (token(), token(), token());
        let mut tokens = Tokens::new(first.clone());
        assert!(tokens.verify(&first) && !tokens.verify(&second));

        tokens.rotate(first.clone(), second.clone());
        assert!(tokens.verify(&first) && tokens.verify(&second), "the receipt of the second token is unknown");
        tokens.confirm();
        assert!(!tokens.verify(&first) && tokens.verify(&second), "the second token was received");

        tokens.rotate(second.clone(), third.clone());
        tokens.rotate(second.clone(), token());
        assert!(!tokens.verify(&third), "the client would have used the third token");
    }

    #[test]
    fn debug_output_hides_secret() {
        let token = token();
        assert_eq!(format!("{token:?}"), "Token { session: 7, .. }");
        assert_eq!(format!("{:?}", Tokens::new(token)), "Tokens { held: Token { session: 7, .. }, offered: None }");
    }

    #[test]
    fn tokens_differ_by_any_bit_and_session() {
        let token = token();
        for bit in 0..24 * 8 {
            let mut other = token.clone();
            other.secret[bit / 8] ^= 1 << (bit % 8);
            assert!(!token.ct_eq(&other));
        }
        assert!(!token.ct_eq(&Token { session: 8, ..token.clone() }) && token.ct_eq(&token.clone()));
    }
}
