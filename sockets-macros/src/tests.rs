//! The expansion as a whole: a snapshot, which is the budget against bloat, and the errors that need no compiler.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse_quote;

use crate::{attr::GroupArgs, check::check, errors::Errors, expand, model::Group};

/// The (short) lines that a method may cost: in the trait 8, as data 13, in the server 24, and in each
/// of the two stubs 19.
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
fn a_small_group() {
    let shop = pretty(
        quote!("Purchases"),
        quote! {
            /// What a shop does.
            pub trait Purchases {
                /// Buys.
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
fn a_method_costs_few_lines() {
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
fn all_errors_at_once() {
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

#[test]
fn two_methods_never_share_a_key() {
    let item = parse_quote!(
        trait Shop {
            async fn buy(&self);
            async fn sell(&self);
        }
    );
    let mut found = Errors::default();
    let mut group = Group::new(GroupArgs::default(), item, &mut found);
    // Names whose keys collide are out of reach.
    group.methods[1].key = group.methods[0].key;
    check(&group, &mut found);
    let found = found.into_tokens().to_string();
    assert!(found.contains("`sell` has the same key on the wire as `buy`"), "{found}");
}

#[test]
fn names_that_the_user_took_are_left_alone() {
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
fn the_runtime_may_have_another_name() {
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
fn raw_names_are_plain_on_the_wire() {
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
