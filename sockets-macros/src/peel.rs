//! Removes syntax that does not change a type.

use syn::Type;

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
