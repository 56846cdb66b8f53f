//! The trait, as both sides compile it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{ItemTrait, ReturnType, Token, TraitItem, TraitItemFn, Type, TypeParamBound, parse_quote};

/// What the trait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// To be implemented and called.
    Final,
    /// To keep rustc from complaining about implementations, while other errors are reported.
    Skeleton,
}

/// The trait with futures that are `Send`.
pub(crate) fn expand(item: &ItemTrait, form: Form) -> TokenStream {
    let mut item = item.clone();
    item.colon_token.get_or_insert_default();
    let bounds: [TypeParamBound; 3] =
        [parse_quote!(::core::marker::Send), parse_quote!(::core::marker::Sync), parse_quote!('static)];
    item.supertraits.extend(bounds);
    if form == Form::Skeleton {
        // Bodies may take `self` in ways that are refused.
        item.supertraits.push(parse_quote!(::core::marker::Sized));
    }
    for member in &mut item.items {
        if let TraitItem::Fn(method) = member {
            desugar(method, form);
        }
    }
    item.into_token_stream()
}

/// Makes `async fn f() -> R` a function that returns a future.
fn desugar(method: &mut TraitItemFn, form: Form) {
    let sig = &mut method.sig;
    // Reported, if it is there.
    sig.constness = None;
    if sig.asyncness.take().is_none() {
        // Reported. The user's implementation may be `async` or not: this allows both.
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
        // The call keeps clippy from advice to write an `async fn`, which nothing has to allow then.
        *body = parse_quote!({ ::core::convert::identity(async move #block) });
    }
}
