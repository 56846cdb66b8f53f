//! A search for types that no peer can send, at any depth of another type.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Error, Lifetime, Path, Type, TypeFnPtr, TypeImplTrait, TypeInfer, TypePtr, TypeReference, TypeTraitObject,
    visit::{self, Visit},
};

use crate::types::peel;

/// The position in a method at which a type occurs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Argument,
    Reply,
}

/// A type that cannot be sent.
pub(crate) struct UnsupportedType {
    pub(crate) error: Error,
    /// The type that the skeleton uses instead. It is the most likely meaning of the user's type.
    /// The field is `None` if there is no likely meaning.
    pub(crate) intended: Option<Box<Type>>,
}

/// Finds all parts of a type that no peer can send. Returns an error for these parts. Returns
/// `None` if all parts can be sent.
pub(crate) fn find_unsupported(ty: &Type, position: Position) -> Option<UnsupportedType> {
    let mut finder =
        UnsupportedVisitor { position, error: None, is_valid_in_stub: !matches!(peel(ty), Type::TraitObject(_)) };
    finder.visit_type(ty);
    let error = finder.error?;
    let intended = match position {
        _ if !finder.is_valid_in_stub => None,
        Position::Argument => Some(Box::new(ty.clone())),
        Position::Reply => syn::parse2(with_static_lifetimes(ty.to_token_stream())).ok(),
    };
    Some(UnsupportedType { error, intended })
}

struct UnsupportedVisitor {
    position: Position,
    error: Option<Error>,
    /// `true` if the type is also valid in the stub.
    is_valid_in_stub: bool,
}

impl UnsupportedVisitor {
    fn report(&mut self, tokens: impl ToTokens, message: &str) {
        let error = Error::new_spanned(tokens, message);
        match &mut self.error {
            Some(earlier) => earlier.combine(error),
            None => self.error = Some(error),
        }
    }

    /// Returns the error for a reference in an argument, or `None` if the reference is valid.
    fn borrow_error(reference: &TypeReference) -> Option<(TokenStream, &'static str)> {
        if let Some(mutability) = &reference.mutability {
            Some((
                mutability.to_token_stream(),
                "an argument cannot be mutable, since it is a copy of the caller's value; take it by value or by `&`",
            ))
        } else if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
            Some((lifetime.to_token_stream(), ARGUMENT_LIFETIME))
        } else {
            None
        }
    }
}

const ARGUMENT_LIFETIME: &str =
    "an argument borrows from the received bytes; omit the lifetime, or write `'_` inside a type";
const REPLY_LIFETIME: &str = "a reply must be owned, since the caller decodes it; remove the lifetime";
const REPLY_BORROW: &str =
    "a reply must be owned, since the caller decodes it; return `String`, `Vec<T>` or another owned type";

impl<'ast> Visit<'ast> for UnsupportedVisitor {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        // The lifetime `'static` is valid here, because a type such as `Cow<'static, str>` is
        // owned. The method `visit_type_reference` checks the lifetimes of references.
        match self.position {
            _ if lifetime.ident == "static" => {}
            Position::Argument if lifetime.ident == "_" => {}
            Position::Argument => self.report(lifetime, ARGUMENT_LIFETIME),
            Position::Reply => self.report(lifetime, REPLY_LIFETIME),
        }
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let error = match self.position {
            Position::Argument => Self::borrow_error(reference),
            Position::Reply => Some((reference.and_token.to_token_stream(), REPLY_BORROW)),
        };
        if let Some((tokens, message)) = error {
            self.report(tokens, message);
        }
        self.visit_type(&reference.elem);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.is_valid_in_stub &= self.position == Position::Argument;
        let message = match self.position {
            Position::Argument => "`impl Trait` is not the same type at both peers; write a concrete type",
            Position::Reply => "the caller must know the type of the reply; write a concrete type",
        };
        self.report(ty, message);
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        self.report(ty, "a trait object cannot be serialized; write a concrete type");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast TypeFnPtr) {
        self.report(ty, "a function cannot be serialized; send data that describes the operation");
    }

    fn visit_type_ptr(&mut self, ty: &'ast TypePtr) {
        self.report(ty, "a pointer cannot be serialized; take the value");
    }

    fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
        self.is_valid_in_stub = false;
        self.report(ty, "both peers must know the type; write a concrete type");
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first().filter(|first| first.ident == "Self") {
            self.is_valid_in_stub = false;
            self.report(first, "`Self` is the handler at one peer and the stub at the other; write a concrete type");
        }
        visit::visit_path(self, path);
    }
}

/// Replaces each lifetime by `'static`. This includes elided lifetimes.
fn with_static_lifetimes(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let is = |token: &TokenTree, char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
    let mut written = TokenStream::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let inside = with_static_lifetimes(group.stream());
                written.extend([TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inside))]);
            }
            token if is(&token, '&') => {
                let named = tokens.next_if(|next| is(next, '\'')).and_then(|_| tokens.next());
                drop(named);
                written.extend(quote!(#token 'static));
            }
            token if is(&token, '\'') => {
                drop(tokens.next());
                written.extend(quote!('static));
            }
            token => written.extend([token]),
        }
    }
    written
}
