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
