//! The `#[group]` attribute of the `sockets` library, which re-exports it.

mod attr;
mod check;
mod errors;
mod expand;
mod fallback;
mod key;
mod model;
mod name;
mod obstacle;
mod options;
#[cfg(test)]
mod tests;
mod timeout;
mod travel;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Ident, Item};

use crate::{attr::GroupArgs, errors::Errors, model::Group};

/// Docs later.
#[proc_macro_attribute]
pub fn group(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// The attribute, callable by tests.
fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = GroupArgs::parse(args, &mut errors);
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Trait(item)) => item,
        Ok(_) => {
            match keyword(item.clone()) {
                Some(keyword) => {
                    errors.on(&keyword, format!("a group is a trait; `#[sockets::group]` cannot go on `{keyword}`"));
                }
                None => errors.on(&item, "a group is a trait; put `#[sockets::group]` on one"),
            }
            return [item, errors.into_tokens()].into_iter().collect();
        }
        Err(error) => {
            errors.push(error);
            return [item, errors.into_tokens()].into_iter().collect();
        }
    };
    let group = Group::new(args, item, &mut errors);
    check::check(&group, &mut errors);
    if errors.is_empty() {
        expand::expand(&group)
    } else {
        [fallback::skeleton(&group), errors.into_tokens()].into_iter().collect()
    }
}

/// The word that says what an item is.
fn keyword(item: TokenStream) -> Option<Ident> {
    const KEYWORDS: &[&str] =
        &["struct", "enum", "union", "fn", "mod", "impl", "type", "const", "static", "use", "extern", "macro_rules"];
    item.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if KEYWORDS.iter().any(|keyword| ident == keyword) => Some(ident),
        _ => None,
    })
}
