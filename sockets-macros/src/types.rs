//! The types of arguments and replies, and the forms in which a peer decodes these types.

use syn::{Error, GenericArgument, Path, PathArguments, ReturnType, Type, TypePath};

use crate::unsupported::{self, Position, UnsupportedType};

/// The form in which a handler receives an argument.
pub(crate) enum ArgumentPassing {
    /// A value of the type, which may borrow from the received bytes.
    ByValue,
    /// A reference to this type. The decoded value is either the reference itself or an owned
    /// value, depending on the traits that the type implements.
    Reference(Box<Type>),
    /// The type cannot be sent.
    Refused(UnsupportedType),
}

/// The reply of a request.
pub(crate) enum Reply {
    Value(Box<Type>),
    Fallible {
        ok: Box<Type>,
        err: Box<Type>,
    },
    /// The type cannot be sent.
    Refused(UnsupportedType),
}

/// The form of a parameter of type `Call`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallParam {
    Shared,
    /// With type arguments, such as `Call<User>`.
    Generic,
    Other,
}

/// Returns the type without its parentheses. Also removes the invisible groups that `macro_rules`
/// inserts.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Paren(paren) => &paren.elem,
            Type::Group(group) => &group.elem,
            _ => return ty,
        }
    }
}

/// Recognises the type `sockets::Call`, which a user may write as `Call` alone, or after the name
/// of the runtime crate. With any other path, such as `phone::Call`, the type is a type of the
/// user.
pub(crate) fn as_call(ty: &Type, krate: &Path) -> Option<CallParam> {
    match peel(ty) {
        Type::Reference(reference) => {
            if as_call(&reference.elem, krate)? == CallParam::Generic {
                return Some(CallParam::Generic);
            }
            let named = reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident != "_");
            let twice = matches!(peel(&reference.elem), Type::Reference(_));
            let shared = !named && !twice && reference.mutability.is_none();
            Some(if shared { CallParam::Shared } else { CallParam::Other })
        }
        Type::Path(TypePath { qself: None, path, .. }) => {
            let mut segments = path.segments.iter().rev();
            let last = segments.next().filter(|last| last.ident == "Call")?;
            let runtime = krate.segments.last().map(|last| &last.ident);
            let ours = segments.next().is_none_or(|before| before.ident == "sockets" || Some(&before.ident) == runtime);
            ours.then_some(if last.arguments.is_none() { CallParam::Other } else { CallParam::Generic })
        }
        _ => None,
    }
}

/// Classifies the type of an argument.
pub(crate) fn argument(ty: &Type) -> ArgumentPassing {
    if let Some(refusal) = unsupported::find_unsupported(ty, Position::Argument) {
        return ArgumentPassing::Refused(refusal);
    }
    match peel(ty) {
        Type::Reference(reference) => ArgumentPassing::Reference(reference.elem.clone()),
        _ => ArgumentPassing::ByValue,
    }
}

/// Classifies a return type.
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

/// Recognises the type `Result` by the last segment of its path.
fn result(path: &Path) -> Option<Reply> {
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let types: Vec<_> = match &last.arguments {
        PathArguments::AngleBracketed(args) => args.args.iter().collect(),
        _ => Vec::new(),
    };
    if let [GenericArgument::Type(ok), GenericArgument::Type(err)] = types[..] {
        return Some(Reply::Fallible { ok: Box::new(ok.clone()), err: Box::new(err.clone()) });
    }
    let intended = match types[..] {
        [GenericArgument::Type(ok), ..] => Some(Box::new(ok.clone())),
        _ => None,
    };
    let error = Error::new_spanned(
        path,
        "this alias hides the type of the error, which the caller receives; write `Result<T, E>` with both types",
    );
    Some(Reply::Refused(UnsupportedType { error, intended }))
}
