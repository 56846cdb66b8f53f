//! What a type looks like, without what does not matter.

use syn::Type;

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

/// Whether a reference to this decodes: `str` and `[u8]`, which lie in the received bytes as they are.
pub(crate) fn borrows_bytes(ty: &Type) -> bool {
    let is = |ty: &Type, name| matches!(peel(ty), Type::Path(path) if path.path.is_ident(name));
    match peel(ty) {
        Type::Slice(slice) => is(&slice.elem, "u8"),
        ty => is(ty, "str"),
    }
}
