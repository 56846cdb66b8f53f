//! Checks of the types in a group's methods.
//!
//! If a type that cannot be sent reached the stubs and the server, the compiler would report
//! several broken bounds there. Therefore each type first goes through a method of [`Probe`]. The
//! compiler chooses the first method that applies: an inherent method, a method of [`Owned`], or a
//! method of [`Unsendable`]. Only the methods of [`Unsendable`] have a bound that no type meets.
//! The compiler therefore reports the type there, and only once. After this error, the compiler
//! does not know the method's result, nor the values that pass through [`Decoded::returns`]. So it
//! reports no further errors about them.
//!
//! The parameter `U` of these methods is the probed type again. A bound on `U` does not affect the
//! choice of the method.
//!
//! Traits of the user are in the scope of the generated code, and may have a method for every type.
//! Therefore the names of the methods of the traits begin with `sockets_`. All other methods that
//! generated code calls with `.` are inherent and take the receiver itself, so that they precede
//! the methods of traits.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize, Serializer, ser::Error};

/// A type that can be an argument, or to which an argument can refer. No type implements this
/// trait: the compiler requires the trait only of types that cannot be sent, and then reports the
/// error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a group's method",
    label = "not `serde::Serialize` and `serde::Deserialize`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to a type of your own, and take it by value or by `&`",
    note = "inside another type, take only `&str`, `&[u8]` and `&Path` by reference, and other types by value"
)]
pub trait SerializeAndDeserialize {
    /// The result of the check.
    type Form;

    /// Returns the result of the check.
    fn form() -> Self::Form;
}

/// A type that can be a reply, or the error in a reply. No type implements this trait: the compiler
/// requires the trait only of types that cannot be sent, and then reports the error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a reply of a group's method",
    label = "not `serde::Serialize` and `serde::de::DeserializeOwned`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to a type of your own",
    note = "instead of a reference, return `String` or `Vec<T>`"
)]
pub trait SerializeAndDeserializeOwned {
    /// The result of the check.
    type Form;

    /// Returns the result of the check.
    fn form() -> Self::Form;
}

/// The result of a check. `D` is the type of the decoded value.
pub struct Decoded<D>(PhantomData<fn() -> D>);

#[expect(clippy::unused_self, reason = "an error in the receiver's type becomes one of the result")]
impl<D> Decoded<D> {
    const NEW: Self = Self(PhantomData);

    /// Names the type `D`. This method is never called.
    pub fn name(self) -> D {
        unreachable!("only names a type")
    }

    /// Returns a value that depends on the check.
    #[inline]
    pub fn returns<V>(self, value: V) -> V {
        value
    }
}

/// A check of a type that is decoded from bytes of lifetime `'de`.
pub struct Probe<'de, T: ?Sized>(PhantomData<(&'de (), PhantomData<T>)>);

impl<T: ?Sized> Probe<'_, T> {
    /// The only value of the type.
    pub const NEW: Self = Self(PhantomData);
}

impl<'de, T: Serialize + Deserialize<'de>> Probe<'de, T> {
    /// Checks an argument `T`, which may borrow from the received bytes.
    #[inline]
    pub fn sockets_value<U: ?Sized>(self) -> Decoded<T> {
        Decoded::NEW
    }
}

impl<'de, T: ?Sized + 'de> Probe<'de, T>
where
    &'de T: Serialize + Deserialize<'de>,
{
    /// Checks an argument `&T` that borrows from the received bytes, such as `&str`.
    #[inline]
    pub fn sockets_reference<U: ?Sized>(self) -> Decoded<&'de T> {
        Decoded::NEW
    }
}

impl<T: ?Sized> Probe<'_, &T> {
    /// Checks a reply that is an alias of a reference.
    pub fn sockets_reply<U: SerializeAndDeserializeOwned + ?Sized>(self) -> U::Form {
        U::form()
    }
}

/// Types that are decoded as owned values.
pub trait Owned: Sized {
    /// The owned type.
    type Owned;

    /// Checks an argument `&T` that is borrowed from an owned value.
    #[inline]
    fn sockets_reference<U: ?Sized>(self) -> Decoded<Self::Owned> {
        Decoded::NEW
    }

    /// Checks a reply.
    #[inline]
    fn sockets_reply<U: ?Sized>(self) -> Decoded<Self::Owned> {
        Decoded::NEW
    }
}

impl<'de, T: Serialize + Deserialize<'de>> Owned for Probe<'de, T> {
    type Owned = T;
}

impl<'de, T: Serialize + Deserialize<'de>> Owned for Probe<'de, [T]> {
    type Owned = Vec<T>;
}

/// The checks of the types that cannot be sent: neither the inherent methods of [`Probe`] nor the
/// methods of [`Owned`] apply to them. The compiler considers these methods last, since their
/// receiver is `&self`.
pub trait Unsendable {
    /// Checks an argument `T`.
    fn sockets_value<U: SerializeAndDeserialize + ?Sized>(&self) -> U::Form {
        U::form()
    }

    /// Checks an argument `&T`.
    fn sockets_reference<U: SerializeAndDeserialize + ?Sized>(&self) -> U::Form {
        U::form()
    }

    /// Checks a reply.
    fn sockets_reply<U: SerializeAndDeserializeOwned + ?Sized>(&self) -> U::Form {
        U::form()
    }
}

impl<T: ?Sized> Unsendable for Probe<'_, T> {}

/// A value that is encoded.
pub struct Outgoing<T>(pub T);

impl<T: Serialize> Outgoing<T> {
    /// Returns the value.
    #[inline]
    pub fn sockets_value(self) -> T {
        self.0
    }
}

/// A substitute for a value that cannot be encoded. A [`Probe`] has already reported its type.
pub trait Unencodable: Sized {
    /// Returns a value that fails to encode.
    fn sockets_value(self) -> Never {
        Never
    }
}

impl<T> Unencodable for Outgoing<T> {}

/// A value that fails to encode.
pub struct Never;

impl Serialize for Never {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("the type is not `Serialize`"))
    }
}
