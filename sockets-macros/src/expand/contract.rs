//! The trait of the group, with the changes that both peers need.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{ItemTrait, ReturnType, Token, TraitItem, TraitItemFn, Type, TypeParamBound, parse_quote};

/// The purpose of the trait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Handlers implement the trait, and the server calls the trait's methods.
    Final,
    /// The trait is part of a skeleton. Without the trait, rustc would report an error for each
    /// implementation of the trait, in addition to the macro's errors.
    Skeleton,
}

/// Returns the trait. The futures of its methods are `Send`.
pub(crate) fn expand(item: &ItemTrait, form: Form) -> TokenStream {
    let mut item = item.clone();
    item.colon_token.get_or_insert_default();
    let bounds: [TypeParamBound; 3] =
        [parse_quote!(::core::marker::Send), parse_quote!(::core::marker::Sync), parse_quote!('static)];
    item.supertraits.extend(bounds);
    if form == Form::Skeleton {
        // The default bodies may use `self` in ways that the macro rejects.
        item.supertraits.push(parse_quote!(::core::marker::Sized));
    }
    for member in &mut item.items {
        if let TraitItem::Fn(method) = member {
            desugar(method, form);
        }
    }
    item.into_token_stream()
}

/// Turns `async fn f() -> R` into a function that returns a future.
fn desugar(method: &mut TraitItemFn, form: Form) {
    let sig = &mut method.sig;
    // The module `check` reports the `const`.
    sig.constness = None;
    if sig.asyncness.take().is_none() {
        // The module `check` reports that `async` is missing. The macro nevertheless sets a return
        // type that permits implementations with and without `async`, so that rustc reports no
        // further error.
        if let ReturnType::Type(_, ty) = &mut sig.output {
            **ty = parse_quote!(impl ::core::marker::Sized);
        } else {
            sig.output = parse_quote!(-> impl ::core::marker::Sized);
        }
        return;
    }
    let send = (form == Form::Final).then(|| quote!(+ ::core::marker::Send));
    let future: Type = match &sig.output {
        ReturnType::Default => parse_quote!(impl ::core::future::Future<Output = ()> #send),
        ReturnType::Type(_, ty) => parse_quote!(impl ::core::future::Future<Output = #ty> #send),
    };
    sig.output = ReturnType::Type(<Token![->]>::default(), Box::new(future));
    if let Some(body) = &mut method.default {
        let block = body.to_token_stream();
        // Without the call of `identity`, a lint of clippy would suggest an `async fn`. The macro
        // cannot allow this lint, because the user may forbid it.
        *body = parse_quote!({ ::core::convert::identity(async move #block) });
    }
}
