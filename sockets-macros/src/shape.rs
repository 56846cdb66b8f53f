//! What a type looks like, without what does not matter.

use syn::{Type, TypePath};

/// Parentheses, and the groups without delimiters that `macro_rules` leaves, mean nothing here.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Paren(paren) => &paren.elem,
            Type::Group(group) => &group.elem,
            _ => return ty,
        }
    }
}

/// Whether a reference to this decodes: `str`, `[u8]`, `Path` and `serde_bytes::Bytes`, which lie in the received bytes as
/// they are. They are known by name, since a macro knows nothing else of a type.
pub(crate) fn borrows_bytes(ty: &Type) -> bool {
    match peel(ty) {
        Type::Slice(slice) => matches!(peel(&slice.elem), Type::Path(path) if is_primitive(path, "u8")),
        Type::Path(path) if is_primitive(path, "str") => true,
        Type::Path(TypePath { qself: None, path, .. }) => {
            let mut segments = path.segments.iter().rev();
            let Some(last) = segments.next().filter(|last| last.arguments.is_none()) else { return false };
            let module = segments.next().map(|module| &module.ident);
            (last.ident == "Path" && module.is_none_or(|module| module == "path"))
                || (last.ident == "Bytes" && module.is_some_and(|module| module == "serde_bytes"))
        }
        _ => false,
    }
}

/// Whether a path is a primitive type, with or without its module.
fn is_primitive(TypePath { qself, path, .. }: &TypePath, name: &str) -> bool {
    let mut segments = path.segments.iter().rev();
    let last = segments.next().is_some_and(|last| last.ident == name && last.arguments.is_none());
    qself.is_none() && last && segments.next().is_none_or(|module| module.ident == "primitive")
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn types_that_can_only_be_borrowed_are_known_by_name() {
        let borrowed: [Type; 8] = [
            parse_quote!(str),
            parse_quote!(core::primitive::str),
            parse_quote!([u8]),
            parse_quote!(([u8])),
            parse_quote!(Path),
            parse_quote!(std::path::Path),
            parse_quote!(serde_bytes::Bytes),
            parse_quote!(::serde_bytes::Bytes),
        ];
        assert!(borrowed.iter().all(borrows_bytes));
        let lent: [Type; 6] = [
            parse_quote!(String),
            parse_quote!([u16]),
            parse_quote!(Bytes),
            parse_quote!(bytes::Bytes),
            parse_quote!(svg::Path),
            parse_quote!(Path<u8>),
        ];
        assert!(!lent.iter().any(borrows_bytes));
    }
}
