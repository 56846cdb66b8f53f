//! The identity of a client, and the keys by which sockets are found.

use std::{hash::Hash, sync::Arc};

/// The user of a socket, as the server's authentication returns it.
///
/// Sockets are found by the key of their identity. A client resumes its session only if its new
/// identity has the same key. The other parts of an identity are data, which may change at a
/// resumption: see [`Socket::identity`](crate::Socket::identity).
///
/// Strings, integers and `()` are their own keys. The derive macro implements the trait for a
/// struct. If the attribute `#[identity(key)]` marks several fields, the key is a tuple of them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sockets::{Client, Refusal, Server};
///
/// #[derive(Clone, sockets::Identity)]
/// struct Player {
///     #[identity(key)]
///     id: u64,
///     is_admin: bool,
/// }
///
/// let server = Server::builder()
///     .authenticate(|id: u64| async move { Ok::<_, Refusal>(Player { id, is_admin: id == 7 }) })
///     .build();
/// let _client = Client::builder().auth(7_u64).connect_local(&server).await?;
///
/// assert!(server.socket(&7).is_some_and(|socket| socket.identity().is_admin));
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an identity",
    note = "derive it: `#[derive(Clone, sockets::Identity)]`, with `#[identity(key)]` on the field that identifies the user"
)]
pub trait Identity: Clone + Send + Sync + 'static {
    /// The type of the key.
    type Key: Eq + Hash + Clone + Send + Sync + 'static;

    /// Returns the key of this identity.
    fn key(&self) -> Self::Key;
}

macro_rules! own_keys {
    ($($identity:ty)*) => {$(
        impl Identity for $identity {
            type Key = Self;

            fn key(&self) -> Self {
                self.clone()
            }
        }
    )*};
}

own_keys! { () String &'static str Arc<str> u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

/// A value that names a key: the key itself, a reference to the key, or a `&str` for a `String` or
/// an `Arc<str>`. Sealed.
pub trait IntoKey<K>: sealed::IntoKey<K> {}

impl<K, T: sealed::IntoKey<K>> IntoKey<K> for T {}

pub(crate) mod sealed {
    use std::sync::Arc;

    pub trait IntoKey<K> {
        fn into_key(self) -> K;
    }

    impl<K> IntoKey<K> for K {
        fn into_key(self) -> K {
            self
        }
    }

    impl<K: Clone> IntoKey<K> for &K {
        fn into_key(self) -> K {
            self.clone()
        }
    }

    macro_rules! texts {
        ($($text:ty)*) => {$(
            impl IntoKey<$text> for &str {
                fn into_key(self) -> $text {
                    self.into()
                }
            }

            impl IntoKey<$text> for &&str {
                fn into_key(self) -> $text {
                    (*self).into()
                }
            }
        )*};
    }

    texts! { String Arc<str> }
}
