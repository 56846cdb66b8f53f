//! Which types can go over the wire, and in what form the other side takes them from it.

use syn::{Error, GenericArgument, Path, PathArguments, ReturnType, Type, TypePath};

use crate::{
    peel::peel,
    unsupported::{self, Position, UnsupportedType},
};

/// How a handler gets an argument.
pub(crate) enum ArgumentPassing {
    /// The type that is decoded, which may borrow from the received bytes.
    ByValue,
    /// A reference to this type. The compiler decides from the type whether the reference itself is
    /// decoded, or an owned value.
    Reference(Box<Type>),
    /// It cannot travel.
    Refused(UnsupportedType),
}

/// What a request is answered with.
pub(crate) enum Reply {
    Value(Box<Type>),
    Fallible {
        ok: Box<Type>,
        err: Box<Type>,
    },
    /// It cannot travel.
    Refused(UnsupportedType),
}

/// How a parameter of type `Call` is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallParam {
    Shared,
    Other,
}

/// Recognises `sockets::Call`: `Call` alone, or after the name of the runtime's crate. `phone::Call` is the user's.
pub(crate) fn as_call(ty: &Type, krate: &Path) -> Option<CallParam> {
    match peel(ty) {
        Type::Reference(reference) => {
            as_call(&reference.elem, krate)?;
            let named = reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident != "_");
            let twice = matches!(peel(&reference.elem), Type::Reference(_));
            let shared = !named && !twice && reference.mutability.is_none();
            Some(if shared { CallParam::Shared } else { CallParam::Other })
        }
        Type::Path(TypePath { qself: None, path, .. }) => {
            let mut segments = path.segments.iter().rev();
            let last = segments.next().filter(|last| last.ident == "Call" && last.arguments.is_none());
            let runtime = krate.segments.last().map(|last| &last.ident);
            let ours = segments.next().is_none_or(|before| before.ident == "sockets" || Some(&before.ident) == runtime);
            last.filter(|_| ours).map(|_| CallParam::Other)
        }
        _ => None,
    }
}

/// Sorts an argument's type.
pub(crate) fn argument(ty: &Type) -> ArgumentPassing {
    if let Some(refusal) = unsupported::find_unsupported(ty, Position::Argument) {
        return ArgumentPassing::Refused(refusal);
    }
    match peel(ty) {
        Type::Reference(reference) => ArgumentPassing::Reference(reference.elem.clone()),
        _ => ArgumentPassing::ByValue,
    }
}

/// Sorts a return type.
pub(crate) fn reply(output: &ReturnType) -> Reply {
    let ReturnType::Type(_, ty) = output else { return Reply::Value(syn::parse_quote!(())) };
    if let Some(refusal) = unsupported::find_unsupported(ty, Position::Reply) {
        return Reply::Refused(refusal);
    }
    match peel(ty) {
        Type::Path(path) if path.qself.is_none() => result(&path.path).unwrap_or_else(|| Reply::Value(ty.clone())),
        _ => Reply::Value(ty.clone()),
    }
}

/// Recognises `Result`, by its last segment.
fn result(path: &Path) -> Option<Reply> {
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let types: Vec<_> = match &last.arguments {
        PathArguments::AngleBracketed(args) => args.args.iter().collect(),
        _ => Vec::new(),
    };
    if let [GenericArgument::Type(ok), GenericArgument::Type(err)] = types[..] {
        return Some(Reply::Fallible { ok: Box::new(ok.clone()), err: Box::new(err.clone()) });
    }
    let meant = match types[..] {
        [GenericArgument::Type(ok), ..] => Some(Box::new(ok.clone())),
        _ => None,
    };
    let error = Error::new_spanned(
        path,
        "this alias hides the error, which the caller gets back; write `Result<T, E>` with both types",
    );
    Some(Reply::Refused(UnsupportedType { error, meant }))
}
