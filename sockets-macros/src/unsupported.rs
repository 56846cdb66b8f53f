//! What a type may contain that can never travel, however deep.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Error, Lifetime, Path, Type, TypeFnPtr, TypeImplTrait, TypeInfer, TypePtr, TypeReference, TypeTraitObject,
    visit::{self, Visit},
};

use crate::peel::peel;

/// Where a type stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Argument,
    Reply,
}

/// What is wrong with a type.
pub(crate) struct UnsupportedType {
    pub(crate) error: Error,
    /// What the skeleton has instead: what the user may have meant. `None` if that cannot be told.
    pub(crate) meant: Option<Box<Type>>,
}

/// Looks for all that cannot travel.
pub(crate) fn find_unsupported(ty: &Type, place: Position) -> Option<UnsupportedType> {
    let mut finder = UnsupportedVisitor { place, error: None, nameable: !matches!(peel(ty), Type::TraitObject(_)) };
    finder.visit_type(ty);
    let error = finder.error?;
    let meant = match place {
        _ if !finder.nameable => None,
        Position::Argument => Some(Box::new(ty.clone())),
        Position::Reply => syn::parse2(with_static_lifetimes(ty.to_token_stream())).ok(),
    };
    Some(UnsupportedType { error, meant })
}

struct UnsupportedVisitor {
    place: Position,
    error: Option<Error>,
    /// Whether the type means something in the stub.
    nameable: bool,
}

impl UnsupportedVisitor {
    fn report(&mut self, typed: impl ToTokens, message: &str) {
        let error = Error::new_spanned(typed, message);
        match &mut self.error {
            Some(earlier) => earlier.combine(error),
            None => self.error = Some(error),
        }
    }

    /// What is wrong with an argument's reference, if anything is.
    fn wrong_borrow(reference: &TypeReference) -> Option<(TokenStream, &'static str)> {
        if let Some(mutability) = &reference.mutability {
            Some((
                mutability.to_token_stream(),
                "an argument cannot be changed on the other side; take it by value or by `&`",
            ))
        } else if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
            Some((lifetime.to_token_stream(), ARGUMENT_LIFETIME))
        } else {
            None
        }
    }
}

const ARGUMENT_LIFETIME: &str =
    "an argument borrows from the received bytes; leave the lifetime out, or write `'_` inside a type";
const REPLY_LIFETIME: &str = "a reply must be owned, since it is decoded on the other side; remove the lifetime";
const REPLY_BORROW: &str =
    "a reply must be owned, since it is decoded on the other side; return `String`, `Vec<T>` or the like";

impl<'ast> Visit<'ast> for UnsupportedVisitor {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        // `'static` may stand in a path: `Cow<'static, str>` is owned. References are looked at by themselves.
        match self.place {
            _ if lifetime.ident == "static" => {}
            Position::Argument if lifetime.ident == "_" => {}
            Position::Argument => self.report(lifetime, ARGUMENT_LIFETIME),
            Position::Reply => self.report(lifetime, REPLY_LIFETIME),
        }
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let wrong = match self.place {
            Position::Argument => Self::wrong_borrow(reference),
            Position::Reply => Some((reference.and_token.to_token_stream(), REPLY_BORROW)),
        };
        if let Some((typed, message)) = wrong {
            self.report(typed, message);
        }
        self.visit_type(&reference.elem);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.nameable &= self.place == Position::Argument;
        let message = match self.place {
            Position::Argument => "`impl Trait` is not one type on both sides; name the type",
            Position::Reply => "the caller must know the type of the reply; name the type",
        };
        self.report(ty, message);
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        self.report(ty, "a trait object cannot go over the wire; name the type");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast TypeFnPtr) {
        self.report(ty, "a function cannot go over the wire; send what it should do as data");
    }

    fn visit_type_ptr(&mut self, ty: &'ast TypePtr) {
        self.report(ty, "a pointer cannot go over the wire; take the value");
    }

    fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
        self.nameable = false;
        self.report(ty, "both sides must know the type; name it");
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first().filter(|first| first.ident == "Self") {
            self.nameable = false;
            self.report(first, "`Self` is the handler on one side and the stub on the other; name the type");
        }
        visit::visit_path(self, path);
    }
}

/// Writes `'static` wherever a lifetime is or may be.
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
