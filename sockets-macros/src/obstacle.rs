//! What a type may contain that can never travel, however deep.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Error, Ident, Lifetime, Path, Type, TypeFnPtr, TypeImplTrait, TypeInfer, TypePtr, TypeReference, TypeTraitObject,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::travel::{borrows_bytes, peel};

/// Where a type stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Argument,
    Reply,
}

/// What was found in a type.
pub(crate) struct Found {
    /// All that is to be said of it.
    pub(crate) error: Option<Error>,
    /// Whether it would do if it were owned.
    pub(crate) borrows_only: bool,
    /// Whether it mentions a parameter of the trait, which has been reported there.
    reported: bool,
}

impl Found {
    pub(crate) fn any(&self) -> bool {
        self.error.is_some() || self.reported
    }
}

/// Looks for all that cannot travel. `params` are the generic parameters that the trait should not have.
pub(crate) fn find(ty: &Type, place: Place, params: &[Ident]) -> Found {
    let found = Found { error: None, borrows_only: true, reported: false };
    let outermost = match peel(ty) {
        Type::Reference(reference) if place == Place::Argument => Some(reference),
        _ => None,
    };
    let mut finder = Finder { place, params, outermost, found };
    finder.visit_type(ty);
    finder.found
}

struct Finder<'a> {
    place: Place,
    params: &'a [Ident],
    /// The reference that an argument as a whole is.
    outermost: Option<&'a TypeReference>,
    found: Found,
}

impl Finder<'_> {
    fn report(&mut self, span: Span, message: &str) {
        let error = Error::new(span, message);
        match &mut self.found.error {
            Some(earlier) => earlier.combine(error),
            None => self.found.error = Some(error),
        }
    }

    /// Reports what is wrong however long it lives.
    fn never(&mut self, span: Span, message: &str) {
        self.found.borrows_only = false;
        self.report(span, message);
    }

    /// What is wrong with an argument's reference, if anything is.
    fn wrong_borrow(&self, reference: &TypeReference) -> Option<(Span, &'static str)> {
        let outermost = self.outermost.is_some_and(|outermost| std::ptr::eq(outermost, reference));
        if let Some(mutability) = &reference.mutability {
            Some((mutability.span, "an argument cannot be changed on the other side; take it by value or by `&`"))
        } else if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
            Some((lifetime.span(), ARGUMENT_LIFETIME))
        } else if !outermost && !borrows_bytes(&reference.elem) {
            Some((reference.and_token.span, ARGUMENT_INSIDE))
        } else {
            None
        }
    }
}

const ARGUMENT_LIFETIME: &str =
    "an argument borrows from the received bytes; leave the lifetime out, or write `'_` inside a type";
const ARGUMENT_INSIDE: &str =
    "inside another type only `&str` and `&[u8]` can be borrowed from the received bytes; take this by value";
const REPLY_LIFETIME: &str = "a reply must be owned, since it is decoded on the other side; remove the lifetime";
const REPLY_BORROW: &str =
    "a reply must be owned, since it is decoded on the other side; return `String`, `Vec<T>` or the like";

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        // `'static` may stand in a path: `Cow<'static, str>` is owned. References are looked at by themselves.
        match self.place {
            _ if lifetime.ident == "static" => {}
            Place::Argument if lifetime.ident == "_" => {}
            Place::Argument => self.report(lifetime.span(), ARGUMENT_LIFETIME),
            Place::Reply => self.report(lifetime.span(), REPLY_LIFETIME),
        }
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let wrong = match self.place {
            Place::Argument => self.wrong_borrow(reference),
            Place::Reply => Some((reference.and_token.span, REPLY_BORROW)),
        };
        if let Some((span, message)) = wrong {
            self.report(span, message);
        }
        self.visit_type(&reference.elem);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let message = match self.place {
            Place::Argument => "`impl Trait` is not one type on both sides; name the type",
            Place::Reply => "the caller must know the type of the reply; name the type",
        };
        self.never(ty.span(), message);
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        self.never(ty.span(), "a trait object cannot go over the wire; name the type");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast TypeFnPtr) {
        self.never(ty.span(), "a function cannot go over the wire; send what it should do as data");
    }

    fn visit_type_ptr(&mut self, ty: &'ast TypePtr) {
        self.never(ty.span(), "a pointer cannot go over the wire; take the value");
    }

    fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
        self.never(ty.span(), "both sides must know the type; name it");
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first().map(|first| &first.ident) {
            if self.params.contains(first) {
                (self.found.reported, self.found.borrows_only) = (true, false);
            } else if first == "Self" {
                self.never(first.span(), "`Self` is the handler on one side and the stub on the other; name the type");
            }
        }
        visit::visit_path(self, path);
    }
}

/// A type that the skeleton can give for one that borrows: it lives for ever. For one that is wrong otherwise, `()`.
pub(crate) fn owned(ty: &Type, borrows_only: bool) -> Box<Type> {
    let immortal = borrows_only.then(|| syn::parse2(immortal(ty.to_token_stream())).ok()).flatten();
    immortal.unwrap_or_else(|| syn::parse_quote!(()))
}

/// Writes `'static` wherever a lifetime is or may be.
fn immortal(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let is = |token: &TokenTree, char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
    let mut written = TokenStream::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let inside = immortal(group.stream());
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
