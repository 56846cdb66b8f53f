//! Which types can go over the wire, and in what form the other side takes them from it.

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Error, GenericArgument, Ident, Path, PathArguments, ReturnType, Type, TypeReference, ext::IdentExt,
    spanned::Spanned,
};

/// How a handler gets an argument.
pub(crate) enum Pass {
    /// It decodes as it is written, and may borrow from the received bytes.
    AsWritten,
    /// `&T` or `&[T]`: an owned value of this type decodes, and is lent.
    Lent(Type),
    /// It cannot travel. Without an error, the reason has been reported elsewhere.
    Refused(Option<Error>),
}

/// What a request is answered with.
pub(crate) enum Reply {
    Value(Type),
    Fallible {
        ok: Type,
        err: Type,
    },
    /// It cannot travel. Without an error, the reason has been reported elsewhere.
    Refused(Option<Error>),
}

/// How a parameter of type `Call` is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallParam {
    Shared,
    Other,
}

/// Parentheses, and the groups without delimiters that `macro_rules` leaves, mean nothing here.
fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Paren(paren) => &paren.elem,
            Type::Group(group) => &group.elem,
            _ => return ty,
        }
    }
}

/// Recognises `sockets::Call`, by its last segment.
pub(crate) fn as_call(ty: &Type) -> Option<CallParam> {
    match peel(ty) {
        Type::Reference(TypeReference { lifetime: None, mutability: None, elem, .. }) => {
            as_call(elem).map(|_| CallParam::Shared)
        }
        Type::Reference(reference) => as_call(&reference.elem).map(|_| CallParam::Other),
        Type::Path(path) if path.qself.is_none() => {
            let last = path.path.segments.last()?;
            (last.ident == "Call" && last.arguments.is_none()).then_some(CallParam::Other)
        }
        _ => None,
    }
}

/// Sorts an argument's type. `params` are the generic parameters that should not be there.
pub(crate) fn argument(ty: &Type, params: &[Ident]) -> Pass {
    if let Some(refusal) = obstacle(&ty.to_token_stream(), params) {
        return Pass::Refused(refusal.map(|obstacle| obstacle.of_argument()));
    }
    match peel(ty) {
        Type::TraitObject(object) => Pass::Refused(Some(no_dyn(object.span()))),
        Type::Reference(reference) => borrowed(reference),
        _ => Pass::AsWritten,
    }
}

fn borrowed(reference: &TypeReference) -> Pass {
    if let Some(mutability) = &reference.mutability {
        return Pass::Refused(Some(Error::new(
            mutability.span,
            "an argument cannot be changed on the other side; take it by value or by `&`",
        )));
    }
    match peel(&reference.elem) {
        Type::TraitObject(object) => Pass::Refused(Some(no_dyn(object.span()))),
        Type::Path(path) if path.path.is_ident("str") => Pass::AsWritten,
        Type::Slice(slice) => match peel(&slice.elem) {
            Type::Path(path) if path.path.is_ident("u8") => Pass::AsWritten,
            elem => Pass::Lent(syn::parse_quote!(::std::vec::Vec<#elem>)),
        },
        elem => Pass::Lent(elem.clone()),
    }
}

/// Sorts a return type.
pub(crate) fn reply(output: &ReturnType, params: &[Ident]) -> Reply {
    let ReturnType::Type(_, ty) = output else { return Reply::Value(syn::parse_quote!(())) };
    if let Some(refusal) = obstacle(&ty.to_token_stream(), params) {
        return Reply::Refused(refusal.map(|obstacle| obstacle.of_reply()));
    }
    if let Some(borrow) = find_borrow(ty.to_token_stream()) {
        return Reply::Refused(Some(Error::new(
            borrow,
            "a reply must be owned, since it is decoded on the other side; return `String`, `Vec<T>` or the like",
        )));
    }
    match peel(ty) {
        Type::Path(path) if path.qself.is_none() => result(&path.path).unwrap_or_else(|| Reply::Value((**ty).clone())),
        _ => Reply::Value((**ty).clone()),
    }
}

/// Recognises `Result`, by its last segment.
fn result(path: &Path) -> Option<Reply> {
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    if let PathArguments::AngleBracketed(args) = &last.arguments {
        let mut args = args.args.iter();
        if let (Some(GenericArgument::Type(ok)), Some(GenericArgument::Type(err)), None) =
            (args.next(), args.next(), args.next())
        {
            return Some(Reply::Fallible { ok: ok.clone(), err: err.clone() });
        }
    }
    Some(Reply::Refused(Some(Error::new_spanned(
        path,
        "this alias hides the error, which the caller gets back; write `Result<T, E>` with both types",
    ))))
}

/// What a type contains that can never travel.
enum Obstacle {
    Impl(Span),
    SelfType(Span),
    Lifetime(Span),
}

impl Obstacle {
    fn of_argument(self) -> Error {
        match self {
            Self::Impl(span) => Error::new(span, "`impl Trait` is not one type on both sides; name the type"),
            Self::Lifetime(span) => {
                Error::new(span, "an argument borrows from the received bytes; leave the lifetime out, or write `'_`")
            }
            Self::SelfType(span) => no_self(span),
        }
    }

    fn of_reply(self) -> Error {
        match self {
            Self::Impl(span) => Error::new(span, "the caller must know the type of the reply; name the type"),
            Self::Lifetime(span) => {
                Error::new(span, "a reply must be owned, since it is decoded on the other side; remove the lifetime")
            }
            Self::SelfType(span) => no_self(span),
        }
    }
}

fn no_self(span: Span) -> Error {
    Error::new(span, "`Self` is the handler on one side and the stub on the other; name the type")
}

fn no_dyn(span: Span) -> Error {
    Error::new(span, "a trait object cannot go over the wire; name the type")
}

/// Looks for an obstacle, however deep. `Some(None)` is one that has been reported: a generic parameter.
fn obstacle(tokens: &TokenStream, params: &[Ident]) -> Option<Option<Obstacle>> {
    let mut quote = false;
    let mut reference = false;
    for token in tokens.clone() {
        let (after_quote, after_reference) = (quote, reference);
        (quote, reference) = (false, false);
        match token {
            TokenTree::Ident(ident) if after_quote => {
                // `'static` may stand in a path: `Cow<'static, str>` is owned. References are looked at by themselves.
                if ident != "_" && (ident != "static" || after_reference) {
                    return Some(Some(Obstacle::Lifetime(ident.span())));
                }
            }
            TokenTree::Ident(ident) if params.contains(&ident) => return Some(None),
            TokenTree::Ident(ident) if ident == "impl" => return Some(Some(Obstacle::Impl(ident.span()))),
            TokenTree::Ident(ident) if ident == "Self" => return Some(Some(Obstacle::SelfType(ident.span()))),
            TokenTree::Group(group) => {
                if let Some(found) = obstacle(&group.stream(), params) {
                    return Some(found);
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' && punct.spacing() == Spacing::Joint => {
                (quote, reference) = (true, after_reference);
            }
            TokenTree::Punct(punct) => reference = punct.as_char() == '&',
            _ => {}
        }
    }
    None
}

/// Looks for a reference or an elided lifetime, however deep.
fn find_borrow(tokens: TokenStream) -> Option<Span> {
    let mut quote = false;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => return Some(punct.span()),
            TokenTree::Ident(ident) if quote && ident == "_" => return Some(ident.span()),
            TokenTree::Group(group) => {
                if let Some(found) = find_borrow(group.stream()) {
                    return Some(found);
                }
                quote = false;
            }
            token => quote = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\''),
        }
    }
    None
}

/// Whether a name occurs anywhere.
pub(crate) fn mentions(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident.unraw() == name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}
