//! Tests of the whole expansion. They compare a snapshot, count lines, and check errors without the
//! compiler.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse_quote;

use crate::{attr::GroupArgs, check::check, errors::Errors, expand, model::Group};

/// Maximum number of lines that a method adds to the expansion, if lines are short. A method adds 8
/// lines to the trait, 13 lines to the constants, and 24 lines to the server. It adds 19 lines to
/// each of the two stubs.
const LINES_PER_METHOD: usize = 84;

fn pretty(args: TokenStream, item: TokenStream) -> String {
    let expanded = expand(args, item);
    let file = syn::parse2(expanded).expect("the expansion parses");
    prettyplease::unparse(&file)
}

fn errors(args: TokenStream, item: TokenStream) -> Vec<String> {
    let pretty = pretty(args, item);
    let messages = pretty.split("::core::compile_error!").skip(1);
    messages.map(|rest| rest.split('"').nth(1).unwrap_or_default().to_owned()).collect()
}

#[test]
fn small_group_expands_as_in_snapshot() {
    let shop = pretty(
        quote!("Purchases"),
        quote! {
            /// The methods of a shop.
            pub trait Purchases {
                /// Buys an item.
                #[request(timeout = "2s")]
                async fn buy(&self, call: &sockets::Call, item: &str, parts: &[Part]) -> Result<Receipt, PurchaseError>;
                #[cfg(feature = "views")]
                #[emit]
                async fn viewed(&self, item: &Item);
            }
        },
    );
    insta::assert_snapshot!(shop);
}

#[test]
fn method_adds_few_lines() {
    let method = |name| {
        let name = quote::format_ident!("{name}");
        quote! { async fn #name(&self, item: &str, count: u32, list: &[u8]) -> Result<Receipt, PurchaseError>; }
    };
    let (one, two) = (method("one"), method("two"));
    let lines = |methods| pretty(quote!("Purchases"), quote! { pub trait Purchases { #methods } }).lines().count();
    let cost = lines(quote!(#one #two)) - lines(one);
    assert!(cost <= LINES_PER_METHOD, "a method costs {cost} lines");
}

#[test]
fn all_errors_are_reported_together() {
    let found = errors(
        quote!("a//b", color = 3),
        quote! {
            trait Bad<T> {
                const X: u8;
                fn sync(&self);
                async fn generic<U>(&self, of: U);
                #[emit]
                async fn answered(&self) -> u8;
            }
        },
    );
    assert_eq!(found.len(), 7, "{found:#?}");
}

/// The macros and the protocol must compute the same keys, and must accept the same names.
#[test]
fn rules_for_names_equal_those_of_protocol_crate() {
    let protocol = concat!(env!("CARGO_MANIFEST_DIR"), "/../sockets-proto/src/name/rules.rs");
    assert_eq!(std::fs::read_to_string(protocol).expect("a tree of the repository"), include_str!("name/rules.rs"));
}

#[test]
fn methods_with_the_same_key_are_reported() {
    let item = parse_quote!(
        trait Shop {
            async fn buy(&self);
            async fn sell(&self);
        }
    );
    let mut found = Errors::default();
    let mut group = Group::new(GroupArgs::default(), item, &mut found);
    // The test sets the key itself, because a search cannot find two names with the same key.
    group.methods[1].key = group.methods[0].key;
    check(&group, &mut found);
    let found = found.into_tokens().to_string();
    assert!(found.contains("`sell` has the same key as `buy`"), "{found}");
}

#[test]
fn type_parameters_avoid_names_of_the_user() {
    let pretty = pretty(
        quote!(),
        quote!(
            trait Taken {
                async fn a(&self, h: H, i: I<_I>);
            }
        ),
    );
    assert!(pretty.contains("impl<_H: Taken>"), "{pretty}");
    assert!(pretty.contains("impl<__I: ::sockets::Identity>"), "{pretty}");
}

#[test]
fn renamed_runtime_crate_is_used() {
    let pretty = pretty(
        quote!("A", crate = renamed),
        quote!(
            trait A {
                async fn a(&self);
            }
        ),
    );
    assert!(!pretty.contains("::sockets"), "{pretty}");
    assert!(pretty.contains("renamed::CallError"), "{pretty}");
}

#[test]
fn raw_identifiers_are_plain_on_the_wire() {
    let pretty = pretty(
        quote!(),
        quote!(
            trait Raw {
                async fn r#type(&self);
            }
        ),
    );
    assert!(pretty.contains(r#"name: "type""#), "{pretty}");
    assert!(pretty.contains("fn r#type("), "{pretty}");
}
